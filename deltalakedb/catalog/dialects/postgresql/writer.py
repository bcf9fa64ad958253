"""Writing to PostgreSQL through psycopg2 alone: several statements a message."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg2
from psycopg2 import errors

from deltalakedb.catalog.dialects.postgresql.connection import is_nul, libpq_uri
from deltalakedb.catalog.dialects.postgresql.prepared import Prepared
from deltalakedb.catalog.dialects.writer import (
    Statement,
    UpdateEach,
    Upsert,
    Writer,
    holder_text,
    insert,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from deltalakedb.database_url import DatabaseUrl

T = TypeVar("T")
_BEGIN = b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_MESSAGE_BYTES = 32 << 20
_COPY_BYTES = 1 << 20
_COPY_ROWS = 20_000
_TYPES = {int: "bigint", str: "text"}
_IDLE_MS = 10_000
"""A holder that says nothing for so long is ended by the server: others wait for its lock."""


class PostgresWriter(Writer):
    """What commits ask of PostgreSQL."""

    now = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"
    # A dump that is restored in place makes new tables under a server that lives on.
    incarnation = "concat(pg_postmaster_start_time(), ' ', pg_relation_filenode(v.tableoid))"
    place = "ctid"

    def __init__(self, url: DatabaseUrl, connection: Any = None) -> None:
        self._prepared = Prepared(allowed=connection is None)
        self._is_there = True
        """Whether what was prepared may be used: by a message that can be sent again, and after
        one has used it in the same transaction."""
        super().__init__(url, connection)

    def _connect(self) -> Any:
        connection = psycopg2.connect(
            libpq_uri(self.url),
            application_name=f"deltalakedb {socket.gethostname()}:{os.getpid()}",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
        )
        # Transactions begin where we say so, with the isolation that we name.
        connection.autocommit = True
        self._prepared = Prepared(allowed=self._prepared.allowed)
        self._wait_ms: int | None = None
        return connection

    def _begin(self, lock: Statement, question: Statement, wait: float) -> list[tuple[Any, ...]]:
        self._ready()
        wait_ms = max(1, int(wait * 1000))

        def send() -> list[tuple[Any, ...]]:
            with self._connection.cursor() as cursor:
                head = self._beginning(cursor, wait_ms)
                self._is_there = True
                parts = [self._text(cursor, lock), self._text(cursor, question)]
                cursor.execute(b"; ".join([head, *parts]))
                self._is_there = any(part.startswith(b"EXECUTE ") for part in parts)
                return list(cursor.fetchall())

        return self._sent(send)

    def _sent(self, send: Callable[[], T]) -> T:
        """The answer to a message that begins whatever it does."""
        try:
            return send()
        except errors.InvalidSqlStatementName:
            # Another session than the one that has prepared it: a pooler we don't know.
            self._prepared = Prepared(allowed=False)
            self._rollback()
            return send()

    def _beginning(self, cursor: Any, wait_ms: int) -> bytes:
        """What a commit's transaction begins with; a session of our own keeps its settings."""
        if not self._prepared.is_direct:
            return (
                _BEGIN
                + (
                    f"; SET LOCAL lock_timeout = {wait_ms}; "
                    f"SET LOCAL idle_in_transaction_session_timeout = {_IDLE_MS}; "
                    "SELECT set_config('synchronous_commit', 'on', true) "
                    "WHERE current_setting('synchronous_commit') <> 'remote_apply'"
                ).encode()
            )
        if self._wait_ms != wait_ms:
            cursor.execute(
                f"SET lock_timeout = {wait_ms}; "
                f"SET idle_in_transaction_session_timeout = {_IDLE_MS}; "
                "SELECT set_config('synchronous_commit', CASE current_setting("
                "'synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, "
                "false)"
            )
            self._wait_ms = wait_ms
        return _BEGIN

    def _ready(self) -> None:
        """Before a transaction: a connection, and on it what has become usual."""
        self._open()
        self._is_there = True
        if self._prepared.wanted:
            self._prepared.make(self._connection)

    def _text(self, cursor: Any, statement: Statement) -> bytes:
        sql = statement.sql
        if statement.rows is not None:
            # A wrong count divides by zero, which voids the transaction before its COMMIT.
            sql = _counted(sql, statement.rows)
        sql = self._prepared.call(sql, len(statement.params), is_there=self._is_there)
        if not statement.params:
            return sql.encode()
        text: bytes = cursor.mogrify(sql, statement.params)
        return text

    def _select(self, question: Statement) -> list[tuple[Any, ...]]:
        self._ready()
        return self._sent(lambda: self._ask(question))

    def _ask(self, question: Statement) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(self._text(cursor, question))
            return list(cursor.fetchall())

    def _run(self, statements: Sequence[Statement]) -> None:
        with self._connection.cursor() as cursor:
            for message in self._messages(cursor, statements):
                cursor.execute(message)

    def _commit(self, statements: Sequence[Statement]) -> None:
        with self._connection.cursor() as cursor:
            *before, last = self._messages(cursor, statements) or [b""]
            for message in before:
                cursor.execute(message)
            cursor.execute(last + b"; COMMIT")
            if cursor.statusmessage != "COMMIT":
                raise errors.InFailedSqlTransaction("the transaction was rolled back")

    def _messages(self, cursor: Any, statements: Sequence[Statement]) -> list[bytes]:
        """As few as may be, none of them too large."""
        found: list[bytes] = []
        texts: list[bytes] = []
        size = 0
        for statement in statements:
            text = self._text(cursor, statement)
            if texts and size + len(text) > _MESSAGE_BYTES:
                found.append(b"; ".join(texts))
                texts, size = [], 0
            texts.append(text)
            size += len(text)
        return [*found, b"; ".join(texts)] if texts else found

    def _transact(self, statements: Sequence[Statement], wait: float, relaxed: bool) -> None:
        self._ready()
        begin = Statement(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; "
            f"SET LOCAL lock_timeout = {max(1, int(wait * 1000))}"
            + ("; SET LOCAL synchronous_commit = off" if relaxed else "")
        )
        self._sent(lambda: self._commit([begin, *statements]))

    def _rollback(self) -> None:
        if self._connection is not None:
            with self._connection.cursor() as cursor:
                cursor.execute("ROLLBACK")

    def upsert(self, what: Upsert, rows: Sequence[Sequence[Any]]) -> Statement:
        base = insert(what.table, what.columns, rows)
        sums = {name: f"{what.table}.{name} + excluded.{name}" for name in what.added}
        changes = [f"{name} = {text}" for name, text in sums.items()]
        known = {name: f"excluded.{name}" for name in what.columns}
        known |= {name: f"({text})" for name, text in sums.items()}
        changes += [f"{name} = {text.format(**known)}" for name, text in what.assigned]
        return Statement(
            f"{base.sql} ON CONFLICT ({', '.join(what.key)}) DO UPDATE SET {', '.join(changes)}",
            base.params,
        )

    def update_each(self, what: UpdateEach, rows: Sequence[Sequence[Any]]) -> Statement:
        assigned = ", ".join(f"{name} = {text}" for name, text in what.assigned)
        # The first row says what all are, also where nothing is known of a column.
        first = ", ".join(f"?::{_TYPES[kind]}" for _, kind in what.given)
        texts = [f"({first})"]
        texts += ["(" + ", ".join("?" * len(what.given)) + ")"] * (len(rows) - 1)
        return Statement(
            f"UPDATE {what.table} AS target SET {assigned} "
            f"FROM (VALUES {', '.join(texts)}) AS given ({', '.join(n for n, _ in what.given)}) "
            f"WHERE {what.where}",
            tuple(value for row in rows for value in row),
        )

    def bulk(self, table: str, rows: pa.Table) -> None:
        with self._translated(), self._connection.cursor() as cursor:
            cursor.copy_expert(
                f"COPY {table} ({', '.join(rows.column_names)}) FROM STDIN WITH (FORMAT csv)",
                _Csv(rows),
                _COPY_BYTES,
            )

    def holders(self) -> list[str]:
        self._open()
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT DISTINCT a.pid, a.usename, a.client_addr, "
                "concat(a.application_name, ', ', a.state), "
                "extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS age "
                "FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
                "WHERE l.relation = 'dl_heads'::regclass AND l.granted "
                "AND l.mode IN ('RowShareLock', 'RowExclusiveLock') "
                "AND a.pid <> pg_backend_pid() AND a.xact_start IS NOT NULL "
                "AND NOT EXISTS (SELECT 1 FROM pg_locks w WHERE w.pid = a.pid AND NOT w.granted) "
                "ORDER BY age DESC"
            )
            return [holder_text(*row) for row in cursor.fetchall()]

    def _is_driver_error(self, error: Exception) -> bool:
        # A NUL in a text is refused by the driver itself.
        return isinstance(error, psycopg2.Error) or is_nul(error)

    def _is_lost(self, error: Exception) -> bool:
        if self._connection is not None and self._connection.closed:
            return True
        return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) and (
            getattr(error, "pgcode", None) is None or error.pgcode[:2] in ("08", "57")
        )

    def _is_wrong_count(self, error: Exception) -> bool:
        return isinstance(error, errors.DivisionByZero)

    def _is_lock_timeout(self, error: Exception) -> bool:
        return isinstance(error, errors.LockNotAvailable)


class _Csv:
    """Rows as a file of CSV, of which some are text at a time."""

    def __init__(self, rows: pa.Table) -> None:
        self._batches = iter(rows.to_batches(_COPY_ROWS))
        self._piece = memoryview(b"")

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; none at the end."""
        import pyarrow as pa
        from pyarrow import csv

        while not self._piece:
            batch = next(self._batches, None)
            if batch is None:
                return b""
            sink = pa.BufferOutputStream()
            options = csv.WriteOptions(include_header=False, quoting_style="all_valid")
            csv.write_csv(batch, sink, options)
            self._piece = memoryview(sink.getvalue())
        found, self._piece = self._piece[:size], self._piece[size:]
        return bytes(found)


@lru_cache(1_000)
def _counted(sql: str, rows: int) -> str:
    """A statement that has to touch so many rows."""
    return (
        f"WITH touched AS ({sql} RETURNING 1) SELECT 1 / "
        f"(CASE WHEN count(*) = {rows} THEN 1 ELSE 0 END) FROM touched"
    )
