"""Reading from MySQL and MariaDB through pymysql alone."""

from __future__ import annotations

from typing import Any

import pymysql

from deltalakedb.catalog.dialects.mysql.connection import connect
from deltalakedb.catalog.dialects.mysql.error import LOST, NO_SUCH_TABLE, number_and_text
from deltalakedb.catalog.dialects.reader import Reader


class MySqlReader(Reader):
    """Questions to MySQL or MariaDB, over one connection."""

    paramstyle = "%s"
    waits = True

    def _connect(self) -> Any:
        return connect(self.url, autocommit=True)

    def _is_driver_error(self, error: Exception) -> bool:
        return isinstance(error, pymysql.MySQLError)

    def _is_lost(self, error: Exception) -> bool:
        return number_and_text(error)[0] in LOST and self._connection is not None

    def _is_missing_table(self, error: Exception) -> bool:
        number, text = number_and_text(error)
        return number == NO_SUCH_TABLE and ("dl_tables" in text or "dl_schema_version" in text)
