"""New tables to append to, for each kind of appender, in one database of PostgreSQL."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import psycopg2
import pyarrow as pa

import deltalakedb
from benchmarks import ducklake, writers
from benchmarks.appender import BARE_SCHEMA, rows_of
from benchmarks.workbench import Workbench
from benchmarks.writers import Appended

PROCESSES = 8
SECONDS = 8.0


class Places:
    """New tables for each kind of appender, in one database of PostgreSQL."""

    def __init__(self, bench: Workbench, port: int | None = None) -> None:
        """`port`: of a proxy before the server."""
        self._bench = bench
        self._count = 0
        self.database = bench.postgresql.new_database()
        if port is not None:
            server, _, name = self.database.rpartition("/")
            self.database = f"{server.rpartition(':')[0]}:{port}/{name}"

    def _new(self) -> tuple[str, Path]:
        self._count += 1
        name = f"t{self._count}"
        above = self._bench.folder / "write"
        above.mkdir(exist_ok=True)
        return name, Path(tempfile.mkdtemp(prefix=f"{name}-", dir=above))

    def ours(
        self,
        tables: int,
        database: str | None = None,
        schema: pa.Schema | None = None,
        authority: str = "sql",
        properties: dict[str, str | None] | None = None,
    ) -> list[str]:
        found = []
        for _ in range(tables):
            name, folder = self._new()
            uri = f"deltasql://{database or self.database}?table={name}"
            schema = rows_of(0, 1).schema if schema is None else schema
            deltalakedb.create_table(
                uri, schema, location=str(folder), authority=authority, properties=properties
            ).close()
            found.append(uri)
        return found

    def delta_rs(self, tables: int) -> list[str]:
        from deltalake import DeltaTable

        found = []
        for _ in range(tables):
            _, folder = self._new()
            DeltaTable.create(str(folder), schema=rows_of(0, 1).schema)
            found.append(str(folder))
        return found

    def bare(self, tables: int) -> list[str]:
        database = self._bench.postgresql.new_database()
        found = []
        with psycopg2.connect(database) as connection:
            cursor = connection.cursor()
            cursor.execute(BARE_SCHEMA)
            for number in range(tables):
                _, folder = self._new()
                (folder / "_delta_log").mkdir()
                cursor.execute("INSERT INTO heads VALUES (%s, -1)", (number,))
                target = {"database": database, "folder": str(folder), "table": number}
                found.append(json.dumps(target))
        return found

    def ducklake(self, lake: ducklake.DuckLake, tables: int) -> list[str]:
        database = self._bench.postgresql.new_database()
        _, folder = self._new()
        found = []
        for number in range(tables):
            target = lake.target(database, folder, f"t{number}")
            lake.run(target, f"CREATE TABLE lake.t{number} (id BIGINT, day VARCHAR, value DOUBLE)")
            found.append(target)
        return found


def seconds_of(bench: Workbench) -> float:
    """How long appending processes run."""
    return max(2.0, SECONDS * min(1.0, bench.scale))


def appended(
    bench: Workbench,
    kind: str,
    targets: Sequence[str],
    processes: int,
    seconds: float,
    python: str | None = None,
) -> Appended:
    """What processes of a kind do on the targets, shared out among them; ours are checked."""
    bench.say(f"{kind}: {processes} processes on {len(targets)} tables")
    each = [targets[number % len(targets)] for number in range(processes)]
    found = writers.append(kind, each, seconds, python=python or sys.executable)
    bench.say(f"{kind}: {found.note}")
    if kind == "ours":
        _check(targets, found)
    return found


def _check(targets: Sequence[str], found: Appended) -> None:
    """What was acknowledged is there, once."""
    versions = 0
    for target in targets:
        with closing(deltalakedb.connect_to_table(target)) as table:
            versions += table.version
    if versions < found.acknowledged or versions > found.acknowledged + sum(
        found.failures.values()
    ):
        raise RuntimeError(f"{found.acknowledged} appends acknowledged, {versions} versions")
