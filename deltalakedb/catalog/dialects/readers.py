"""Which reader asks the database of a URL."""

from __future__ import annotations

from deltalakedb.catalog.dialects.reader import Reader
from deltalakedb.database_url import DatabaseUrl


def reader_of(url: DatabaseUrl) -> Reader:
    """A reader of the database of a URL."""
    if url.dialect == "sqlite":
        from deltalakedb.catalog.dialects.sqlite.reader import SqliteReader

        return SqliteReader(url)
    if url.dialect == "postgresql":
        from deltalakedb.catalog.dialects.postgresql.reader import PostgresReader

        return PostgresReader(url)
    from deltalakedb.catalog.dialects.mysql.reader import MySqlReader

    return MySqlReader(url)
