"""Rows come back from the files that were written, to ourselves and to others."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.paths import decode_path
from deltalakedb.planning.pruning.statistics import statistics_may_match
from deltalakedb.predicate.parse import parse_predicate
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.write.files import FileWriter, write_files
from deltalakedb.write.properties import BloomFilterProperties, ColumnProperties, WriterProperties
from tests.servers.s3 import S3Bucket
from tests.write.support import Made, rows_of

UTC = datetime.UTC
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
PRIMITIVES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.bool_(): st.booleans(),
    pa.int8(): st.integers(-128, 127),
    pa.int16(): st.integers(-(2**15), 2**15 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
    pa.decimal128(38, 10): st.decimals(
        -(10**27), 10**27, places=10, allow_nan=False, allow_infinity=False
    ),
    pa.decimal128(9, 2): st.decimals(
        -(10**6), 10**6, places=2, allow_nan=False, allow_infinity=False
    ),
    pa.string(): TEXTS,
    pa.binary(): st.binary(max_size=9),
    pa.date32(): st.dates(),
    pa.timestamp("us", "UTC"): st.datetimes(timezones=st.just(UTC)),
    pa.timestamp("us"): st.datetimes(),
}
NESTED: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.list_(pa.int64()): st.lists(st.none() | st.integers(0, 9), max_size=3),
    pa.map_(pa.string(), pa.int32()): st.dictionaries(
        st.text("ab", max_size=2), st.none() | st.integers(0, 9), max_size=2
    ).map(lambda found: list(found.items())),
    pa.struct([("x", pa.int64()), ("y", pa.list_(pa.struct([("z", pa.string())])))]): (
        st.fixed_dictionaries(
            {
                "x": st.none() | st.integers(0, 9),
                "y": st.none()
                | st.lists(st.none() | st.fixed_dictionaries({"z": st.none() | TEXTS}), max_size=2),
            }
        )
    ),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Table, list[str]]:
    """Rows with a key `n`, of some columns, and by which of them they are partitioned."""
    count = draw(st.integers(1, 6))
    kinds = draw(st.lists(st.sampled_from([*PRIMITIVES, *NESTED]), min_size=1, max_size=4))
    columns = {"n": pa.array(range(count), pa.int64())}
    partitions = []
    for place, kind in enumerate(kinds):
        name = draw(st.sampled_from(["a", "b c", "é%", "_x="])) + str(place)
        values = st.none() | (PRIMITIVES | NESTED)[kind]
        columns[name] = pa.array(draw(st.lists(values, min_size=count, max_size=count)), kind)
        if kind in PRIMITIVES and kind != pa.binary() and draw(st.integers(0, 3)) == 0:
            partitions.append(name)
    return pa.table(columns), partitions


def read_back(table: pa.Table, partitions: list[str]) -> pa.Table:
    """What reading gives: partition values lose the sign of zero, and empty text is null."""
    for name in partitions:
        column = table.column(name)
        if pa.types.is_string(column.type):
            empty = pc.equal(column, "")
            column = pc.if_else(empty, pa.scalar(None, pa.string()), column)
        elif pa.types.is_floating(column.type):
            zero = pa.scalar(0.0, column.type)
            column = pc.if_else(pc.equal(column, zero), zero, column)
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


def unsigned_zeros(rows: list[dict[str, Any]], partitions: list[str]) -> list[dict[str, Any]]:
    return [
        {k: "0.0" if k in partitions and v == "-0.0" else v for k, v in row.items()} for row in rows
    ]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tables(), st.sampled_from(["none", "name", "id"]))
def test_rows_come_back(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[pa.Table, list[str]], mode: str
) -> None:
    table, partitions = made
    given_table = Made(
        tmp_path_factory.mktemp("t"),
        table.schema,
        partitions,
        {"delta.columnMapping.mode": mode} if mode != "none" else {},
    )
    half = table.num_rows // 2
    written = given_table.write([table.slice(0, half), table.slice(half)])
    assert written.num_rows == table.num_rows
    expected = unsigned_zeros(rows_of(read_back(table, partitions)), partitions)
    assert unsigned_zeros(rows_of(given_table.read()), partitions) == expected
    for add in written.adds:
        assert (given_table.folder / decode_path(add["path"])).stat().st_size == add["size"]
    for row in range(table.num_rows):
        keeps_its_file(given_table, table, row, written.adds)
    if mode == "none":
        theirs = given_table.read_by_deltalake().select(table.column_names)
        assert theirs.num_rows == table.num_rows
        if not partitions:
            assert rows_of(theirs.cast(given_table.read().schema)) == expected


def keeps_its_file(made: Made, table: pa.Table, row: int, adds: list[dict[str, Any]]) -> None:
    """Looking for any value of a row, planning keeps the file that holds the row."""
    conditions = [pc.field("n") == row]
    for field in table.schema:
        if field.type in PRIMITIVES and not pa.types.is_binary(field.type):
            value = table.column(field.name)[row]
            conditions.append(
                pc.field(field.name) == value if value.is_valid else pc.field(field.name).is_null()
            )
    # Which file holds it, its key tells.
    held = [a for a in adds if json.loads(a["stats"])["minValues"] and _holds(a, row, made)]
    assert held
    for condition in conditions:
        expr = parse_predicate(condition, made.metadata.schema.struct, mapped=made.target.mapped)
        assert any(statistics_may_match(expr, add["stats"]) for add in held)


def _holds(add: dict[str, Any], row: int, made: Made) -> bool:
    name = made.target.physical_names["n"]
    stats = json.loads(add["stats"])
    return bool(stats["minValues"][name] <= row <= stats["maxValues"][name])


ODD = [
    "a b",
    "x/y",
    "50%",
    "%41",
    "é",
    "ß=1",
    "q?#",
    "'\"",
    "\x01\x7f",
    "\U0001f600",
    "a" * 300,
    "..",
]


def test_odd_partition_values(tmp_path: Path) -> None:
    table = pa.table({"n": range(len(ODD) + 2), "p=%": [*ODD, "", None]})
    made = Made(tmp_path, table.schema, ["p=%"])
    written = made.write(table)
    # Empty text is null (PROTOCOL.md), so the two are one partition.
    assert len(written.adds) == len(ODD) + 1
    values = [*ODD, None, None]
    for found in (made.read(), made.read_by_deltalake()):
        rows = sorted(found.to_pylist(), key=lambda row: row["n"])
        assert [row["p=%"] for row in rows] == values
    assert {add["partitionValues"]["p=%"] for add in written.adds} == {*ODD, None}


def test_empty_text_is_null_in_partition_values(tmp_path: Path) -> None:
    schema = pa.schema([("n", pa.int64()), pa.field("p", pa.string(), nullable=False)])
    with pytest.raises(DeltaLakeError, match="empty text is null") as caught:
        Made(tmp_path, schema, ["p"]).write(pa.table({"n": [1, 2], "p": ["a", ""]}))
    assert caught.value.kind is DeltaLakeErrorKind.CONSTRAINT_VIOLATION


def test_every_kind_of_input(tmp_path: Path) -> None:
    table = pa.table({"n": [1, 2], "s": ["a", None]})
    frame = pd.DataFrame({"n": [3, 4], "s": ["c", None]})
    path = tmp_path / "in.parquet"
    pq.write_table(table, path)
    inputs = [
        table,
        table.to_reader(),
        table.to_batches()[0],
        iter(table.to_batches()),
        [table, table.slice(1)],
        frame,
        frame.set_index("n"),
        frame[frame.n > 3],
        pl.DataFrame({"n": [5], "s": ["e"]}),
        ds.dataset(path),
        ds.dataset(path).scanner(),
        table.slice(0, 0),
    ]
    made = Made(tmp_path / "t", table.schema)
    counts = [made.write(each).num_rows for each in inputs]
    assert counts == [2, 2, 2, 2, 3, 2, 2, 1, 1, 2, 2, 0]
    assert made.read().num_rows == sum(counts) == made.read_by_deltalake().num_rows
    for wrong, why in (
        (pl.LazyFrame({"n": [1]}), "collect"),
        ([], "no batch"),
        ({"n": [1]}, "dict"),
        ([1], "int"),
        ("x", "str"),
    ):
        with pytest.raises(DeltaLakeError, match=why) as caught:
            made.write(wrong)
        assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT


def test_files_follow_partitions_not_the_order_of_rows(tmp_path: Path) -> None:
    count = 20_000
    p = [i % 50 for i in range(count)]
    table = pa.table({"n": range(count), "p": p, "s": ["x" * 20] * count})
    made = Made(tmp_path, table.schema, ["p"])
    batches = table.to_batches(max_chunksize=1000)
    written = made.write(
        pa.RecordBatchReader.from_batches(table.schema, batches), buffered_bytes=100_000
    )
    assert len(written.adds) == 50
    assert rows_of(made.read()) == rows_of(table)


def test_files_have_about_the_size_asked_for(tmp_path: Path) -> None:
    count = 300_000
    table = pa.table(
        {"n": pa.array(range(count)), "x": pa.array([i * 37 % 10007 for i in range(count)])}
    )
    made = Made(tmp_path, table.schema)
    size = 300_000
    written = made.write(table, target_file_size=size)
    assert len(written.adds) > 3
    assert all(size * 0.8 < add["size"] < 2 * size for add in written.adds[:-1])
    assert made.read().column("n").to_pylist() == list(range(count))
    sized = Made(tmp_path, table.schema, (), {"delta.targetFileSize": "2mb"})
    assert sized.target.target_file_size == 2 << 20


def test_failing_input_leaves_no_file(tmp_path: Path) -> None:
    table = pa.table({"n": range(3000), "p": [i % 3 for i in range(3000)]})

    def batches() -> Any:
        yield from table.to_batches(max_chunksize=1000)
        raise OSError("the input broke")

    made = Made(tmp_path, table.schema, ["p"])
    with pytest.raises(OSError, match="broke"):
        made.write(pa.RecordBatchReader.from_batches(table.schema, batches()), target_file_size=1)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_files_in_s3(s3: S3Bucket, tmp_path: Path) -> None:
    table = pa.table({"n": range(100), "p": ["a b", "50%"] * 50, "s": ["x" * 9] * 100})
    made = Made(tmp_path, table.schema, ["p"], place=s3_place(s3))
    written = made.write(table)
    assert {info.name for info in made.store.list("p=", recursive=True)} == set(written.names)
    assert rows_of(made.read()) == rows_of(table)

    def batches() -> Any:
        yield from table.to_batches(max_chunksize=50)
        raise OSError("the input broke")

    with pytest.raises(OSError, match="broke"):
        made.write(pa.RecordBatchReader.from_batches(table.schema, batches()))
    assert {info.name for info in made.store.list("p=", recursive=True)} == set(written.names)


def s3_place(s3: S3Bucket) -> StoreSpec:
    return StoreSpec(f"s3://{s3.name}/t", s3.options)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"n": range(100_000)})
    made = Made(tmp_path, table.schema)
    monkeypatch.setattr(made.store, "open_output", lambda name: pa.OSFile("/dev/full", "wb"))
    with pytest.raises(DeltaLakeError, match="could not be written") as caught:
        made.write(table)
    assert caught.value.kind is DeltaLakeErrorKind.STORAGE_ERROR


def test_names_are_told_before_files_are_begun(tmp_path: Path) -> None:
    table = pa.table({"n": [1, 2], "p": ["a", "b"]})
    made = Made(tmp_path, table.schema, ["p"])
    told: list[str] = []

    def register(name: str) -> None:
        assert not (tmp_path / name).exists()
        told.append(name)

    written = write_files(made.store, made.target, table, "the-id", register=register, task=7)
    assert told == written.names
    assert all("part-00007-the-id-" in name for name in told)
    with FileWriter(made.store, made.target, "other") as writer:
        writer.write(table.to_batches()[0])
    assert {p.name for p in tmp_path.rglob("*.parquet")} == {n.split("/")[-1] for n in told}


def test_files_under_column_mapping(tmp_path: Path) -> None:
    kind = pa.struct([("x", pa.int64())])
    table = pa.table({"n": [1], "s": pa.array([{"x": 1}], kind), "p": ["a"]})
    made = Made(tmp_path, table.schema, ["p"], {"delta.columnMapping.mode": "name"})
    (add,) = made.write(table).adds
    fields = {f.name: f for f in made.metadata.schema.struct.fields}
    schema = pq.read_schema(tmp_path / decode_path(add["path"]))
    assert schema.names == [fields["n"].physical_name, fields["s"].physical_name]
    assert [f.metadata[b"PARQUET:field_id"] for f in schema] == [b"1", b"2"]
    inner = schema.field(1).type.field(0)
    assert inner.metadata == {b"PARQUET:field_id": b"3"}
    assert add["partitionValues"] == {fields["p"].physical_name: "a"}
    assert json.loads(add["stats"])["minValues"][fields["s"].physical_name] == {inner.name: 1}
    assert made.metadata.configuration["delta.columnMapping.maxColumnId"] == "4"
    assert made.read_by_deltalake().to_pylist() == table.to_pylist()


def test_the_table_says_how_files_are_compressed(sqlite_url: str, tmp_path: Path) -> None:
    codec = "delta.parquet.compression.codec"
    rows = pa.table({"n": [1]})
    uri = f"deltasql://{sqlite_url}?table=t"
    with pytest.raises(DeltaLakeError, match="can't be 'zip'"):
        dl.create_table(uri, rows.schema, location=str(tmp_path / "t"), properties={codec: "zip"})
    table = dl.create_table(
        uri, rows.schema, location=str(tmp_path / "t"), properties={codec: "zstd"}
    )
    table.append(rows)
    table.append(rows, writer_properties=WriterProperties(compression="GZIP"))
    table.alter.set_table_properties({codec: "none"})
    table.append(rows)
    found = {
        pq.read_metadata(path).row_group(0).column(0).compression: path.suffixes[0]
        for path in (tmp_path / "t").glob("*.parquet")
    }
    assert found == {"ZSTD": ".zstd", "GZIP": ".gzip", "UNCOMPRESSED": ".parquet"}


def test_writer_properties(tmp_path: Path) -> None:
    deltalake = pytest.importorskip("deltalake")
    table = pa.table({"n": range(1000), "s": [str(i) for i in range(1000)]})
    ours = WriterProperties(
        compression="ZSTD",
        compression_level=5,
        max_row_group_size=300,
        default_column_properties=ColumnProperties(dictionary_enabled=False),
        column_properties={"s": ColumnProperties(dictionary_enabled=True)},
    )
    theirs = deltalake.WriterProperties(
        compression="ZSTD",
        compression_level=5,
        max_row_group_size=300,
        default_column_properties=deltalake.ColumnProperties(dictionary_enabled=False),
        column_properties={"s": deltalake.ColumnProperties(dictionary_enabled=True)},
    )
    for number, properties in enumerate((ours, WriterProperties.of(theirs))):
        made = Made(tmp_path / str(number), table.schema)
        (add,) = made.write(table, properties=properties).adds
        assert add["path"].endswith(".zstd.parquet")
        metadata = pq.read_metadata(made.folder / add["path"])
        assert metadata.num_row_groups == 4
        n, s = (metadata.row_group(0).column(i) for i in (0, 1))
        assert n.compression == s.compression == "ZSTD"
        assert (n.has_dictionary_page, s.has_dictionary_page) == (False, True)
    bloom = ColumnProperties(bloom_filter_properties=BloomFilterProperties(True, 0.1, 1000))
    for properties, why in (
        (WriterProperties(statistics_truncate_length=3), "statistics_truncate_length"),
        (WriterProperties(compression="X"), "unknown compression"),
        (WriterProperties(compression="SNAPPY", compression_level=3), "writer properties"),
        (
            WriterProperties(column_properties={"s": ColumnProperties(encoding="RLE")}),
            "writer properties",
        ),
    ):
        with pytest.raises(DeltaLakeError, match=why):
            made.write(table, properties=properties)
    made.write(table, properties=WriterProperties(column_properties={"n": bloom}))


def test_columns_of_distinct_values_have_no_dictionary(tmp_path: Path) -> None:
    count = 66_000
    table = pa.table({"n": range(count), "few": [i % 9 for i in range(count)], "l": [[1]] * count})

    def dictionaries(**options: Any) -> list[bool]:
        made = Made(tmp_path / str(len(list(tmp_path.iterdir()))), table.schema)
        (add,) = made.write(table, **options).adds
        group = pq.read_metadata(made.folder / add["path"]).row_group(0)
        assert rows_of(made.read())[-1] == rows_of(table.slice(count - 1))[0]
        return [group.column(i).has_dictionary_page for i in range(3)]

    assert dictionaries() == [False, True, True]
    asked = WriterProperties(column_properties={"few": ColumnProperties(dictionary_enabled=False)})
    assert dictionaries(properties=asked) == [True, False, True]


def test_partitions_that_cannot_be(tmp_path: Path) -> None:
    table = pa.table({"n": [1], "l": [[1]]})
    for columns, why in ((["x"], "no column"), (["l"], "no text"), (["n", "l"], "no text")):
        with pytest.raises(DeltaLakeError, match=why):
            Made(tmp_path, table.schema, columns).write(table)
    with pytest.raises(DeltaLakeError, match="all columns"):
        Made(tmp_path, table.select(["n"]).schema, ["n"]).write(table.select(["n"]))


def schema_json(*columns: tuple[str, Any]) -> str:
    fields = [{"name": n, "type": t, "nullable": True, "metadata": {}} for n, t in columns]
    return json.dumps({"type": "struct", "fields": fields})


def test_columns_that_files_do_not_hold(tmp_path: Path) -> None:
    made = Made(tmp_path, schema_json(("n", "long"), ("v", "void")))
    (add,) = made.write(pa.table({"n": [1, 2], "v": pa.nulls(2)})).adds
    assert pq.read_schema(tmp_path / add["path"]).names == ["n"]
    assert json.loads(add["stats"])["nullCount"] == {"n": 0, "v": 2}
    for found in (made.read(), made.read_by_deltalake()):
        assert found.to_pylist() == [{"n": 1, "v": None}, {"n": 2, "v": None}]
    inner = {"type": "struct", "fields": [
        {"name": "x", "type": "void", "nullable": True, "metadata": {}}]}  # fmt: skip
    for kind, why in (
        (inner, r"s\.x is void"),
        ({"type": "struct", "fields": []}, "without members"),
        ("interval year", "column s has type"),
    ):
        with pytest.raises(DeltaLakeError, match=why) as caught:
            Made(tmp_path, schema_json(("n", "long"), ("s", kind))).write(pa.table({"n": [1]}))
        assert caught.value.kind is DeltaLakeErrorKind.UNSUPPORTED_FEATURE


def test_variants(tmp_path: Path) -> None:
    value = {"metadata": b"\x01\x00\x00", "value": b"\x0c\x05"}
    made = Made(tmp_path, schema_json(("n", "long"), ("v", "variant")))
    assert made.protocol.reader_features == ("variantType",)
    made.write(pa.table({"n": [1, 2], "v": pa.array([value, None])}))
    for found in (made.read(), made.read_by_deltalake()):
        assert found.to_pylist() == [{"n": 1, "v": value}, {"n": 2, "v": None}]


def test_decimals_in_statistics_are_exact(tmp_path: Path) -> None:
    value = Decimal("12345678901234567890.123456789")
    table = pa.table({"d": pa.array([value], pa.decimal128(38, 9))})
    (add,) = Made(tmp_path, table.schema).write(table).adds
    assert '"maxValues":{"d":12345678901234567890.123456789}' in add["stats"]
