"""Catalogs of many tables, by copies of a few: what takes hours to import takes seconds."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.commit_tables import mirror
from deltalakedb.catalog.dialects import dialect_of
from deltalakedb.catalog.records import in_heap, load_of
from deltalakedb.catalog.tables import LOAD_TABLES, heads, heap, loads, tables
from deltalakedb.uri import parse_database
from tests.catalog.revisions import filled

_FIRST_KEY = 1_000_000
_AT_ONCE = 100
Row = dict[str, Any]


def copy_table(database: str, name: str, count: int) -> list[str]:
    """`count` more tables like the one of this name, whose load is in the heap; their names."""
    names = [f"{name}_{number:06d}" for number in range(count)]
    with Catalog(database) as catalog:
        with catalog.read() as connection:
            table = _rows(connection, tables, tables.c.name == name)[0]
            head = _rows(connection, heads, heads.c.table_key == table["table_key"])[0]
            published = _rows(connection, mirror, mirror.c.table_key == table["table_key"])[0]
            load = head["live_load"]
            assert in_heap(load)
            of_load = {
                each: _rows(connection, each, each.c.load_id == load)
                for each in (loads, heap, *LOAD_TABLES)
            }
        for start in range(0, count, _AT_ONCE):
            with catalog.write() as connection:
                for number in range(start, min(start + _AT_ONCE, count)):
                    new = load_of(_FIRST_KEY + number, heap=True)
                    said = {
                        "table_id": str(uuid.uuid4()),
                        "name": names[number],
                        "location": f"{table['location']}/{number}",
                        "location_hash": uuid.uuid4().hex,
                    }
                    made = connection.execute(
                        tables.insert().values(**_without(table, "table_key") | said)
                    )
                    key = {"table_key": _key(made)}
                    connection.execute(heads.insert().values(**head | key | {"live_load": new}))
                    connection.execute(mirror.insert().values(**published | key))
                    for each, rows in of_load.items():
                        if rows:
                            own = {"load_id": new}
                            if each is loads:
                                own["run_key"] = _FIRST_KEY + number
                            connection.execute(each.insert(), [row | own for row in rows])
    return names


def fill_old_catalog(database: str, count: int) -> None:
    """A catalog of revision 0001 with `count` tables, each with a table of files of its own."""
    filled.make(database, "0001")
    dialect = dialect_of(parse_database(database))
    engine = dialect.engine()
    found = sa.MetaData()
    try:
        with engine.connect() as connection:
            found.reflect(connection)
            table = _rows(connection, found.tables["dl_tables"], sa.true())[0]
            load = table["live_load"]
            known = [
                each
                for name, each in found.tables.items()
                if "load_id" in each.c and not name.startswith(("dl_files", "dl_import"))
            ]
            runs = found.tables["dl_import_runs"]
            run = _rows(connection, runs, runs.c.run_key == load)[0]
            rows = {each: _rows(connection, each, each.c.load_id == load) for each in known}
            have = connection.scalar(
                sa.select(sa.func.count()).select_from(found.tables["dl_tables"])
            )
        for batch in _batches(count - (have or 0)):
            with engine.begin() as connection:
                for number in batch:
                    new = _FIRST_KEY + number
                    _copy_load(connection, load, new)
                    said = {
                        "table_key": new,
                        "table_id": str(uuid.uuid4()),
                        "name": f"copy_{number:06d}",
                        "location": f"/tables/copy/{number}",
                        "location_hash": uuid.uuid4().hex,
                        "live_load": new,
                    }
                    connection.execute(found.tables["dl_tables"].insert().values(**table | said))
                    own: Row = {"load_id": new}
                    for each, some in rows.items():
                        if some:
                            connection.execute(each.insert(), [row | own for row in some])
                    own |= {"run_key": new, "run_id": str(uuid.uuid4())}
                    connection.execute(runs.insert().values(**run | own))
    finally:
        engine.dispose()


def _copy_load(connection: sa.Connection, old: int, new: int) -> None:
    """The table of a load's files with its indexes and rows, as that program made it."""
    source, target = f"dl_files_l{old}", f"dl_files_l{new}"
    run = connection.exec_driver_sql
    kind = connection.dialect.name
    if kind == "postgresql":
        run(f"CREATE TABLE {target} (LIKE {source} INCLUDING DEFAULTS)")
        run(f"ALTER TABLE {target} ADD CONSTRAINT {target}_load CHECK (load_id = {new})")
        run(f"ALTER TABLE dl_files ATTACH PARTITION {target} FOR VALUES IN ({new})")
        question = f"SELECT indexdef FROM pg_indexes WHERE tablename = '{source}'"
    elif kind == "sqlite":
        question = f"SELECT sql FROM sqlite_master WHERE tbl_name = '{source}' ORDER BY type DESC"
    else:
        run(f"CREATE TABLE {target} LIKE {source}")
        question = "SELECT '' WHERE 1 = 0"
    for (statement,) in run(question).fetchall():
        run(statement.replace(source, target))
    names = [
        c["name"] for c in sa.inspect(connection).get_columns(source) if c["name"] != "load_id"
    ]
    listed = ", ".join(names)
    run(f"INSERT INTO {target} (load_id, {listed}) SELECT {new}, {listed} FROM {source}")


def _rows(connection: sa.Connection, table: sa.Table, which: sa.ColumnElement[bool]) -> list[Row]:
    return [dict(row) for row in connection.execute(sa.select(table).where(which)).mappings()]


def _key(made: sa.CursorResult[Any]) -> int:
    assert made.inserted_primary_key is not None
    return int(made.inserted_primary_key[0])


def _without(row: Row, name: str) -> Row:
    return {key: value for key, value in row.items() if key != name}


def _batches(count: int) -> Iterator[range]:
    for start in range(0, count, _AT_ONCE):
        yield range(start, min(start + _AT_ONCE, count))
