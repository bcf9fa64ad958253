"""Shredded variants, against DuckDB: it writes them, and encodes the same values unshredded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.scan.scan import scan_table
from tests.snapshot.scan_support import (
    column,
    file_row,
    made_scan,
    sample_facts,
    sample_scan,
    write_parquet,
)
from tests.tables import samples

VALUES = [
    "NULL::INTEGER",
    "{'a': 1, 'b': 'x'}",
    "{'a': 'text', 'c': [1, 2]}",
    "{'a': NULL, 'b': 'é'}",
    "{'a': {'d': {'c': 1}}, 'b': 2}",
    "{'a': repeat('y', 70000), 'b': 1}",
    "[1, 2, 3]",
    "[]",
    "range(300)",
    "[[1]::VARIANT, NULL, ['x']::VARIANT, 2::VARIANT]",
    "true",
    "false",
    "1::TINYINT",
    "300::SMALLINT",
    "42",
    "5000000000",
    "1.5::DOUBLE",
    "1.5::FLOAT",
    "-1.23::DECIMAL(5,2)",
    "-12345678901.5::DECIMAL(15,1)",
    "-123456789012345678901234.5::DECIMAL(38,1)",
    "DATE '1969-01-02'",
    "TIMESTAMP '1960-01-02 03:04:05.123456'",
    "TIMESTAMPTZ '2020-01-02 03:04:05.123456+00'",
    "TIME '01:02:03'",
    "'ab'::BLOB",
    "UUID '12345678-1234-1234-1234-123456789abc'",
    "''",
    "repeat('x', 63)",
    "repeat('x', 64)",
]

SHREDDINGS = [
    "STRUCT(a INTEGER, b VARCHAR)",
    "STRUCT(a STRUCT(d STRUCT(c INTEGER)), b INTEGER)",
    "INTEGER[]",
    "INTEGER[][]",
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "DOUBLE", "FLOAT", "BOOLEAN", "VARCHAR"),
    *("DECIMAL(5,2)", "DECIMAL(15,1)", "DECIMAL(38,1)", "DATE", "TIMESTAMP", "TIMESTAMPTZ"),
    *("TIME", "BLOB", "UUID"),
]


@pytest.fixture(scope="module")
def values() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET timezone = 'UTC'; CREATE TABLE t (i INTEGER, v VARIANT)")
        for number, value in enumerate(VALUES):
            connection.execute(f"INSERT INTO t SELECT {number}, ({value})::VARIANT")
        yield connection


@pytest.mark.parametrize("shredding", SHREDDINGS)
def test_shredded_variants_are_put_together(
    values: duckdb.DuckDBPyConnection, shredding: str, tmp_path: Path
) -> None:
    path = tmp_path / "f.parquet"
    values.execute(f"COPY t TO '{path}' (FORMAT parquet, SHREDDING {{v: '{shredding}'}})")
    typed = pq.read_table(path)["v"].combine_chunks().field("typed_value")
    assert typed.null_count < len(typed)
    fields = [column("i", "integer"), column("v", "variant")]
    table = scan_table(made_scan(tmp_path, fields, [file_row(path.name)]))
    query = "SELECT variant_to_parquet_variant(v) AS v FROM t WHERE i > 0 ORDER BY i"
    found = table["v"].to_pylist()
    assert found[0] is None
    assert found[1:] == values.sql(query).to_arrow_table()["v"].to_pylist()


def test_variants_shredded_by_spark() -> None:
    name = "spark-variant-stats-no-checkpoint"
    table = scan_table(sample_scan(name, 1))
    [file] = sample_facts(name, 1)["files"]
    with duckdb.connect() as connection:
        source = connection.read_parquet(str(samples.path(name) / file["path"]))
        unshredded = source.select(
            duckdb.SQLExpression("variant_to_parquet_variant(v) AS v"),
            duckdb.SQLExpression("variant_to_parquet_variant(nv.v) AS inner"),
        ).to_arrow_table()
    # DuckDB makes dictionaries of its own: the values are the same, as here each name is in both.
    assert [row["value"] for row in table["v"].to_pylist()] == [
        row["value"] for row in unshredded["v"].to_pylist()
    ]
    assert [row["v"]["value"] for row in table["nv"].to_pylist()] == [
        row["value"] for row in unshredded["inner"].to_pylist()
    ]


def test_variants_that_were_never_shredded(tmp_path: Path) -> None:
    stored = pa.table({"v": [{"value": b"\x0c\x07", "metadata": b"\x01\x00\x00"}, None]})
    name = write_parquet(tmp_path / "f.parquet", stored)
    table = scan_table(made_scan(tmp_path, [column("v", "variant")], [file_row(name)]))
    assert table["v"].to_pylist() == stored["v"].to_pylist()


@pytest.mark.parametrize(
    "stored",
    [
        {"value": b"\x00"},
        {"metadata": b"\x01\x00\x00", "value": None, "typed_value": {"x": {"typed_value": 1}}},
        {"metadata": b"\x01\x00\x00", "value": b"\x0c\x07", "typed_value": {"x": {"value": b""}}},
    ],
)
def test_columns_that_are_no_variant_are_named(stored: dict[str, object], tmp_path: Path) -> None:
    name = write_parquet(tmp_path / "f.parquet", pa.table({"v": [stored]}))
    with pytest.raises(DeltaLakeError, match=r"f\.parquet") as caught:
        scan_table(made_scan(tmp_path, [column("v", "variant")], [file_row(name)]))
    assert caught.value.kind is DeltaLakeErrorKind.CORRUPT_DATA_FILE
