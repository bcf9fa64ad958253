"""Tables with an odd part: what it doesn't concern can be read, and what it does is named."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing.run import import_table
from deltalakedb.parity import log_part
from deltalakedb.parity.run import diff_table
from deltalakedb.snapshot.snapshot import Snapshot
from tests.log.made_logs import Action, write_checkpoint, write_commit
from tests.migrate.catalogs import reading, select
from tests.table.opening import open_table

VECTORS = ["deletionVectors"]


def protocol(*features: str) -> Action:
    named = {"readerFeatures": features, "writerFeatures": features} if features else {}
    reader, writer = (3, 7) if features else (1, 2)
    return {"protocol": {"minReaderVersion": reader, "minWriterVersion": writer, **named}}


def metadata(columns: Mapping[str, Any], partitions: tuple[str, ...] = ()) -> Action:
    fields = [
        {"name": name, "type": kind, "nullable": True, "metadata": {}}
        for name, kind in columns.items()
    ]
    return {
        "metaData": {
            "id": "m",
            "format": {"provider": "parquet", "options": {}},
            "schemaString": json.dumps({"type": "struct", "fields": fields}),
            "partitionColumns": list(partitions),
            "configuration": {},
        }
    }


def add(path: str, **fields: Any) -> Action:
    return {
        "add": {"path": path, "partitionValues": {}, "size": 1, "modificationTime": 1, **fields}
    }


def table_of(folder: Path, *actions: Action, **files: pa.Table) -> Path:
    for name, rows in files.items():
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, folder / f"{name}.parquet")
    write_commit(folder / "_delta_log", 0, [protocol(), *actions])
    return folder


def opened(table: Path, mode: str = "fast") -> Snapshot:
    database = f"sqlite:///{table}.sqlite"
    import_table(str(table), database=database, table_name="t", mode=mode)
    return open_table(database, "t").snapshot()


@pytest.mark.parametrize(
    "kind",
    [
        "interval day to second",
        "decimal(60,2)",
        {"type": "udt", "class": "V", "sqlType": {"type": "struct", "fields": []}},
        {"type": "array", "elementType": "geometry", "containsNull": True},
    ],
    ids=str,
)
def test_a_column_of_a_type_that_we_lack_hides_itself_alone(tmp_path: Path, kind: Any) -> None:
    rows = pa.table({"id": pa.array([1, 2], pa.int64()), "x": pa.array([1, 2], pa.int64())})
    stats = '{"numRecords":2,"minValues":{"id":1},"maxValues":{"id":2},"nullCount":{"id":0}}'
    table = table_of(
        tmp_path / "t", metadata({"id": "long", "x": kind}), add("a.parquet", stats=stats), a=rows
    )
    snapshot = opened(table)
    assert snapshot.plan("id = 1").num_rows == 1
    assert snapshot.count_rows() == 2
    assert snapshot.count_rows("id = 2") == 1
    assert snapshot.to_pyarrow_table("id = 2", columns=["id"]).to_pydict() == {"id": [2]}
    assert snapshot.get_add_actions(flatten=True)["min.id"].to_pylist() == [1]
    dataset = snapshot.to_pyarrow_dataset()
    assert dataset.to_table(columns=["id"], filter=pc.field("id") > 1).num_rows == 1
    assert snapshot.to_duckdb().project("id").fetchall() == [(1,), (2,)]
    assert snapshot.to_polars().select("id").collect()["id"].to_list() == [1, 2]
    for read in (snapshot.to_pyarrow_table, dataset.to_table, snapshot.to_dask):
        with pytest.raises(DeltaLakeError, match=r"column x(\.element)? has type") as caught:
            read()
        assert caught.value.kind is DeltaLakeErrorKind.UNSUPPORTED_FEATURE


def test_an_emptied_table_whose_checkpoint_holds_tombstones_alone(tmp_path: Path) -> None:
    gone: Action = {"remove": {"path": "a.parquet", "deletionTimestamp": 2, "dataChange": True}}
    table = table_of(tmp_path / "t", metadata({"id": "long"}), add("a.parquet"))
    write_commit(table / "_delta_log", 1, [gone])
    name = table / "_delta_log" / f"{1:020d}.checkpoint.parquet"
    write_checkpoint(name, [protocol(), metadata({"id": "long"}), gone])
    snapshot = opened(table)
    assert snapshot.plan("id = 1").num_rows == 0 == snapshot.count_rows()
    assert snapshot.to_pyarrow_table().to_pydict() == {"id": []}
    assert list(snapshot.files) == []


VIEWS = {
    "view": pa.string_view(),
    "dictionary": pa.dictionary(pa.int8(), pa.string()),
    "large": pa.large_string(),
}


@pytest.mark.parametrize("layout", VIEWS)
def test_layouts_of_arrow_that_few_kernels_know_can_be_filtered(
    tmp_path: Path, layout: str
) -> None:
    texts = pa.array(["a", "b", "c"]).cast(VIEWS[layout])
    nested = pa.StructArray.from_arrays([texts], ["s"])
    many = pa.ListArray.from_arrays([0, 1, 2, 3], texts)
    rows = pa.table({"id": pa.array([1, 2, 3], pa.int64()), "s": texts, "n": nested, "m": many})
    inside = {"type": "struct", "fields": [{"name": "s", "type": "string", "nullable": True}]}
    listed = {"type": "array", "elementType": "string", "containsNull": True}
    columns = {"id": "long", "s": "string", "n": inside, "m": listed}
    table = table_of(tmp_path / "t", metadata(columns), add("a.parquet"), a=rows)
    assert len(opened(table).to_pyarrow_table("s = 'b'")) == 1
    (tmp_path / "t.sqlite").unlink()
    vector = inline_vector([1])
    actions = [protocol(*VECTORS), metadata(columns), add("a.parquet", deletionVector=vector)]
    write_commit(table / "_delta_log", 0, actions)
    found = opened(table).to_pyarrow_table()
    assert found.to_pydict() == {
        "id": [1, 3],
        "s": ["a", "c"],
        "n": [{"s": "a"}, {"s": "c"}],
        "m": [["a"], ["c"]],
    }


@pytest.mark.parametrize("vector", [False, True], ids=["plain", "deleted"])
def test_lists_of_views_are_read_and_written(tmp_path: Path, vector: bool) -> None:
    """Arrow's own cast makes arrays of them on which its Parquet writer ends the process."""
    lists = pa.list_view(pa.string_view())
    values = [["a"], None, ["b", "c"]]
    nested = pa.array([{"m": v} for v in values], pa.struct([("m", lists)]))
    rows = pa.table({"id": [1, 2, 3], "m": pa.array(values, lists), "n": nested})
    listed = {"type": "array", "elementType": "string", "containsNull": True}
    inside = {"type": "struct", "fields": [{"name": "m", "type": listed, "nullable": True}]}
    columns = {"id": "long", "m": listed, "n": inside}
    given = {"deletionVector": inline_vector([0])} if vector else {}
    features = VECTORS if vector else ()
    table = table_of(tmp_path / "t", metadata(columns), a=rows)
    write_commit(
        table / "_delta_log", 0, [protocol(*features), metadata(columns), add("a.parquet", **given)]
    )
    expected = rows.to_pylist()[1 if vector else 0 :]
    snapshot = opened(table)
    assert snapshot.to_pyarrow_table().to_pylist() == expected
    assert snapshot.to_pyarrow_dataset().to_table().to_pylist() == expected
    uri = f"deltasql://sqlite:///{tmp_path}/t.sqlite?table=written"
    dl.write_deltalake(uri, rows, location=str(tmp_path / "written"))
    assert dl.connect_to_table(uri).to_pyarrow_table().to_pylist() == rows.to_pylist()


