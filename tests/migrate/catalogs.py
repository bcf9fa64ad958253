"""What a catalog holds, read by plain SQL: to compare imports, and to find what they left."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from deltalakedb.catalog.tables import LOAD_TABLES, files, import_parts, loads
from deltalakedb.uri import parse_database
from tests.log.made_logs import write_commit
from tests.replay.generated import Key, Log, naive

Row = dict[str, Any]
_FIRST_MS = 1_700_000_000_000
# What differs between two imports of one log: keys, times, and what only speeds up planning.
_OWN = {"table_key", "table_id", "live_load", "load_id", "created_at", "updated_at", "skipping"}


def write_log(table: Path, log: Log, first: int = 0) -> Path:
    """The commits first… of a log, each a minute after the one before; returns `_delta_log`."""
    folder = table / "_delta_log"
    folder.mkdir(parents=True, exist_ok=True)
    for version in range(first, len(log)):
        path = write_commit(folder, version, log[version])
        moment = (_FIRST_MS + version * 60_000) * 1_000_000
        os.utime(path, ns=(moment, moment))
    return folder


_engines: dict[str, sa.Engine] = {}


def engine(database: str) -> sa.Engine:
    """One engine a database and test, whatever is imported meanwhile."""
    found = _engines.get(database)
    if found is None:
        found = sa.create_engine(parse_database(database).reveal(), pool_pre_ping=True)
        _engines[database] = found
    return found


def end_engines() -> None:
    """Close their connections: the descriptors of thousands of tests add up."""
    while _engines:
        _engines.popitem()[1].dispose()


@contextmanager
def reading(database: str) -> Iterator[sa.Connection]:
    with engine(database).connect() as connection:
        yield connection


def select(connection: sa.Connection, sql: str, **values: Any) -> list[Row]:
    return [dict(row) for row in connection.execute(sa.text(sql), values).mappings()]


def table_row(database: str, name: str) -> Row:
    with reading(database) as connection:
        return _table_row(connection, name)


def _table_row(connection: sa.Connection, name: str) -> Row:
    [row] = select(
        connection,
        "SELECT t.*, h.head_version, h.epoch, h.authority, h.live_load, h.num_files, "
        "h.total_bytes, h.updated_at FROM dl_tables t "
        "JOIN dl_heads h ON h.table_key = t.table_key WHERE t.name = :n",
        n=name,
    )
    return row


def content(database: str, name: str) -> dict[str, Any]:
    """All that a catalogued table consists of, in an order of its own and without its keys."""
    with reading(database) as connection:
        row = _table_row(connection, name)
        load = row["live_load"]
        found: dict[str, Any] = {"table": _without_own(row)}
        for table in (files, *LOAD_TABLES):
            rows = select(connection, f"SELECT * FROM {table.name} WHERE load_id = :l", l=load)
            found[table.name] = sorted(map(_without_own, rows), key=repr)
    return found


def _without_own(row: Row) -> Row:
    return {name: value for name, value in sorted(row.items()) if name not in _OWN}


def files_at(database: str, name: str, version: int) -> dict[Key, tuple[int, str]]:
    """(size, partition values) of each file at a version, by SQL alone."""
    with reading(database) as connection:
        rows = select(
            connection,
            "SELECT f.path, f.dv_id, f.size, p.partition_values "
            "FROM dl_tables t JOIN dl_heads h ON h.table_key = t.table_key "
            "JOIN dl_files f ON f.load_id = h.live_load "
            "JOIN dl_partitions p ON p.load_id = f.load_id AND p.partition_id = f.partition_id "
            "WHERE t.name = :n AND f.added_version <= :v AND f.removed_version > :v",
            n=name,
            v=version,
        )
    found = {(r["path"], r["dv_id"]): (r["size"], r["partition_values"]) for r in rows}
    assert len(found) == len(rows)
    return found


def naive_files(log: Log, version: int) -> dict[Key, tuple[int, str]]:
    held = naive(log[: version + 1]).files
    return {
        key: (
            body["size"],
            json.dumps(
                {k: v or None for k, v in body["partitionValues"].items()},
                separators=(",", ":"),
                ensure_ascii=False,
            ),
        )
        for key, body in held.items()
    }


def everything(database: str) -> dict[str, list[Row]]:
    """Every row of every table of the catalog."""
    with reading(database) as connection:
        names = sa.inspect(connection).get_table_names()
        return {n: sorted(select(connection, f"SELECT * FROM {n}"), key=repr) for n in names}


def left_over(database: str) -> dict[str, Sequence[int]]:
    """Loads that no table shows and that still have rows or a table, by where."""
    with reading(database) as connection:
        live = set(connection.scalars(sa.text("SELECT live_load FROM dl_heads")))
        found: dict[str, Sequence[int]] = {}
        columns = [(t.name, "load_id") for t in (*LOAD_TABLES, loads)] + [
            (import_parts.name, "run_key")
        ]
        for name, column in columns:
            ids = set(connection.scalars(sa.text(f"SELECT DISTINCT {column} FROM {name}")))
            found[name] = sorted(ids - live - {abs(load) for load in live})
        tables = [
            int(match[1])
            for name in sa.inspect(connection).get_table_names()
            if (match := re.fullmatch(r"dl_files_l(\d+)", name))
        ]
        found["dl_files"] = sorted(set(tables) - live)
        shared = sa.text("SELECT DISTINCT load_id FROM dl_files_heap")
        found["dl_files_heap"] = sorted(set(connection.scalars(shared)) - live)
    return {name: loads for name, loads in found.items() if loads}


def runs(database: str) -> list[Row]:
    with reading(database) as connection:
        return select(connection, "SELECT * FROM dl_import_runs ORDER BY run_key")
