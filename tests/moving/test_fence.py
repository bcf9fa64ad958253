"""The fence as a matrix: tables × operations × handles opened before and after × engines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.migrate.cut import cutover_table
from deltalakedb.migrate.rollback import rollback_table
from tests.conftest import may_start
from tests.moving.test_move import rows
from tests.servers.old_deltalake import ADVICE, old_python
from tests.servers.spark import SparkError, SparkServer

PROGRAM = Path(__file__).with_name("foreign_writes.py")
TABLES: dict[str, dict[str, str | None]] = {
    "writer 2": {},
    "writer 7": {"delta.feature.domainMetadata": "supported"},
    "deletion vectors": {"delta.enableDeletionVectors": "true"},
    "column mapping": {"delta.columnMapping.mode": "name"},
}
OPERATIONS = ("append", "overwrite", "delete", "merge", "optimize")


def made(kind: str, place: Path, database: str) -> None:
    """A table with two small files, that its log ratifies."""
    table = dl.create_table(
        f"deltasql://{database}?table=t",
        pa.schema([("x", pa.int64())]),
        location=str(place),
        properties=TABLES[kind],
        authority="log",
    )
    table.append(rows(1))
    table.append(rows(2))
    protocol = deltalake.DeltaTable(str(place)).protocol()
    assert (protocol.min_writer_version == 2) == (kind == "writer 2")


def versions(place: Path) -> list[str]:
    return sorted(p.name for p in (place / "_delta_log").glob("*.json"))


@contextmanager
def foreign(python: Path, place: Path) -> Iterator[subprocess.Popen[str]]:
    """A file-based writer that has the table open."""
    running = subprocess.Popen(
        [str(python), str(PROGRAM), str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stdout is not None
        if running.stdout.readline().strip() != "ready":
            raise AssertionError(running.communicate()[1])
        yield running
    finally:
        running.kill()
        running.communicate()


def held(python: Path, kind: str, place: Path, database: str) -> dict[str, str]:
    """What a writer that had the table open before the fence is told, and that nothing follows."""
    made(kind, place, database)
    with foreign(python, place) as running:
        moved = cutover_table("t", database=database)
        assert moved.success
        fenced = versions(place)
        out, err = running.communicate("go\n", timeout=240)
    assert out, err
    found: dict[str, str] = json.loads(out)["found"]
    assert versions(place)[-1] == fenced[-1], found
    for operation in OPERATIONS:
        for when in ("before", "after"):
            assert found[f"{operation}, {when}"].startswith("refused"), found
    # A foreign checkpoint, and the cleanup after it, are borne.
    dl.write_deltalake(f"deltasql://{database}?table=t", rows(3), mode="append")
    table = dl.connect_to_table(f"deltasql://{database}?table=t")
    assert sorted(table.to_pyarrow_table()["x"].to_pylist()) == [1, 2, 3]
    if python != Path(sys.executable):
        # Its checkpoint lacks the features that it doesn't know, which the next one of ours mends,
        # and that may have been made meanwhile.
        drift = dl.diff_table("t", database=database)
        found_kinds = [(d.kind, d.name) for d in drift.differences]
        assert found_kinds in ([], [("protocol", "writer_features")])
        table.create_checkpoint()
    assert dl.diff_table("t", database=database).parity
    return found


@pytest.mark.parametrize("kind", ["writer 7"])
def test_delta_rs_is_held(kind: str, sqlite_url: str, tmp_path: Path) -> None:
    found = held(Path(sys.executable), kind, tmp_path / "t", sqlite_url)
    assert found["checkpoint"] == "made"


@pytest.mark.system
@pytest.mark.parametrize("kind", TABLES)
def test_delta_rs_is_held_at_every_table(kind: str, sqlite_url: str, tmp_path: Path) -> None:
    held(Path(sys.executable), kind, tmp_path / "t", sqlite_url)


@pytest.mark.system
@pytest.mark.parametrize("kind", TABLES)
def test_old_delta_rs_is_held_at_every_table(kind: str, sqlite_url: str, tmp_path: Path) -> None:
    python = old_python()
    may_start("old-deltalake", python, ADVICE)
    assert python is not None
    held(python, kind, tmp_path / "t", sqlite_url)


@pytest.mark.system
@pytest.mark.parametrize("kind", TABLES)
def test_spark_is_held_and_writes_again(
    kind: str, sqlite_url: str, tmp_path: Path, spark_server: SparkServer
) -> None:
    place = tmp_path / "t"
    made(kind, place, sqlite_url)
    name = f"delta.`{place}`"
    spark_server.run(f"INSERT INTO {name} VALUES (5)")
    assert spark_server.rows(f"SELECT * FROM {name}").num_rows == 3
    assert cutover_table("t", database=sqlite_url).success
    fenced = versions(place)
    merge = f"MERGE INTO {name} t USING (SELECT 9 AS x) s ON t.x = s.x"
    for statement in (
        f"INSERT INTO {name} VALUES (6)",
        f"INSERT OVERWRITE {name} VALUES (6)",
        f"DELETE FROM {name} WHERE x = 1",
        f"UPDATE {name} SET x = 3 WHERE x = 1",
        f"{merge} WHEN NOT MATCHED THEN INSERT *",
        f"OPTIMIZE {name}",
    ):
        with pytest.raises(SparkError):
            spark_server.run(statement)
    assert versions(place) == fenced
    assert spark_server.rows(f"SELECT * FROM {name}").num_rows == 3
    rollback_table("t", database=sqlite_url)
    spark_server.run(f"INSERT INTO {name} VALUES (6)")
    spark_server.run(f"DELETE FROM {name} WHERE x = 1")
    assert spark_server.rows(f"SELECT * FROM {name}").num_rows == 3
    dl.import_table(log_dir=str(place), database=sqlite_url)
    assert dl.diff_table("t", database=sqlite_url).parity
