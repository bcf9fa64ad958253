"""What fits a table's columns, what doesn't, and the schemas that writes make."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import StructType, parse_schema
from deltalakedb.log.schema_writer import schema_string, struct_of_arrow
from deltalakedb.write.input import batches_of
from deltalakedb.write.schema import (
    RowConverter,
    merged_schema,
    schema_of,
    with_column_mapping,
    without_column_mapping,
)

UTC = datetime.UTC


def struct(**types: Any) -> StructType:
    fields = [
        {"name": name, "type": kind, "nullable": True, "metadata": {}}
        for name, kind in types.items()
    ]
    return parse_schema(json.dumps({"type": "struct", "fields": fields}))


def written(array: pa.Array, kind: Any) -> list[Any]:
    batch = pa.record_batch({"x": array})
    found = RowConverter(batch.schema, struct(x=kind)).convert(batch)
    return list(found.column(0).to_pylist())


NS = pa.array([-1, 1_999, None], pa.timestamp("ns"))
DAY = datetime.date(2024, 2, 29)
MOMENT = datetime.datetime(2024, 2, 29, 1, 2, 3)


@pytest.mark.parametrize(
    ("array", "kind", "expected"),
    [
        (pa.array([1, None], pa.int8()), "long", [1, None]),
        (pa.array([127], pa.int64()), "byte", [127]),
        (pa.array([2**63 - 1], pa.uint64()), "long", [2**63 - 1]),
        (pa.array([1.0, None]), "integer", [1, None]),
        (pa.array([3]), "double", [3.0]),
        (pa.array([0.1]), "float", [pytest.approx(0.1)]),
        (pa.array([float("inf")]), "float", [float("inf")]),
        (pa.array([12]), "decimal(4,2)", [Decimal("12.00")]),
        (pa.array([Decimal("1.50")]), "decimal(2,1)", [Decimal("1.5")]),
        (pa.array([Decimal("1.5")]), "decimal(38,30)", [Decimal("1.5")]),
        (pa.array([Decimal("7")]), "short", [7]),
        (pa.array(["a", None], pa.large_string()), "string", ["a", None]),
        (pa.array(["a"], pa.string_view()), "varchar(9)", ["a"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), "string", ["a", "b", "a"]),
        (pa.array([b"ab"], pa.binary(2)), "binary", [b"ab"]),
        (pa.array([DAY], pa.date64()), "date", [DAY]),
        (pa.array([DAY]), "timestamp_ntz", [datetime.datetime(2024, 2, 29)]),
        (NS, "timestamp_ntz", [datetime.datetime(1969, 12, 31, 23, 59, 59, 999_999),
                               datetime.datetime(1970, 1, 1, 0, 0, 0, 1), None]),
        (pa.array([MOMENT], pa.timestamp("s")), "timestamp", [MOMENT.replace(tzinfo=UTC)]),
        (pa.array([0], pa.timestamp("ms", "Europe/Rome")), "timestamp",
         [datetime.datetime(1970, 1, 1, tzinfo=UTC)]),
        (pa.nulls(2), "string", [None, None]),
        (pa.nulls(1), {"type": "array", "elementType": "long", "containsNull": True}, [None]),
        (pa.array([[1, None], None, []], pa.large_list(pa.int32())),
         {"type": "array", "elementType": "long", "containsNull": True}, [[1, None], None, []]),
        (pa.array([[1, 2], None], pa.list_(pa.int32(), 2)),
         {"type": "array", "elementType": "long", "containsNull": True}, [[1, 2], None]),
        (pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int8())),
         {"type": "map", "keyType": "string", "valueType": "long", "valueContainsNull": True},
         [[("k", 1)], None]),
        (pa.array([{"metadata": b"m", "value": b"v"}, None]), "variant",
         [{"metadata": b"m", "value": b"v"}, None]),
    ],
)  # fmt: skip
def test_values_that_fit(array: pa.Array, kind: Any, expected: list[Any]) -> None:
    assert written(array, kind) == expected
    # The same values, as a part of a longer batch.
    longer = pa.concat_arrays([array.slice(0, 1), array, array.slice(0, 1)])
    assert written(longer.slice(1, len(array)), kind) == expected


@pytest.mark.parametrize(
    ("array", "kind", "why"),
    [
        (pa.array(["1"]), "long", "string values are not written"),
        (pa.array([1]), "string", "int64 values are not written"),
        (pa.array([b"a"]), "string", "binary values are not written"),
        (pa.array([1]), "boolean", "not written"),
        (pa.array([MOMENT]), "date", "not written"),
        (pa.array([0], pa.timestamp("us", "UTC")), "timestamp_ntz", "not written"),
        (pa.array([1.5]), "decimal(3,1)", "not written"),
        (pa.array([0], pa.duration("s")), "long", "not written"),
        (pa.array([0], pa.time64("us")), "long", "not written"),
        (pa.array([[1]]), "long", "not written"),
        (pa.array([1]), {"type": "array", "elementType": "long", "containsNull": True}, "an array"),
        (pa.array([300]), "byte", "doesn't fit"),
        (pa.array([2**63], pa.uint64()), "long", "doesn't fit"),
        (pa.array([1.5]), "integer", "doesn't fit"),
        (pa.array([float("nan")]), "integer", "doesn't fit"),
        (pa.array([2**53 + 1]), "double", "doesn't fit"),
        (pa.array([1e300]), "float", "doesn't fit"),
        (pa.array([Decimal("1.55")]), "decimal(3,1)", "doesn't fit"),
        (pa.array([1000]), "decimal(3,0)", "doesn't fit"),
        (pa.array([2**62], pa.timestamp("s")), "timestamp_ntz", "doesn't fit"),
    ],
)
def test_values_that_do_not_fit(array: pa.Array, kind: Any, why: str) -> None:
    with pytest.raises(DeltaLakeError, match=why) as caught:
        written(array, kind)
    assert caught.value.kind is DeltaLakeErrorKind.SCHEMA_MISMATCH
    assert "x" in caught.value.message


def test_polars_own_types() -> None:
    frame = pl.DataFrame(
        {
            "c": pl.Series(["a", None, "b"], dtype=pl.Categorical),
            "e": pl.Series(["x", "y", None], dtype=pl.Enum(["x", "y"])),
            "a": pl.Series([["u", "v"], None, ["w", None]], dtype=pl.Array(pl.String, 2)),
            "l": pl.Series([["a"], None, ["b", "a"]], dtype=pl.List(pl.Categorical)),
            "t": pl.Series([MOMENT, None, None], dtype=pl.Datetime("ns")),
        }
    )
    batches = pa.RecordBatchReader.from_stream(frame)
    schema = struct_of_arrow(batches.schema)
    assert all(field.metadata == {} for field in schema.fields)
    converter = RowConverter(batches.schema, schema)
    (batch,) = batches
    for part in (batch, batch.slice(1, 2), batch.slice(1, 0)):
        place = batch.num_rows - part.num_rows if part.num_rows else 0
        expected = frame.to_dicts()[place:] if part.num_rows else []
        assert converter.convert(part).to_pylist() == expected


def test_columns_are_found_by_name_at_every_level() -> None:
    inner = {
        "type": "struct",
        "fields": [
            {"name": "a", "type": "long", "nullable": True, "metadata": {}},
            {"name": "new", "type": "string", "nullable": True, "metadata": {}},
        ],
    }
    target = struct(
        n="long", S=inner, l={"type": "array", "elementType": inner, "containsNull": True}, z="date"
    )
    batch = pa.record_batch(
        {
            "L": pa.array([[{"a": 5}], None]),
            "s": pa.array([{"A": 1}, None]),
            "n": pa.array([1, 2], pa.int16()),
        }
    )
    converter = RowConverter(batch.schema, target)
    assert converter.missing == {"z"}
    assert converter.convert(batch).to_pylist() == [
        {"n": 1, "S": {"a": 1, "new": None}, "l": [{"a": 5, "new": None}], "z": None},
        {"n": 2, "S": None, "l": None, "z": None},
    ]


def test_all_that_is_wrong_is_told_at_once() -> None:
    batch = pa.record_batch({"n": ["x"], "s": pa.array([{"a": 1, "b": 2}]), "new": [1]})
    inner = {
        "type": "struct",
        "fields": [{"name": "a", "type": "long", "nullable": True, "metadata": {}}],
    }
    with pytest.raises(DeltaLakeError, match="schema_mode='merge'") as caught:
        RowConverter(batch.schema, struct(n="long", s=inner))
    assert len(caught.value.facts["mismatches"]) == 3
    for name in ("n", "s.b", "new"):
        assert f"column {name}" in caught.value.message
    with pytest.raises(DeltaLakeError, match="same name"):
        RowConverter(pa.schema([("n", pa.int64()), ("N", pa.int64())]), struct(n="long"))


ARROW = pa.schema(
    [
        pa.field("i", pa.uint8(), False, {"comment": "c", "PARQUET:field_id": "4"}),
        pa.field("d", pa.decimal128(5, 2)),
        pa.field("t", pa.timestamp("ns", "UTC")),
        pa.field("w", pa.timestamp("s")),
        pa.field("e", pa.dictionary(pa.int8(), pa.string())),
        pa.field("l", pa.list_(pa.field("item", pa.string_view(), nullable=False))),
        pa.field("m", pa.map_(pa.string(), pa.binary_view())),
        pa.field("s", pa.struct([pa.field("a", pa.float16(), nullable=False)])),
        pa.field("u", pa.uuid()),
    ]
)  # fmt: skip


def test_schema_of_arrow_data() -> None:
    found = struct_of_arrow(ARROW)
    assert parse_schema(schema_string(found)) == found
    fields = {f["name"]: f for f in json.loads(schema_string(found))["fields"]}
    assert fields["i"] == {
        "name": "i", "type": "short", "nullable": False, "metadata": {"comment": "c"}
    }  # fmt: skip
    assert [fields[n]["type"] for n in "dtweu"] == [
        "decimal(5,2)", "timestamp", "timestamp_ntz", "string", "binary"
    ]  # fmt: skip
    assert fields["l"]["type"] == {"type": "array", "elementType": "string", "containsNull": False}
    assert fields["m"]["type"]["valueType"] == "binary"
    assert fields["s"]["type"]["fields"][0]["nullable"] is False
    for kind in (pa.duration("s"), pa.time32("s"), pa.null(), pa.decimal256(50, 2)):
        with pytest.raises(DeltaLakeError, match=r"column s\.x") as caught:
            struct_of_arrow(pa.schema([("s", pa.struct([("x", kind)]))]))
        assert caught.value.kind is DeltaLakeErrorKind.SCHEMA_MISMATCH


def test_schemas_come_in_many_forms() -> None:
    deltalake = pytest.importorskip("deltalake")
    expected = struct(a="long")
    arrow = pa.schema([("a", pa.int64())])
    theirs = deltalake.Schema([deltalake.Field("a", "long")])
    for given in (expected, schema_string(expected), arrow, theirs):
        assert schema_of(given) == expected
    with pytest.raises(DeltaLakeError, match="int"):
        schema_of(7)
    with pytest.raises(DeltaLakeError, match="same name"):
        schema_of(struct(a="long", A="long"))


def test_merged_schemas() -> None:
    inner = {
        "type": "struct",
        "fields": [{"name": "a", "type": "long", "nullable": False, "metadata": {}}],
    }
    table = struct(n="long", l={"type": "array", "elementType": inner, "containsNull": False})
    source = pa.schema(
        [
            pa.field("X", pa.struct([pa.field("y", pa.int8(), nullable=False)]), nullable=False),
            pa.field("L", pa.list_(pa.struct([("b", pa.string()), ("A", pa.int64())]))),
            pa.field("n", pa.int8()),
        ]
    )
    merged = merged_schema(table, source)
    assert [f.name for f in merged.fields] == ["n", "l", "X"]
    assert json.loads(schema_string(merged))["fields"][1]["type"]["elementType"]["fields"] == [
        {"name": "a", "type": "long", "nullable": False, "metadata": {}},
        {"name": "b", "type": "string", "nullable": True, "metadata": {}},
    ]
    new = merged.fields[2]
    assert new.nullable
    assert isinstance(new.type, StructType)
    assert new.type.fields[0].nullable
    assert merged_schema(merged, source) == merged
    RowConverter(source, merged)


def test_merged_schemas_with_wider_types() -> None:
    table = struct(
        i="integer",
        f="float",
        d="decimal(5,2)",
        t="date",
        l={"type": "array", "elementType": "short", "containsNull": True},
        b="long",
        q="integer",
        r="long",
    )
    source = pa.schema(
        [
            ("i", pa.int64()),
            ("f", pa.float64()),
            ("d", pa.decimal128(9, 4)),
            ("t", pa.timestamp("us")),
            ("l", pa.list_(pa.int32())),
            ("b", pa.int8()),
            ("q", pa.float64()),
            ("r", pa.float64()),
        ]
    )
    assert merged_schema(table, source) == table
    only_i = merged_schema(table, source, lambda name: name == "i")
    assert [f.name for f, was in zip(only_i.fields, table.fields, strict=True) if f != was] == ["i"]
    merged = json.loads(schema_string(merged_schema(table, source, lambda name: True)))["fields"]
    changes = {f["name"]: f["metadata"].get("delta.typeChanges") for f in merged}
    assert changes == {
        "i": [{"fromType": "integer", "toType": "long"}],
        "f": [{"fromType": "float", "toType": "double"}],
        "d": [{"fromType": "decimal(5,2)", "toType": "decimal(9,4)"}],
        "t": [{"fromType": "date", "toType": "timestamp_ntz"}],
        "l": [{"fromType": "short", "toType": "integer", "fieldPath": "element"}],
        "q": [{"fromType": "integer", "toType": "double"}],
        # Narrower, and without all of a long's digits.
        "b": None,
        "r": None,
    }


def test_column_mapping_numbers_new_columns_only() -> None:
    first, configuration = with_column_mapping(
        struct(a="long", b="long"), {"delta.columnMapping.mode": "name"}
    )
    assert [f.column_id for f in first.fields] == [1, 2]
    assert configuration["delta.columnMapping.maxColumnId"] == "2"
    without_b = StructType((first.fields[0],))
    more = merged_schema(without_b, pa.schema([("c", pa.struct([("x", pa.int64())]))]))
    second, configuration = with_column_mapping(more, configuration)
    assert second.fields[0].metadata == first.fields[0].metadata
    # The number of a column that went away is not given again.
    assert second.fields[1].column_id == 3
    assert configuration["delta.columnMapping.maxColumnId"] == "4"
    assert second.fields[1].physical_name.startswith("col-")
    assert without_column_mapping(second).fields[0].metadata == {}
    assert with_column_mapping(more, {"x": "y"}) == (more, {"x": "y"})


def test_batches_of_an_iterable_are_taken_by_name() -> None:
    word = pa.dictionary(pa.int8(), pa.string())
    given = [
        pa.record_batch({"a": [1], "b": [2], "w": ["x"], "s": [{"x": 1, "y": 2}]}),
        pa.record_batch(
            {
                "s": [{"y": 3, "x": 4}],
                "W": pa.array(["y"], word),
                "b": [5],
                "a": pa.array([6], pa.int8()),
            }
        ),
        pa.table({"a": [None], "b": [7.0], "s": [None], "w": pa.array(["z"], pa.string_view())}),
    ]
    assert batches_of(iter(given)).read_all().to_pylist() == [
        {"a": 1, "b": 2, "w": "x", "s": {"x": 1, "y": 2}},
        {"a": 6, "b": 5, "w": "y", "s": {"x": 4, "y": 3}},
        {"a": None, "b": 7, "w": "z", "s": None},
    ]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"b": [1]}, "it has the columns b, the first batch has a, b"),
        ({"a": [1], "b": [1], "c": [1]}, "it has the columns a, b, c"),
        ({"a": ["5"], "b": [1]}, "column a is long, and string values"),
        ({"a": [2.5], "b": [1]}, "a value of column a doesn't fit long"),
    ],
)
def test_batches_that_differ_are_refused(columns: dict[str, list[Any]], said: str) -> None:
    reader = batches_of([pa.record_batch({"a": [1], "b": [2]}), pa.record_batch(columns)])
    with pytest.raises(DeltaLakeError, match=said) as caught:
        reader.read_all()
    assert caught.value.kind is DeltaLakeErrorKind.SCHEMA_MISMATCH
