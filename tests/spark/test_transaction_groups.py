"""Tables that carry `transactionGroup`, an action of ours, as others read them."""

from __future__ import annotations

from pathlib import Path

import deltalake
import polars
import pyarrow as pa
import pytest

import deltalakedb as dl
from tests.published import complete_log
from tests.servers.duckdb import DuckDbServer
from tests.servers.spark import SparkServer


def grouped(database: str, folder: Path) -> list[str]:
    """Two tables of which a checkpoint covers one transaction, and commits tell two more."""
    places = [str(folder / name) for name in ("a", "b")]
    for place in places:
        uri = f"deltasql://{database}?table={Path(place).name}"
        dl.create_table(uri, pa.schema([("x", pa.int64())]), location=place)
    for number in range(3):
        with dl.begin(database) as tx:
            tx.append("a", pa.table({"x": [number]}))
            tx.append("b", pa.table({"x": [-number]}))
        if number == 0:
            dl.connect_to_table(f"deltasql://{database}?table=a").create_checkpoint()
    for name in ("a", "b"):
        table = dl.connect_to_table(f"deltasql://{database}?table={name}")
        complete_log(table)
        log = Path(table.location) / "_delta_log"
        assert b'"transactionGroup"' in (log / f"{3:020d}.json").read_bytes()
    return places


def test_delta_rs_and_polars(sqlite_url: str, tmp_path: Path) -> None:
    for place, sign in zip(grouped(sqlite_url, tmp_path), (1, -1), strict=True):
        expected = sorted([0, sign, 2 * sign])
        theirs = deltalake.DeltaTable(place)
        assert theirs.version() == 3
        assert sorted(theirs.to_pyarrow_table()["x"].to_pylist()) == expected
        assert sorted(polars.read_delta(place)["x"].to_list()) == expected


@pytest.mark.system
def test_duckdb_and_spark(
    sqlite_url: str, tmp_path: Path, duckdb_server: DuckDbServer, spark_server: SparkServer
) -> None:
    for place, sign in zip(grouped(sqlite_url, tmp_path), (1, -1), strict=True):
        expected = sorted([0, sign, 2 * sign])
        query = f"SELECT x FROM delta_scan('{place}')"
        found = duckdb_server.rows(query, tmp_path / "rows.arrow")
        assert sorted(pa.table(found)["x"].to_pylist()) == expected
        rows = spark_server.rows(f"SELECT x FROM delta.`{place}`")
        assert sorted(rows.column("x").to_pylist()) == expected
        (tmp_path / "rows.arrow").unlink()