def test_an_inline_vector_is_as_long_as_the_log_says(tmp_path: Path) -> None:
    """Z85 knows whole groups of four bytes: what a writer padded is no part of the vector."""
    rows = pa.table({"id": pa.array(range(5), pa.int64())})
    vector = inline_vector([0, 3, 70_000 % 5])
    padded = inline_vector([0, 3], spare=2)
    for name, given, left in (("a", vector, [1, 2, 4]), ("b", padded, [1, 2, 4])):
        table = table_of(tmp_path / name, metadata({"id": "long"}), a=rows)
        action = add("a.parquet", deletionVector=given)
        write_commit(
            table / "_delta_log", 0, [protocol(*VECTORS), metadata({"id": "long"}), action]
        )
        assert opened(table).to_pyarrow_table()["id"].to_pylist() == left


def inline_vector(rows: list[int], spare: int = 0) -> dict[str, Any]:
    """`spare`: bytes of padding that sizeInBytes doesn't count."""
    from pyroaring import BitMap64

    from deltalakedb.log import deletion_vector

    body = (1681511377).to_bytes(4, "little") + BitMap64(rows).serialize()
    size = len(body)
    body += bytes(-size % 4)
    text = ""
    for start in range(0, len(body), 4):
        value, digits = int.from_bytes(body[start : start + 4], "big"), ""
        for _ in range(5):
            digits = deletion_vector.Z85_ALPHABET[value % 85] + digits
            value //= 85
        text += digits
    return {
        "storageType": "i",
        "pathOrInlineDv": text,
        "sizeInBytes": size,
        "cardinality": len(set(rows)),
    }


