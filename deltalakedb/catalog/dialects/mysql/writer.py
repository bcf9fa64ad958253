"""Writing to MySQL and MariaDB through pymysql alone: several statements a message."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.constants import CLIENT

from deltalakedb.catalog.dialects.mysql.connection import connect
from deltalakedb.catalog.dialects.mysql.error import LOCK_WAIT_TIMEOUT, LOST, number_and_text
from deltalakedb.catalog.dialects.writer import (
    Statement,
    UpdateEach,
    Upsert,
    Writer,
    holder_text,
    in_turn,
    insert,
)
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

if TYPE_CHECKING:
    import pyarrow as pa

_IDLE_SECONDS = 10
_IDLE_HOLDERS = (
    "SELECT DISTINCT p.id FROM performance_schema.data_locks l "
    "JOIN information_schema.innodb_trx t ON t.trx_id = l.engine_transaction_id "
    "JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id "
    "WHERE l.object_schema = DATABASE() AND l.object_name = 'dl_heads' "
    "AND l.lock_type = 'RECORD' AND l.lock_status = 'GRANTED' "
    f"AND p.command = 'Sleep' AND p.time >= {_IDLE_SECONDS} AND p.id <> CONNECTION_ID()"
)
_GUARD = "; INSERT INTO dl_settings (name, value) SELECT NULL, '' FROM DUAL "
_NO_DEFAULT_FOR_NULL = frozenset({1048, 1364})


class MySqlWriter(Writer):
    """What commits ask of MySQL and MariaDB."""

    now = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)"
    # A restart is told by the connection that is lost with it.
    incarnation = "CAST(CONCAT(@@hostname, ':', @@port, ':', @@server_id) AS CHAR)"
    # A dump that is restored in place makes new tables. It takes MySQL half a millisecond to say.
    incarnation_alone = (
        "(SELECT CONCAT(@@hostname, ':', @@port, ':', @@server_id, ' ', create_time) "
        "FROM information_schema.tables "
        "WHERE table_schema = DATABASE() AND table_name = 'dl_heads')"
    )

    def __init__(self, url: DatabaseUrl, connection: Any = None) -> None:
        self._message_bytes = self._most_bytes = 1 << 20
        super().__init__(url, connection)

    def _connect(self) -> Any:
        connection = connect(
            self.url,
            autocommit=True,
            client_flag=CLIENT.FOUND_ROWS | CLIENT.MULTI_STATEMENTS,
        )
        with connection.cursor() as cursor:
            cursor.execute("SELECT @@max_allowed_packet, @@version LIKE '%MariaDB%'")
            packet, self._is_mariadb = cursor.fetchone()
        self._most_bytes = int(packet)
        self._message_bytes = max(1 << 20, self._most_bytes // 2)
        return connection

    def begin(self, lock: Statement, question: Statement, wait: float) -> list[tuple[Any, ...]]:
        if self._is_guest or self._is_mariadb:
            return super().begin(lock, question, wait)
        deadline = time.monotonic() + wait
        while True:
            left = deadline - time.monotonic()
            try:
                return super().begin(lock, question, min(left, _IDLE_SECONDS + 1))
            except DeltaLakeError as error:
                late = time.monotonic() >= deadline
                if error.kind is not DeltaLakeErrorKind.TIMEOUT_ERROR or late:
                    raise
                self._end_idle_holders()

    def _end_idle_holders(self) -> None:
        """What MariaDB and PostgreSQL do by themselves: end who holds heads and says nothing.

        It takes the rights to see other sessions; without them they are waited for.
        """
        self._open()
        with self._connection.cursor() as cursor, suppress(pymysql.MySQLError):
            cursor.execute(_IDLE_HOLDERS)
            for (session,) in cursor.fetchall():
                cursor.execute(f"KILL {int(session)}")

    def _begin(self, lock: Statement, question: Statement, wait: float) -> list[tuple[Any, ...]]:
        self._open()
        seconds = max(1, round(wait))
        idle = (
            f"SET SESSION idle_transaction_timeout = {_IDLE_SECONDS}; " if self._is_mariadb else ""
        )
        head = (
            f"{idle}SET SESSION innodb_lock_wait_timeout = {seconds}; "
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION READ WRITE"
        )
        with self._connection.cursor() as cursor:
            texts = [head, self._text(cursor, lock), self._text(cursor, question)]
            return self._execute(cursor, texts)

    def _ask(self, question: Statement) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            return self._execute(cursor, [self._text(cursor, question)])

    def _run(self, statements: Sequence[Statement]) -> None:
        with self._connection.cursor() as cursor:
            for group in in_turn(statements, self._message_bytes):
                if group:
                    self._execute(cursor, [self._text(cursor, s) for s in group])

    def _commit(self, statements: Sequence[Statement]) -> None:
        *before, last = in_turn(statements, self._message_bytes)
        with self._connection.cursor() as cursor:
            for group in before:
                self._execute(cursor, [self._text(cursor, s) for s in group])
            self._execute(cursor, [*(self._text(cursor, s) for s in last), "COMMIT"])

    def _transact(self, statements: Sequence[Statement], wait: float, relaxed: bool) -> None:
        # Whether a COMMIT is synced is the server's to say, not a session's.
        begin = Statement(
            f"SET SESSION innodb_lock_wait_timeout = {max(1, round(wait))}; "
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION READ WRITE"
        )
        self._commit([begin, *statements])

    def _rollback(self) -> None:
        if self._connection is not None:
            self._connection.rollback()

    def _execute(self, cursor: Any, texts: Sequence[str]) -> list[tuple[Any, ...]]:
        """Run them in one message; the rows of the last one."""
        if self._is_guest:
            # Its owner's connection takes one statement a message.
            for text in texts:
                cursor.execute(text)
            return list(cursor.fetchall())
        message = "; ".join(texts)
        # The server hangs up on longer ones, as if the connection had broken.
        if len(message) > self._most_bytes // 4 and len(message.encode()) >= self._most_bytes:
            raise pymysql.OperationalError(1153, "Got a packet bigger than 'max_allowed_packet'")
        cursor.execute(message)
        rows = cursor.fetchall()
        while cursor.nextset():
            rows = cursor.fetchall()
        return list(rows)

    def _text(self, cursor: Any, statement: Statement) -> str:
        sql = statement.sql
        if statement.params:
            sql = cursor.mogrify(sql.replace("?", "%s"), statement.params)
        if statement.rows is not None and not self._is_guest:
            # A wrong count gives the guard a row to insert, which its key refuses.
            sql += f"{_GUARD}WHERE ROW_COUNT() <> {statement.rows}"
        return str(sql)

    def upsert(self, what: Upsert, rows: Sequence[Sequence[Any]]) -> Statement:
        base = insert(what.table, what.columns, rows)
        # In this order: what is set first is what later expressions see.
        changes = [f"{name} = {name} + VALUES({name})" for name in what.added]
        known = {name: f"VALUES({name})" for name in what.columns} | {n: n for n in what.added}
        changes += [f"{name} = {text.format(**known)}" for name, text in what.assigned]
        return Statement(f"{base.sql} ON DUPLICATE KEY UPDATE {', '.join(changes)}", base.params)

    def update_each(self, what: UpdateEach, rows: Sequence[Sequence[Any]]) -> Statement:
        assigned = ", ".join(f"target.{name} = {text}" for name, text in what.assigned)
        names = [name for name, _ in what.given]
        # VALUES as a table is written in two ways; both read this.
        first = "SELECT " + ", ".join(f"? AS {name}" for name in names)
        others = f" UNION ALL SELECT {', '.join('?' * len(names))}" * (len(rows) - 1)
        return Statement(
            f"UPDATE {what.table} AS target JOIN ({first}{others}) AS given ON {what.where} "
            f"SET {assigned}",
            tuple(value for row in rows for value in row),
        )

    def bulk(self, table: str, rows: pa.Table) -> None:
        from deltalakedb.catalog.dialects.mysql.loader import MySqlLoader

        with self._translated():
            MySqlLoader(self._connection, self.dialect.described).append(table, rows)

    def holders(self) -> list[str]:
        self._open()
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT p.id, p.user, p.host, concat(p.command, ', ', coalesce(p.state, '')), "
                "TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) AS age "
                "FROM information_schema.innodb_trx t "
                "JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id "
                "WHERE p.id <> CONNECTION_ID() AND t.trx_state <> 'LOCK WAIT' "
                "AND p.db = DATABASE() ORDER BY age DESC"
            )
            return [holder_text(*row) for row in cursor.fetchall()]

    def _is_driver_error(self, error: Exception) -> bool:
        return isinstance(error, pymysql.MySQLError)

    def _is_lost(self, error: Exception) -> bool:
        return number_and_text(error)[0] in LOST

    def _is_wrong_count(self, error: Exception) -> bool:
        return number_and_text(error)[0] in _NO_DEFAULT_FOR_NULL

    def _is_lock_timeout(self, error: Exception) -> bool:
        return number_and_text(error)[0] == LOCK_WAIT_TIMEOUT
