"""Dialects: the only modules that know which database it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltalakedb.catalog.dialects.base import Dialect
    from deltalakedb.database_url import DatabaseUrl


def dialect_of(url: DatabaseUrl) -> Dialect:
    """What speaks to the database of a URL."""
    if url.dialect == "sqlite":
        from deltalakedb.catalog.dialects.sqlite.dialect import SqliteDialect

        return SqliteDialect(url)
    if url.dialect == "postgresql":
        from deltalakedb.catalog.dialects.postgresql.dialect import PostgresDialect

        return PostgresDialect(url)
    from deltalakedb.catalog.dialects.mysql.dialect import MySqlDialect

    return MySqlDialect(url)
