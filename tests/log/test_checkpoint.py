"""Checkpoints as Arrow: whatever the writer, the rows are those of the same actions in JSON."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltalakedb.log.checkpoint import action_rows, sidecar_names
from deltalakedb.log.commit import ActionReader, ActionRows, StateChange
from tests.log.made_logs import (
    ADD_FIELDS,
    TEXTS,
    Action,
    checkpoint_schema,
    checkpoint_table,
)

VECTOR = {"storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^", "offset": 4}
INLINE = {"storageType": "i", "pathOrInlineDv": "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5"}
SIZES = {"sizeInBytes": 40, "cardinality": 6}


def add(path: str, **fields: Any) -> Action:
    body = {"path": path, "partitionValues": {}, "size": 1, "modificationTime": 2}
    return {"add": body | {"dataChange": False} | fields}


def from_json(actions: list[Action], version: int = 9) -> ActionRows:
    reader = ActionReader()
    for position, action in enumerate(actions):
        reader.action(version, action, position)
    return reader.finish()


def assert_same(found: ActionRows, expected: ActionRows) -> None:
    for name in ("files", "closings"):
        left, right = getattr(found, name), getattr(expected, name)
        assert left.schema == right.schema
        assert [loose(r) for r in left.to_pylist()] == [loose(r) for r in right.to_pylist()]
    assert by_key(found.state) == by_key(expected.state)


def by_key(state: list[StateChange]) -> list[StateChange]:
    return sorted(state, key=lambda s: (s.action, s.key))


def loose(row: dict[str, Any]) -> dict[str, Any]:
    """JSON texts as what they say: the order of their fields is the writer's."""
    texts = {n: row[n] and json.loads(row[n]) for n in ("tags", "dv", "extra") if n in row}
    return row | texts


ACTIONS: list[Action] = [
    {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["v2"]}},
    {
        "metaData": {
            "id": "x",
            "format": {"provider": "parquet", "options": {}},
            "schemaString": '{"type":"struct","fields":[]}',
            "partitionColumns": ["p"],
            "configuration": {"delta.x": "1"},
            "createdTime": 5,
        }
    },
    {"txn": {"appId": "a", "version": 3, "lastUpdated": 4}},
    {"txn": {"appId": "b", "version": 1}},
    {"domainMetadata": {"domain": "d", "configuration": "{}", "removed": False}},
    add("a", partitionValues={"p": "1", "q": ""}, stats='{"numRecords":1}', tags={"t": "1"}),
    add("b%20c", partitionValues={"p": "é", "q": None}, deletionVector=VECTOR | SIZES),
    add("b%20c", partitionValues={"p": "1", "q": "2"}, deletionVector=INLINE | SIZES),
    add("d", partitionValues={"q": "2", "p": "1"}, baseRowId=3, defaultRowCommitVersion=2),
    add("e", partitionValues={"p": "1", "q": None}, clusteringProvider="liquid"),
    {"remove": {"path": "r", "deletionTimestamp": 7, "dataChange": True, "size": 3}},
    {"remove": {"path": "s", "partitionValues": {"p": ""}, "deletionVector": VECTOR | SIZES}},
]


def test_all_actions_are_those_of_the_same_json() -> None:
    found = action_rows(checkpoint_table(ACTIONS), 9)
    assert_same(found, from_json(ACTIONS))
    assert found.files.column("added_version").to_pylist() == [9] * 5
    assert (found.versions.num_rows, found.changes.num_rows, found.others.num_rows) == (0, 0, 0)


def test_the_same_in_chunks_and_slices() -> None:
    table = checkpoint_table([*ACTIONS[:5], *ACTIONS[5:] * 3])
    chunks = pa.concat_tables([table.slice(0, 7), table.slice(7, 4), table.slice(11)])
    assert_same(action_rows(chunks, 9), action_rows(table, 9))
    assert_same(action_rows(table.slice(6, 3), 9), from_json(ACTIONS[6:9]))


@pytest.mark.parametrize("missing", ["remove", "txn", "domainMetadata", "sidecar", "add"])
def test_any_column_may_be_missing(missing: str) -> None:
    rest = [a for a in ACTIONS if missing not in a]
    table = checkpoint_table(rest)
    assert_same(action_rows(table.drop_columns([missing]), 9), from_json(rest))


def test_fields_of_an_add_may_be_missing_or_of_other_types() -> None:
    fields: dict[str, pa.DataType] = {
        "size": pa.int32(),
        "path": pa.large_string(),
        "modificationTime": pa.int64(),
        "dataChange": pa.bool_(),
        "partitionValues": TEXTS,
    }
    actions = [add("a", size=5), add("b")]
    schema = checkpoint_schema(fields)
    assert_same(action_rows(checkpoint_table(actions, schema), 9), from_json(actions))


def test_unknown_fields_of_an_add_are_kept() -> None:
    fields = ADD_FIELDS | {"future": pa.struct([("a", pa.int64())]), "note": TEXTS}
    table = checkpoint_table(
        [add("a", future={"a": 1}), add("b", note={"k": "v"}), add("c")], checkpoint_schema(fields)
    )
    extra = action_rows(table, 9).files.column("extra").to_pylist()
    assert [e and json.loads(e) for e in extra] == [
        {"future": {"a": 1}},
        {"note": {"k": "v"}},
        None,
    ]


