"""Catalogs of older revisions, filled: the schema by its migration, the rows from a kept dump.

`0001.sql` is what the program of that revision made on SQLite of five sample tables (`TABLES`),
one of them with a catch-up; locations were shortened to `/tables/<name>`. On servers the rows are
put into what revision 0001 makes, with the loads' tables as that program made them.
"""

from __future__ import annotations

import importlib
import sqlite3
from pathlib import Path

import sqlalchemy as sa

from deltalakedb.catalog import migrations
from deltalakedb.catalog.dialects import dialect_of
from deltalakedb.catalog.dialects.base import Dialect
from deltalakedb.uri import parse_database

TABLES = {
    "golden-time-travel-partition-changes-b": "full-history",
    "golden-basic-with-inserts-deletes-checkpoint": "full-history",
    "kernel-cdf-table-with-cdc-and-dvs": "full-history",
    "kernel-app-txn-checkpoint": "fast",
    "golden-basic-with-inserts-updates": "full-history",
}
"""Sample tables in the dump, and the mode in which they were imported."""
_LOAD = "dl_files_l"


def dump(revision: str) -> str:
    return (Path(__file__).parent / f"{revision}.sql").read_text()


def make(database: str, revision: str) -> None:
    """A filled catalog of a revision, in an empty database."""
    url = parse_database(database)
    if url.dialect == "sqlite":
        with sqlite3.connect(url.name) as target:
            target.executescript(dump(revision))
        target.close()
        return
    dialect = dialect_of(url)
    engine = dialect.engine()
    try:
        migrations.upgrade(dialect, engine, revision)
        with sqlite3.connect(":memory:") as source:
            source.executescript(dump(revision))
            with engine.begin() as connection:
                _copy(source, connection, dialect)
        source.close()
    finally:
        engine.dispose()


def _copy(source: sqlite3.Connection, target: sa.Connection, dialect: Dialect) -> None:
    found = sa.MetaData()
    found.reflect(target, views=True)
    names = [n for (n,) in source.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for name in names:
        if name.startswith("sqlite_") or name == migrations.VERSION_TABLE:
            continue
        if name.startswith(_LOAD):
            _make_load(source, target, name, dialect)
            found.reflect(target, only=[name])
        table = found.tables[name]
        if name == "dl_catalog":
            target.execute(table.delete())
        cursor = source.execute(f"SELECT * FROM {name}")
        columns = [c[0] for c in cursor.description]
        rows = [dict(zip(columns, row, strict=True)) for row in cursor]
        for row in rows:
            for column in ("readable", "is_blind_append", "data_change"):
                if row.get(column) is not None:
                    row[column] = bool(row[column])
        if rows:
            target.execute(table.insert(), rows)


def _make_load(
    source: sqlite3.Connection, target: sa.Connection, name: str, dialect: Dialect
) -> None:
    load_id = int(name.removeprefix(_LOAD))
    if dialect.partitions_files:
        target.exec_driver_sql(
            f"CREATE TABLE {name} (LIKE dl_files INCLUDING DEFAULTS, "
            f"CONSTRAINT {name}_load CHECK (load_id = {load_id}))"
        )
        target.exec_driver_sql(
            f"ALTER TABLE dl_files ATTACH PARTITION {name} FOR VALUES IN ({load_id})"
        )
    else:
        revision = importlib.import_module("deltalakedb.catalog.migrations.versions.0001_catalog")
        options = dialect.table_options(target)
        sa.Table(name, sa.MetaData(), *revision._file_columns(), **options).create(target)
    indexes = "SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ?"
    for (sql,) in source.execute(indexes, (name,)):
        # Where an index's name is its table's own, the program left the table's name out.
        own = not dialect.partitions_files
        target.exec_driver_sql(sql.replace(f"{name}_", "", 1) if own else sql)
