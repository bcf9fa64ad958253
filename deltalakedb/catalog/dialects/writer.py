"""Transactions over a driver's bare connection: few messages, and no SQLAlchemy between.

A commit holds the lock of its tables' heads while messages travel, so it sends two: one that
begins, locks and asks, one that writes and commits. Everything that databases do differently
there is in the subclasses.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from deltalakedb.catalog.dialects.reader import MOST_PARAMETERS
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

if TYPE_CHECKING:
    import pyarrow as pa

    from deltalakedb.catalog.dialects.base import Dialect


class Statement(NamedTuple):
    """SQL in which `?` marks a parameter; with `rows`, exactly so many have to be touched."""

    sql: str
    params: tuple[Any, ...] = ()
    rows: int | None = None


class WrongCountError(Exception):
    """A statement with `rows` touched more or fewer; the transaction is void."""


class LostConnectionError(Exception):
    """The connection broke; whether a COMMIT that was under way took effect isn't known."""


class Upsert(NamedTuple):
    """Insert rows, or add to the numbers of those whose key is there."""

    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    added: tuple[str, ...]
    """Columns whose value is added to what stands there."""
    assigned: tuple[tuple[str, str], ...] = ()
    """Columns set to an expression, evaluated after `added`; `{column}` is the new value, of a
    column that is neither added to nor assigned the one that is given."""


class UpdateEach(NamedTuple):
    """Set columns of many rows, each to what is given for it."""

    table: str
    given: tuple[tuple[str, type], ...]
    """Name and type (int or str) of the columns of the given rows."""
    assigned: tuple[tuple[str, str], ...]
    """Columns of the table, and expressions over `given.NAME`."""
    where: str
    """Which row of the table (`target.NAME`) is meant by which of the given ones."""


_SHORT_BYTES = 16 << 10
"""What is longer isn't joined: its text is what takes the time."""
_INSERT = re.compile(
    r"(INSERT INTO \w+ \([\w, ]+\) VALUES )(\((?:\?, )*\?\))(?:, \2)*((?: ON [^?]+)?)"
)
_losses: dict[DatabaseUrl, int] = {}


def losses(url: DatabaseUrl) -> int:
    """How often this process has lost a connection to a database: it may be another one since."""
    return _losses.get(url, 0)


class Writer(ABC):
    """One connection, one transaction at a time; not for several threads at once."""

    now: str
    """The database's clock, in milliseconds since 1970."""
    incarnation: str
    """What changes when another server answers, the same one after a restart, or one whose tables
    were restored; text, of a row `v` of `dl_schema_version`."""

    place: str | None = None
    """A system column that says where a row lies, by which it is found again, without an index,
    for as long as it is locked; texts compare with it."""

    @property
    def incarnation_alone(self) -> str:
        """The same where nothing but the database tells: the log is too far away to be asked."""
        return self.incarnation

    def __init__(self, url: DatabaseUrl, connection: Any = None) -> None:
        """`connection`: one of the driver's that is in a transaction, which its owner ends."""
        self.url = url
        self._is_guest = connection is not None
        self._connection: Any = connection if self._is_guest else self._connected()

    @cached_property
    def dialect(self) -> Dialect:
        from deltalakedb.catalog.dialects import dialect_of

        return dialect_of(self.url)

    def begin(self, lock: Statement, question: Statement, wait: float) -> list[tuple[Any, ...]]:
        """Begin, lock, then ask: one message, the lock a statement of its own and the first.

        `wait`: the seconds that the lock may take. Raises TIMEOUT_ERROR with what is known of the
        holder; the transaction is rolled back on any error. A lost connection is made anew once:
        nothing has been written.
        """
        try:
            return self._begin(lock, question, wait)
        except Exception as error:
            if self._is_guest or not self._was_lost(error):
                with self._translated():
                    raise
        with self._translated():
            return self._begin(lock, question, wait)

    def ask(self, question: Statement) -> list[tuple[Any, ...]]:
        """Within the transaction: the rows of a query."""
        with self._translated():
            return self._ask(question)

    def select(self, question: Statement) -> list[tuple[Any, ...]]:
        """Outside a transaction: the rows of a query. A lost connection is made anew once."""
        try:
            return self._select(question)
        except Exception as error:
            if not self._is_driver_error(error):
                raise
            if not self._was_lost(error):
                raise self.dialect.translate(error) from None
        with self._translated():
            return self._select(question)

    def transact(
        self, statements: Sequence[Statement], wait: float = 10.0, *, relaxed: bool = False
    ) -> None:
        """A small transaction of its own. Raises WrongCountError, having changed nothing.

        `relaxed`: it may be lost in a crash of the server, so it needs no sync of its own.
        """
        with self._translated():
            self._open()
            self._transact(statements, wait, relaxed)

    def _connected(self) -> Any:
        try:
            return self._connect()
        except Exception as error:
            if not self._is_driver_error(error):
                raise
            raise self.dialect.translate(error) from None

    def _was_lost(self, error: Exception) -> bool:
        """Whether the connection broke; then it is closed, and counted."""
        if not (self._is_driver_error(error) and self._is_lost(error)):
            return False
        _losses[self.url] = losses(self.url) + 1
        self.close()
        return True

    def _select(self, question: Statement) -> list[tuple[Any, ...]]:
        self._open()
        return self._ask(question)

    def _open(self) -> None:
        if self._connection is None:
            self._connection = self._connected()

    def run(self, statements: Sequence[Statement]) -> None:
        """Within the transaction: write, in one message where the database allows it."""
        with self._translated():
            self._run(statements)

    def commit(self, statements: Sequence[Statement]) -> None:
        """Write, then COMMIT. LostConnectionError where it may have happened or not."""
        with self._translated(committing=True):
            self._commit(statements)

    def rollback(self) -> None:
        """End the transaction, if there is one; a broken connection counts as ended."""
        try:
            self._rollback()
        except Exception as error:
            if not self._is_driver_error(error):
                raise
            self.close()

    @contextmanager
    def _translated(self, *, committing: bool = False) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if self._was_lost(error):
                if committing:
                    raise LostConnectionError(str(error)) from error
                raise self.dialect.translate(error) from None
            if not self._is_guest:
                self.rollback()
            if isinstance(error, DeltaLakeError) or not self._is_driver_error(error):
                raise
            if self._is_wrong_count(error):
                raise WrongCountError from error
            if self._is_lock_timeout(error):
                raise self._held_by_another() from None
            raise self.dialect.translate(error) from None

    def _held_by_another(self) -> DeltaLakeError:
        holder = "another session"
        try:
            found = self.holders()
            if found:
                holder = found[0]
        except Exception as error:
            if not self._is_driver_error(error):
                raise
        return DeltaLakeError(
            DeltaLakeErrorKind.TIMEOUT_ERROR,
            f"{self.dialect.described}: the table is locked by {holder}; run again, or end it if "
            "it hangs (`dl locks TABLE` shows it)",
            holder=holder,
        )

    @property
    def closed(self) -> bool:
        return self._connection is None

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception as error:
                if not self._is_driver_error(error):
                    raise

    @abstractmethod
    def upsert(self, what: Upsert, rows: Sequence[Sequence[Any]]) -> Statement: ...

    @abstractmethod
    def update_each(self, what: UpdateEach, rows: Sequence[Sequence[Any]]) -> Statement:
        """UPDATE of rows of a table from others that come with the statement."""

    @abstractmethod
    def bulk(self, table: str, rows: pa.Table) -> None:
        """Within the transaction: put down many rows; the other columns are NULL."""

    @abstractmethod
    def holders(self) -> list[str]:
        """Who is in a transaction that may hold heads, the longest one first; for people."""

    @abstractmethod
    def _connect(self) -> Any: ...

    @abstractmethod
    def _begin(
        self, lock: Statement, question: Statement, wait: float
    ) -> list[tuple[Any, ...]]: ...

    @abstractmethod
    def _ask(self, question: Statement) -> list[tuple[Any, ...]]: ...

    @abstractmethod
    def _run(self, statements: Sequence[Statement]) -> None: ...

    @abstractmethod
    def _commit(self, statements: Sequence[Statement]) -> None: ...

    @abstractmethod
    def _transact(self, statements: Sequence[Statement], wait: float, relaxed: bool) -> None: ...

    @abstractmethod
    def _rollback(self) -> None: ...

    @abstractmethod
    def _is_driver_error(self, error: Exception) -> bool: ...

    @abstractmethod
    def _is_lost(self, error: Exception) -> bool: ...

    @abstractmethod
    def _is_wrong_count(self, error: Exception) -> bool: ...

    @abstractmethod
    def _is_lock_timeout(self, error: Exception) -> bool: ...