@pytest.mark.parametrize(
    "stats", ["null", " null", "[]", "3", 'null {"numRecords":1}', '"\\ud800"']
)
def test_statistics_that_are_no_object_are_none(tmp_path: Path, stats: str) -> None:
    """Arrow's JSON reader ends the process over a line that is null."""
    table = table_of(
        tmp_path / "t",
        metadata({"id": "long"}),
        add("a.parquet", stats=stats),
        add("b.parquet", stats='{"numRecords":1,"minValues":{"id":7}}'),
        a=pa.table({"id": [1]}),
    )
    found = opened(table).get_add_actions(flatten=True)
    assert sorted(found["min.id"].to_pylist(), key=str) == [7, None]


@pytest.mark.parametrize(
    ("kind", "bad", "good", "predicate"),
    [
        ("integer", "x", "1", "p = 1"),
        ("byte", "300", "1", "p IN (1, 2)"),
        ("date", "2024-13-01", "2024-01-01", "p = DATE '2024-01-01'"),
        ("decimal(4,2)", "1.234", "5.00", "p = 5"),
        ("decimal(4,2)", "123.00", "5.00", "p = 5"),
        ("boolean", "perhaps", "true", "p = true"),
        ("double", "1_0", "5.0", "p = 5.0"),
    ],
)
def test_a_partition_value_that_is_none_concerns_its_file_alone(
    tmp_path: Path, kind: str, bad: str, good: str, predicate: str
) -> None:
    one = pa.table({"id": pa.array([1], pa.int64())})
    table = table_of(
        tmp_path / "t",
        metadata({"id": "long", "p": kind}, ("p",)),
        add("bad.parquet", partitionValues={"p": bad}),
        add("good.parquet", partitionValues={"p": good}),
        bad=one,
        good=one,
    )
    snapshot = opened(table)
    assert snapshot.to_pyarrow_table(predicate).num_rows == 1
    assert snapshot.to_pyarrow_table(columns=["id"]).num_rows == 2 == snapshot.count_rows()
    for read in (
        snapshot.to_pyarrow_table,
        snapshot.get_add_actions,
        snapshot.to_pyarrow_dataset().to_table,
        lambda: snapshot.to_pyarrow_table("p IS NULL"),
        lambda: snapshot.to_pyarrow_table("p IS NOT NULL", columns=["id"]),
        lambda: snapshot.count_rows("p IS NULL OR p IS NOT NULL"),
        lambda: snapshot.to_pyarrow_table(predicate.replace("=", "!=").replace("IN", "NOT IN")),
    ):
        with pytest.raises(DeltaLakeError, match=r"bad\.parquet.*column p: partition value") as why:
            read()
        assert why.value.kind is DeltaLakeErrorKind.INVALID_LOG


