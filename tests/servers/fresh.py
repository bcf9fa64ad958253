"""Catalogs that tests create: their first of a kind by migrations, the others by its statements.

Hundreds of tests begin with an empty database, and what the migrations make of it is always the
same. Each process of tests lets them run once for each kind of database; from then on it repeats
what they told that kind. Databases that aren't empty, and processes that tests start, do without.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa

from deltalakedb.catalog import migrations
from deltalakedb.catalog.catalog import schema_version
from deltalakedb.catalog.dialects.base import Dialect

_CHANGES = ("CREATE", "ALTER", "DROP", "INSERT", "UPDATE", "DELETE", "COMMENT", "GRANT")
_Told = list[tuple[str, Any]]
_known: dict[tuple[object, ...], _Told] = {}


@contextmanager
def repeated_creation() -> Iterator[None]:
    """Until the end catalogs in empty databases are made by repetition."""
    as_it_is = migrations.upgrade

    def upgrade(dialect: Dialect, engine: sa.Engine, revision: str = "head") -> None:
        if revision != "head" or not _is_empty(engine):
            return as_it_is(dialect, engine, revision)
        kind = (type(dialect), engine.dialect.server_version_info)
        if kind in _known:
            # What fails, for want of rights or of the server, is the migrations' to tell.
            with suppress(Exception):
                return _repeat(dialect, engine, _known[kind])
            return as_it_is(dialect, engine, revision)
        told: _Told = []

        def listen(_: object, __: object, sql: str, values: Any, *___: object) -> None:
            if sql.lstrip().upper().startswith(_CHANGES):
                told.append((sql, values))

        sa.event.listen(engine, "before_cursor_execute", listen)
        try:
            as_it_is(dialect, engine, revision)
        finally:
            sa.event.remove(engine, "before_cursor_execute", listen)
        _known[kind] = told

    migrations.upgrade = upgrade
    try:
        yield
    finally:
        migrations.upgrade = as_it_is


def _is_empty(engine: sa.Engine) -> bool:
    return schema_version(engine) is None and sa.inspect(engine).get_table_names() == []


def _repeat(dialect: Dialect, engine: sa.Engine, told: _Told) -> None:
    with dialect.begin(engine) as connection:
        cursor = connection.connection.cursor()
        for sql, values in told:
            cursor.execute(sql, _own(values) if "INTO dl_catalog " in sql else values)
        cursor.close()


def _own(values: Any) -> Any:
    """The row of `dl_catalog`: a catalog has an id and a birthday of its own."""
    new = {"catalog_id": str(uuid.uuid4()), "created_at": time.time_ns() // 1_000_000}
    if isinstance(values, dict):
        assert values.keys() == new.keys()
        return new
    return tuple(new.values())
