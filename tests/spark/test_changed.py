"""Spark, and the kernel in DuckDB, read what changes make: checkpoints, row ids, change data."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.log import checkpoint_writer
from deltalakedb.log.reader import sidecars_named
from deltalakedb.mirror import publish
from tests.servers.duckdb import DuckDbServer
from tests.servers.spark import SparkServer

pytestmark = pytest.mark.system
SCHEMA = pa.schema([("p", pa.int64()), ("x", pa.int64())])


def rows(*values: int) -> pa.Table:
    return pa.table({"p": [x % 10 for x in values], "x": list(values)}, schema=SCHEMA)


def made(database: str, place: Path, **properties: str) -> dl.Table:
    return dl.create_table(
        f"deltasql://{database}?table=t",
        SCHEMA,
        location=str(place),
        partition_by="p",
        properties={"delta.enableDeletionVectors": "true", **properties},
    )


def test_checkpoints_upon_earlier_ones(
    spark_server: SparkServer,
    duckdb_server: DuckDbServer,
    sqlite_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoint_writer, "_LEAST_SIDECAR_ROWS", 4)
    place = tmp_path / "t"
    table = made(sqlite_url, place, **{"delta.checkpointPolicy": "v2"})
    table.append(rows(*range(40)))
    names = []
    for change in ("x = 11", "p = 3"):
        table.create_checkpoint()
        table.delete(change)
        table.append(rows(100 + len(names)))
        name = table.create_checkpoint()
        assert name is not None
        names.append(set(sidecars_named(publish.log_of(table._head.row, None), name)))
    assert names[0] & names[1]
    for file in (place / "_delta_log").glob("*.json"):
        if file.name[:20].isdigit() and int(file.name[:20]) < table.version:
            file.unlink()
    expected = sorted(table.to_pyarrow_table().column("x").to_pylist())
    found = spark_server.rows(f"SELECT x FROM delta.`{place}` ORDER BY x")
    assert found.column("x").to_pylist() == expected
    kernel = duckdb_server.rows(
        f"SELECT x FROM delta_scan('{place}') ORDER BY x", tmp_path / "rows.arrow"
    )
    assert pa.table(kernel).column("x").to_pylist() == expected
    # A writer goes on from it.
    spark_server.run(f"DELETE FROM delta.`{place}` WHERE x = 20")
    found = spark_server.rows(f"SELECT x FROM delta.`{place}` ORDER BY x")
    assert found.column("x").to_pylist() == [x for x in expected if x != 20]


def test_row_ids_and_change_data(
    spark_server: SparkServer, sqlite_url: str, tmp_path: Path
) -> None:
    place = tmp_path / "t"
    on = {"delta.enableRowTracking": "true", "delta.enableChangeDataFeed": "true"}
    table = made(sqlite_url, place, **on)
    table.append(rows(*range(20)))

    def ids() -> dict[int, tuple[int, int]]:
        found = spark_server.rows(
            "SELECT x, _metadata.row_id AS id, _metadata.row_commit_version AS v "
            f"FROM delta.`{place}`"
        )
        return {row["x"]: (row["id"], row["v"]) for row in found.to_pylist()}

    before = ids()
    assert sorted(row for row, _ in before.values()) == list(range(20))
    table.delete("x = 4")
    table.update(updates={"x": "x + 1000"}, predicate="x = 5")
    table.merge(
        rows(6, 50), "t.x = s.x", source_alias="s", target_alias="t"
    ).when_matched_delete().when_not_matched_insert_all().execute()
    table.optimize.purge()
    after = ids()
    assert after[1005] == (before[5][0], 3)
    assert after[50][1] == 4
    assert after[50][0] not in {row for row, _ in before.values()}
    assert {x: after[x] for x in range(7, 20)} == {x: before[x] for x in range(7, 20)}
    table.restore(3)
    table.append(rows(27, 29))
    table.alter.add_columns(pa.field("note", pa.string()))
    with dl.begin(sqlite_url) as tx:
        tx.append("t", rows(60, 61))
        tx.update("t", {"p": "p + 1"}, predicate="x >= 19")
        tx.delete("t", "x IN (7, 60)")
        assert table.optimize.compact()["numFilesRemoved"] > 0
    table.overwrite(rows(3), predicate="p = 3")
    there = ids()
    assert [there[x][0] for x in (8, 19, 1005)] == [before[x][0] for x in (8, 19, 5)]
    theirs = spark_server.rows(
        f"SELECT p, x, _change_type, _commit_version FROM table_changes_by_path('{place}', 1)"
    )
    names = ["p", "x", "_change_type", "_commit_version"]
    ours = table.load_cdf(starting_version=1).read_all().select(names)
    assert Counter(str(row) for row in theirs.select(names).to_pylist()) == Counter(
        str(row) for row in ours.to_pylist()
    )