@pytest.mark.parametrize(
    ("kind", "far", "days", "near"),
    [
        ("date", "+10000-01-01", 2_932_897, dt.date(2024, 1, 1)),
        ("date", "-0001-12-31", -719_529, dt.date(2024, 1, 1)),
        ("date", "0000-02-29", -719_469, dt.date(2024, 1, 1)),
        ("timestamp", "9999-12-31T23:00:00.000-08:00", 2_932_897, "2024-01-01 00:00:00"),
        ("timestamp_ntz", "+12345-01-01 00:00:00", 3_789_391, "2024-01-01 00:00:00"),
    ],
)
def test_dates_beyond_pythons_are_partition_values(
    tmp_path: Path, kind: str, far: str, days: int, near: Any
) -> None:
    one = pa.table({"id": pa.array([1], pa.int64())})
    table = table_of(
        tmp_path / "t",
        metadata({"id": "long", "p": kind}, ("p",)),
        add("far.parquet", partitionValues={"p": far}),
        add("near.parquet", partitionValues={"p": str(near)}),
        far=one,
        near=one,
    )
    snapshot = opened(table)
    values = snapshot.to_pyarrow_table()["p"]
    number = pa.int32() if kind == "date" else pa.int64()
    found = [v if kind == "date" else v // 86_400_000_000 for v in values.cast(number).to_pylist()]
    assert sorted(found) == sorted([days, 19_723])
    literal = "DATE '2024-01-01'" if kind == "date" else "TIMESTAMP '2024-01-01 00:00:00'"
    assert snapshot.to_pyarrow_table(f"p = {literal}").num_rows == 1
    assert snapshot.to_pyarrow_table(f"p != {literal}").num_rows == 1
    assert snapshot.count_rows(f"p < {literal}") == int(days < 19_723)
    assert snapshot.count_rows(f"p >= {literal}") == 1 + int(days > 19_723)
    assert snapshot.to_pyarrow_table(columns=["id"]).num_rows == 2
    assert snapshot.get_add_actions(flatten=True).num_rows == 2
    changed = open_table(f"sqlite:///{table}.sqlite", "t")
    changed.set_authority("sql")
    changed.delete(f"p < {literal}")
    assert changed.snapshot().count_rows() == 2 - int(days < 19_723)
    changed.close()


def test_a_missing_data_file_is_named_by_each_output(tmp_path: Path) -> None:
    table = table_of(
        tmp_path / "t",
        metadata({"id": "long"}),
        add("a.parquet"),
        add("b%20c.parquet"),
        a=pa.table({"id": pa.array([1], pa.int64())}),
    )
    snapshot = opened(table)
    for read in (
        snapshot.to_pyarrow_table,
        snapshot.to_pyarrow_dataset().to_table,
        snapshot.to_polars().collect,
        lambda: snapshot.to_duckdb().fetchall(),
    ):
        with pytest.raises(DeltaLakeError, match=r"b c\.parquet.* does not exist") as caught:
            read()
        assert caught.value.kind is DeltaLakeErrorKind.NOT_FOUND


@pytest.mark.parametrize(
    ("before", "after", "stored"),
    [
        ("byte", "decimal(4,1)", pa.int8()),
        ("byte", "decimal(4,1)", pa.int32()),
        ("short", "decimal(5,0)", pa.int16()),
        ("integer", "decimal(12,2)", pa.int32()),
        ("long", "decimal(19,0)", pa.int64()),
        ("long", "decimal(38,19)", pa.int64()),
    ],
)
def test_whole_numbers_widen_to_any_decimal_that_holds_them(
    tmp_path: Path, before: str, after: str, stored: pa.DataType
) -> None:
    rows = pa.table({"v": pa.array([1, -127, None], stored)})
    action = metadata({"v": after})
    schema = json.loads(action["metaData"]["schemaString"])
    changes = [{"fromType": before, "toType": after}]
    schema["fields"][0]["metadata"] = {"delta.typeChanges": changes}
    action["metaData"]["schemaString"] = json.dumps(schema)
    snapshot = opened(table_of(tmp_path / "t", action, add("a.parquet"), a=rows))
    assert snapshot.to_pyarrow_table()["v"].to_pylist() == [1, -127, None]
    assert snapshot.to_pyarrow_dataset().to_table()["v"].to_pylist() == [1, -127, None]
    assert snapshot.to_polars().collect()["v"].to_list() == [1, -127, None]
    assert [row[0] for row in snapshot.to_duckdb().fetchall()] == [1, -127, None]


def test_a_nul_is_named_where_the_database_has_none(tmp_path: Path, pg_database: str) -> None:
    """On importing, and on catching up."""
    table = table_of(tmp_path / "t", metadata({"id": "long"}), add("a"))
    import_table(str(table), database=pg_database, table_name="t", mode="full-history")
    bad: dict[str, Action] = {
        "app_id of txn": {"txn": {"appId": "a\0b", "version": 1}},
        "user_metadata of commitInfo": {"commitInfo": {"userMetadata": "a\0b"}},
        r"stats of add \(path 'b'\)": add("b", stats="\0"),
        "app_id of txn is longer": {"txn": {"appId": "a" * 513, "version": 1}},
    }
    for says, action in bad.items():
        write_commit(table / "_delta_log", 1, [add("c"), action])
        for rebuild in (False, True):
            with pytest.raises(DeltaLakeError, match=f"version 1: {says}") as caught:
                import_table(str(table), database=pg_database, table_name="t", rebuild=rebuild)
            assert not caught.value.retryable
        assert diff_table("t", database=pg_database).catalog_version == 0
    with reading(pg_database) as connection:
        assert select(connection, "SELECT * FROM dl_txns") == []


def test_a_partition_column_that_is_none_of_the_schemas_is_named(tmp_path: Path) -> None:
    snapshot = opened(table_of(tmp_path / "t", metadata({"id": "long"}, ("x",)), add("a")))
    for answer in (snapshot.get_add_actions, snapshot.to_pyarrow_table):
        with pytest.raises(DeltaLakeError, match="partition column 'x'") as caught:
            answer()
        assert caught.value.kind is DeltaLakeErrorKind.INVALID_LOG


def test_a_checkpoint_whose_adds_are_no_structs_is_told_by_diff(tmp_path: Path) -> None:
    table = table_of(tmp_path / "t", metadata({"id": "long"}), add("a"))
    database = f"sqlite:///{table}.sqlite"
    import_table(str(table), database=database, table_name="t")
    checkpoint = table / "_delta_log" / f"{0:020d}.checkpoint.parquet"
    actions = [protocol(), metadata({"id": "long"}), add("a")]
    write_checkpoint(checkpoint, actions)
    rows = pq.read_table(checkpoint)
    index = rows.column_names.index("add")
    pq.write_table(
        rows.set_column(index, "add", pa.array([[1]] * 3, pa.list_(pa.int8()))), checkpoint
    )
    # It is left out, and the commits say the same.
    assert diff_table("t", database=database).parity
    (table / "_delta_log" / f"{0:020d}.json").unlink()
    with pytest.raises(DeltaLakeError) as caught:
        diff_table("t", database=database)
    assert caught.value.kind is DeltaLakeErrorKind.CORRUPT_CHECKPOINT


def test_a_footer_whose_counts_are_damaged_leaves_the_rows_to_diff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = table_of(tmp_path / "t", metadata({"id": "long"}), add("a"))
    database = f"sqlite:///{table}.sqlite"
    import_table(str(table), database=database, table_name="t")
    actions = [protocol(), metadata({"id": "long"}), add("a")]
    write_checkpoint(table / "_delta_log" / f"{0:020d}.checkpoint.parquet", actions)
    (table / "_delta_log" / f"{0:020d}.json").unlink()

    def damaged(*_: object) -> object:
        raise ValueError("the Parquet footer is damaged")

    monkeypatch.setattr(log_part, "null_counts", damaged)
    assert diff_table("t", database=database).parity
