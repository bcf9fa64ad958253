"""Writing to SQLite through `sqlite3` alone, one process after the other in the order they came."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deltalakedb.catalog.dialects.sqlite.busy import begin_immediate
from deltalakedb.catalog.dialects.sqlite.inside import inside
from deltalakedb.catalog.dialects.sqlite.queue import Turn, waiting
from deltalakedb.catalog.dialects.writer import (
    Statement,
    UpdateEach,
    Upsert,
    Writer,
    WrongCountError,
    insert,
)
from deltalakedb.database_url import DatabaseUrl

if TYPE_CHECKING:
    import pyarrow as pa

_INSERT_ROWS = 20_000
_JOURNAL_MODE = Statement("PRAGMA journal_mode")


class SqliteWriter(Writer):
    """What commits ask of SQLite."""

    now = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"

    def __init__(self, url: DatabaseUrl, connection: Any = None) -> None:
        self._path = url.name
        self._turn: Turn | None = None
        super().__init__(url, connection)

    @property
    def incarnation(self) -> str:  # type: ignore[override]
        """The file: one that was restored from a copy is another, and so is none."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return "'gone'"
        # A copy that is restored into the open file by SQLite itself counts the schema on.
        file = f"{found.st_dev}.{found.st_ino}"
        return f"(SELECT '{file}.' || schema_version FROM pragma_schema_version)"

    def _connect(self) -> sqlite3.Connection:
        # A file that has gone is not made anew, empty, by whoever still had it open.
        with inside:
            connection = sqlite3.connect(
                f"{Path(self._path).absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=0,
                isolation_level=None,
                check_same_thread=False,
            )
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA temp_store = MEMORY")
        self._file = self._inode()
        return connection

    def _begin(self, lock: Statement, question: Statement, wait: float) -> list[tuple[Any, ...]]:
        self._open()
        self._begin_writing(wait)
        return self._ask(question)

    def _begin_writing(self, wait: float) -> None:
        self._turn = Turn.take(self._path, wait)
        # Whoever isn't in the queue (an import, another program) may be in between.
        begin_immediate(self._connection, wait)

    def _transact(self, statements: Sequence[Statement], wait: float, relaxed: bool) -> None:
        if not relaxed or self._ask(_JOURNAL_MODE) != [("wal",)]:
            self._begin_writing(wait)
            self._commit(statements)
            return
        # A later COMMIT's sync of the write-ahead log covers this one too.
        self._do("PRAGMA synchronous = NORMAL")
        try:
            self._begin_writing(wait)
            self._commit(statements)
        except BaseException:
            # The level can't be changed within the transaction.
            self._rollback()
            raise
        finally:
            self._do("PRAGMA synchronous = FULL")

    def _open(self) -> None:
        """A file that was replaced goes on being written by who has it open."""
        if self._connection is not None and self._inode() != self._file:
            with inside:
                self._connection.close()
            self._connection = None
        super()._open()

    def _inode(self) -> int | None:
        try:
            return os.stat(self._path).st_ino
        except FileNotFoundError:
            return None

    def _ask(self, question: Statement) -> list[tuple[Any, ...]]:
        with inside:
            return list(self._connection.execute(question.sql, question.params).fetchall())

    def _do(self, sql: str, params: Sequence[Any] = ()) -> int:
        with inside:
            return int(self._connection.execute(sql, params).rowcount)

    def _run(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            touched = self._do(statement.sql, statement.params)
            if statement.rows is not None and touched != statement.rows:
                raise WrongCountError

    def _commit(self, statements: Sequence[Statement]) -> None:
        self._run(statements)
        self._do("COMMIT")
        self._end_turn()

    def _rollback(self) -> None:
        try:
            if self._connection is not None and self._connection.in_transaction:
                self._do("ROLLBACK")
        finally:
            self._end_turn()

    def close(self) -> None:
        with inside:
            super().close()
        self._end_turn()

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.end()

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
        names = ", ".join(f"column{i} AS {n}" for i, (n, _) in enumerate(what.given, 1))
        values = ", ".join(["(" + ", ".join("?" * len(what.given)) + ")"] * len(rows))
        return Statement(
            f"UPDATE {what.table} AS target SET {assigned} "
            f"FROM (SELECT {names} FROM (VALUES {values})) AS given WHERE {what.where}",
            tuple(value for row in rows for value in row),
        )

    def bulk(self, table: str, rows: pa.Table) -> None:
        names = rows.column_names
        sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        with self._translated():
            for batch in rows.to_batches(_INSERT_ROWS):
                columns = [column.to_pylist() for column in batch.columns]
                with inside:
                    self._connection.executemany(sql, zip(*columns, strict=True))

    def holders(self) -> list[str]:
        return waiting(self._path)

    def _is_driver_error(self, error: Exception) -> bool:
        return isinstance(error, sqlite3.Error)

    def _is_lost(self, error: Exception) -> bool:
        return False

    def _is_wrong_count(self, error: Exception) -> bool:
        return False

    def _is_lock_timeout(self, error: Exception) -> bool:
        return "locked" in str(error) or "busy" in str(error)
