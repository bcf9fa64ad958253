"""Directories of partitions have names that every reader finds, in a folder and in S3."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import deltalake
import polars as pl
import pyarrow as pa
import pytest

from deltalakedb.storage.spec import StoreSpec
from deltalakedb.write.layout import HIVE_NULL
from tests.servers.duckdb import DuckDbServer
from tests.servers.s3 import KEY, REGION, SECRET, S3Bucket
from tests.servers.spark import SparkServer
from tests.write.support import Made

ODD = [
    *("a b", " ", "é", "日本", "\U0001f600", "a\u0301", "a%b", "a%20b", "a/b", "C:\\x", "..", "."),
    *("a+b&c=d", "?#", "'\"", "*[x]{y}^|<z>~`", "!$(),;@", "\x01\n\x7f", "日" * 25, None),
]
TABLE = pa.table({"n": range(len(ODD)), "p": ODD})
UNREADABLE = ["日" * 100, HIVE_NULL]
"""What Polars can't be told by a directory's name: too long for one, and the name of null."""


def values(found: pa.Table | pl.DataFrame) -> list[str | None]:
    rows = found.to_pylist() if isinstance(found, pa.Table) else found.to_dicts()
    return [row["p"] for row in sorted(rows, key=lambda row: row["n"])]


def everyone_reads(url: str, options: Mapping[str, str] | None = None) -> None:
    given = None if options is None else dict(options)
    table = deltalake.DeltaTable(url, storage_options=given)
    query = deltalake.QueryBuilder().register("t", table)
    assert values(pa.table(query.execute("SELECT n, p FROM t"))) == ODD
    assert values(table.to_pyarrow_table()) == ODD
    assert values(pl.scan_delta(url, storage_options=given).collect()) == ODD
    assert values(pl.read_delta(url, storage_options=given, use_pyarrow=True)) == ODD


def test_in_a_folder(tmp_path: Path) -> None:
    made = Made(tmp_path, TABLE.schema, ["p"])
    made.write(TABLE)
    everyone_reads(str(tmp_path))
    assert values(made.read()) == ODD


def test_in_s3(s3: S3Bucket, tmp_path: Path) -> None:
    made = Made(tmp_path, TABLE.schema, ["p"], place=StoreSpec(s3.url("t"), s3.options))
    made.write(TABLE)
    options = {
        "AWS_ENDPOINT_URL": s3.endpoint_url,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": REGION,
        "AWS_ALLOW_HTTP": "true",
    }
    everyone_reads(s3.url("t"), options)
    assert values(made.read()) == ODD


@pytest.mark.parametrize("value", UNREADABLE, ids=["long", "null"])
def test_polars_refuses_what_no_directory_can_be_named_by(tmp_path: Path, value: str) -> None:
    table = pa.table({"n": [0, 1], "p": ["x", value]})
    made = Made(tmp_path, table.schema, ["p"])
    made.write(table)
    assert values(made.read_by_deltalake()) == values(made.read()) == ["x", value]
    with pytest.raises(pl.exceptions.SchemaFieldNotFoundError):
        pl.scan_delta(str(tmp_path)).collect()


@pytest.mark.system
def test_spark_and_duckdb(
    spark_server: SparkServer, duckdb_server: DuckDbServer, tmp_path: Path
) -> None:
    place = tmp_path / "t"
    table = pa.table({"n": range(len(ODD) + len(UNREADABLE)), "p": [*ODD, *UNREADABLE]})
    made = Made(place, table.schema, ["p"])
    made.write(table)
    expected = values(table)
    assert values(spark_server.rows(f"SELECT * FROM delta.`{place}`")) == expected
    query = f"SELECT * FROM delta_scan('{place}')"
    assert values(duckdb_server.rows(query, tmp_path / "rows.arrow")) == expected
