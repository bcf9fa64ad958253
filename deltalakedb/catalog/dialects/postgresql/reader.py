"""Reading from PostgreSQL through psycopg2 alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg2

from deltalakedb.catalog.dialects.postgresql.connection import connect
from deltalakedb.catalog.dialects.postgresql.prepared import Prepared
from deltalakedb.catalog.dialects.reader import Reader


class PostgresReader(Reader):
    """Questions to PostgreSQL, over one connection."""

    paramstyle = "%s"
    waits = True

    def _connect(self) -> Any:
        connection = connect(self.url)
        connection.autocommit = True
        self._prepared = Prepared(allowed=True)
        return connection

    def _query_usual(
        self, connection: Any, statement: str, params: Sequence[Any]
    ) -> list[tuple[Any, ...]]:
        if self._prepared.wanted:
            self._prepared.make(connection)
        usual = self._prepared.call(statement.replace("%s", "?"), len(params)).replace("?", "%s")
        try:
            return self._query(connection, usual, params)
        except psycopg2.errors.InvalidSqlStatementName:
            # Another session than the one that has prepared it: a pooler we don't know.
            self._prepared = Prepared(allowed=False)
            return self._query(connection, statement, params)

    def _is_driver_error(self, error: Exception) -> bool:
        return isinstance(error, psycopg2.Error)

    def _is_lost(self, error: Exception) -> bool:
        lost = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        return lost and self._connection is not None

    def _is_missing_table(self, error: Exception) -> bool:
        missing = isinstance(error, psycopg2.errors.UndefinedTable)
        return missing and ("dl_tables" in str(error) or "dl_schema_version" in str(error))