def insert(table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Statement:
    """One INSERT of some rows."""
    text = _insert_text(table, tuple(columns), len(rows))
    return Statement(
        text, tuple(rows[0]) if len(rows) == 1 else tuple(value for row in rows for value in row)
    )


@lru_cache(256)
def _insert_text(table: str, columns: tuple[str, ...], count: int) -> str:
    marks = "(" + ", ".join("?" * len(columns)) + ")"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([marks] * count)}"


def joined(statements: Iterable[Statement]) -> list[Statement]:
    """Short INSERTs into the same columns of a table as one, after all other statements.

    For rows of which none depends on another statement that comes later: a server takes as long
    for each small statement as for some rows more.
    """
    others: list[Statement] = []
    open_: dict[tuple[str, str, str], Statement] = {}
    for statement in statements:
        parts = None if statement.rows is not None else _insert_parts(statement.sql)
        if parts is None or _size(statement) > _SHORT_BYTES:
            others.append(statement)
            continue
        before = open_.get(parts)
        if before is not None and len(before.params) + len(statement.params) <= MOST_PARAMETERS:
            begin, marks, end = parts
            params = before.params + statement.params
            count = len(params) // marks.count("?")
            statement = Statement(f"{begin}{', '.join([marks] * count)}{end}", params)
        elif before is not None:
            others.append(before)
        open_[parts] = statement
    return [*others, *open_.values()]


@lru_cache(1_000)
def _insert_parts(sql: str) -> tuple[str, str, str] | None:
    """What comes before the rows of an INSERT, the marks of one row, and what comes after."""
    found = _INSERT.fullmatch(sql)
    return None if found is None else (found[1], found[2], found[3])


def _size(statement: Statement) -> int:
    """About the bytes that it takes."""
    texts = [len(p) for p in statement.params if isinstance(p, (str, bytes))]
    return len(statement.sql) + 2 * sum(texts) + 24 * len(statement.params)


def holder_text(pid: object, user: object, where: object, what: object, seconds: object) -> str:
    """A session, for people."""
    return f"session {pid} ({user} from {where or 'this machine'}, {what}) for {seconds:.0f} s"


def in_turn(statements: Iterable[Statement], most_bytes: int) -> Iterator[list[Statement]]:
    """The statements in groups whose parameters take at most so many bytes each."""
    group: list[Statement] = []
    size = 0
    for statement in statements:
        own = _size(statement)
        if group and size + own > most_bytes:
            yield group
            group, size = [], 0
        group.append(statement)
        size += own
    yield group
