"""Loading a part into MySQL or MariaDB: LOAD DATA LOCAL INFILE, or INSERTs where that is off."""

from __future__ import annotations

import time
import warnings

import pyarrow as pa
import pymysql

from deltalakedb.catalog.dialects.base import Loader, check_claim
from deltalakedb.catalog.dialects.mysql import text as mysql_text
from deltalakedb.catalog.dialects.mysql.connection import MySqlConnection
from deltalakedb.catalog.dialects.mysql.error import LOCAL_INFILE_OFF, number_and_text

_STATEMENT_BYTES = 1 << 20

_warned: set[str] = set()


class MySqlLoader(Loader):
    """`described`: the database, for messages."""

    def __init__(self, connection: MySqlConnection, described: str) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._described = described
        # A connection that is lent may not have asked for it.
        self._infile = described not in _warned and connection.takes_files

    def claim(self, run_key: int, part: int) -> bool:
        # No gap locks: other loaders write beside us.
        self._cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        # The subquery's row isn't locked: it is everybody's.
        self._cursor.execute(
            "SELECT p.state, (SELECT r.status FROM dl_import_runs r WHERE r.run_key = p.run_key) "
            "FROM dl_import_parts p WHERE p.run_key = %s AND p.part = %s FOR UPDATE",
            (run_key, part),
        )
        return check_claim(self._cursor.fetchone(), run_key, part)

    def append(self, table: str, rows: pa.Table) -> None:
        if self._infile:
            try:
                self._load(table, rows)
                return
            except pymysql.MySQLError as error:
                number, text = number_and_text(error)
                if number not in LOCAL_INFILE_OFF:
                    raise
                self._infile = False
                self._warn(text)
        self._insert(table, rows)

    def _load(self, table: str, rows: pa.Table) -> None:
        self._connection.feed = mysql_text.lines(rows)
        loaded = self._cursor.execute(
            f"LOAD DATA LOCAL INFILE 'rows in memory' INTO TABLE {table} CHARACTER SET utf8mb4 "
            f"{mysql_text.FORMAT} ({', '.join(rows.column_names)})"
        )
        # LOCAL makes warnings of what would be errors: values cut, rows left out.
        if loaded != rows.num_rows or self._cursor.warning_count:
            self._cursor.execute("SHOW WARNINGS")
            for _, number, text in self._cursor.fetchall():
                raise pymysql.DataError(number, f"{text} ({table})")
            raise pymysql.DataError(f"{loaded} of {rows.num_rows} rows came into {table}")

    def _insert(self, table: str, rows: pa.Table) -> None:
        self._cursor.execute("SELECT @@max_allowed_packet")
        [(allowed,)] = self._cursor.fetchall()
        head = f"INSERT INTO {table} ({', '.join(rows.column_names)}) VALUES ".encode()
        most = min(_STATEMENT_BYTES, int(allowed) - 1024) - len(head)
        for values in mysql_text.values(rows, most):
            self._connection.query(head + values)

    def _warn(self, text: str) -> None:
        _warned.add(self._described)
        warnings.warn(
            f"{self._described} takes no LOAD DATA LOCAL INFILE ({text}), so rows are inserted, "
            "which is slower: SET GLOBAL local_infile = ON on the server",
            RuntimeWarning,
            stacklevel=3,
        )

    def commit(self, run_key: int, part: int, file_rows: int) -> None:
        self._cursor.execute(
            "UPDATE dl_import_parts SET state = 'loaded', attempt = attempt + 1, file_rows = %s, "
            "loaded_at = %s WHERE run_key = %s AND part = %s",
            (file_rows, time.time_ns() // 1_000_000, run_key, part),
        )
        self._connection.commit()

    def close(self) -> None:
        # Without a COMMIT before, the server rolls back.
        if self._connection.open:
            self._connection.close()