def test_unknown_fields_may_hold_what_json_does_not() -> None:
    kinds = {"when": pa.timestamp("us"), "amount": pa.decimal128(5, 2), "raw": pa.binary()}
    values = {"when": 5, "amount": None, "raw": b"\xff"}
    table = checkpoint_table([add("a", **values)], checkpoint_schema(ADD_FIELDS | kinds))
    [extra] = action_rows(table, 9).files.column("extra").to_pylist()
    assert set(json.loads(extra)) == {"when", "raw"}


def nulls_inside(kind: pa.StructType, count: int) -> pa.StructArray:
    """Structs that are there, and all their fields null."""
    return pa.StructArray.from_arrays(
        [pa.nulls(count, field.type) for field in kind], fields=list(kind)
    )


def test_a_struct_of_nulls_is_no_action() -> None:
    """Some writers leave the structs of other actions non-null in every row."""
    table = checkpoint_table(ACTIONS)
    columns: dict[str, pa.ChunkedArray] = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        empty = nulls_inside(column.type, len(column))
        columns[name] = pa.chunked_array(
            [
                pa.concat_arrays(
                    [
                        (column if v else empty).slice(i, 1)
                        for i, v in enumerate(column.is_valid().to_pylist())
                    ]
                )
            ]
        )
        assert columns[name].null_count == 0
    filled = pa.table(columns)
    assert_same(action_rows(filled, 9), from_json(ACTIONS))


def test_a_vector_of_nulls_is_no_vector() -> None:
    nothing = dict.fromkeys(("storageType", "pathOrInlineDv", "offset"))
    actions = [add("a", deletionVector=nothing), add("b", deletionVector=VECTOR | SIZES)]
    found = action_rows(checkpoint_table(actions), 9).files
    assert found.column("dv_id").to_pylist()[0] is None
    assert found.column("dv").to_pylist()[0] is None
    assert found.column("path_key")[0] == from_json([add("a")]).files.column("path_key")[0]


def test_statistics_that_are_structs_alone_become_text() -> None:
    stats = pa.struct(
        [
            ("numRecords", pa.int64()),
            ("minValues", pa.struct([("id", pa.int64()), ("day", pa.date32())])),
            ("nullCount", pa.struct([("id", pa.int64())])),
        ]
    )
    fields = {n: t for n, t in ADD_FIELDS.items() if n != "stats"} | {"stats_parsed": stats}
    parsed = {"numRecords": 3, "minValues": {"id": -1, "day": 1}, "nullCount": {"id": 0}}
    table = checkpoint_table([add("a", stats_parsed=parsed), add("b")], checkpoint_schema(fields))
    first, second = action_rows(table, 9).files.column("stats").to_pylist()
    assert json.loads(first) == {
        "numRecords": 3,
        "minValues": {"id": -1, "day": "1970-01-02"},
        "nullCount": {"id": 0},
    }
    assert second is None


def test_text_statistics_come_before_parsed_ones() -> None:
    fields = ADD_FIELDS | {"stats_parsed": pa.struct([("numRecords", pa.int64())])}
    actions = [
        add("a", stats='{"numRecords":1.0}', stats_parsed={"numRecords": 1}),
        add("b", stats_parsed={"numRecords": 2}),
    ]
    table = checkpoint_table(actions, checkpoint_schema(fields))
    found = action_rows(table, 9).files.column("stats").to_pylist()
    assert found == ['{"numRecords":1.0}', '{"numRecords":2}']


def test_sidecars_are_named_as_they_stand() -> None:
    table = checkpoint_table([{"sidecar": {"path": "a%20b.parquet"}}, *ACTIONS])
    assert sidecar_names(table) == ["a%20b.parquet"]
    assert sidecar_names(table.drop_columns(["sidecar"])) == []


def test_a_metadata_row_keeps_what_json_would_have() -> None:
    [change] = action_rows(checkpoint_table([ACTIONS[1]]), 9).state
    assert change == StateChange(9, "metaData", "", ACTIONS[1]["metaData"])


keys = st.sampled_from(["p", "q", "r"])
values = st.sampled_from([None, "", "1", "2", "é"])
maps = st.none() | st.dictionaries(keys, values, max_size=3)


@settings(max_examples=60)
@given(st.lists(maps, min_size=1, max_size=12), st.integers(0, 3))
def test_partition_values_of_any_shape(
    found: list[dict[str, str | None] | None], skip: int
) -> None:
    """Uniform maps have a way of their own; null, empty and uneven ones too."""
    actions = [add(f"f{i}", partitionValues=value) for i, value in enumerate(found)]
    rows = action_rows(checkpoint_table(actions).slice(skip), 9).files
    expected = from_json(actions[skip:]).files
    for name in ("partition_values", "partition_id"):
        assert rows.column(name).to_pylist() == expected.column(name).to_pylist()
