"""Questions over a driver's bare connection: what reading costs is what it returns.

SQLAlchemy is for what writes; a plan that takes a millisecond is not to wait for it, nor is its
memory to be paid by every process that opens a table.
"""

from __future__ import annotations

import importlib
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from deltalakedb import fork
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError

if TYPE_CHECKING:
    from deltalakedb.catalog.dialects.base import Dialect

T = TypeVar("T")
MOST_PARAMETERS = 400
"""Of a statement that is kept prepared, and of one that is made of others by joining them."""


class Usual(str):
    """SQL that is asked again and again, and best answered in one way whatever its parameters."""


class Reader(ABC):
    """One connection for reading; each statement is a transaction of its own.

    May be used from several threads (they take turns). A connection that was lost is opened
    again once: a question can be asked twice. A forked process opens a connection of its own.
    """

    paramstyle = "?"
    waits = False
    """Whether a server on the other end is waited for, as it makes a connection above all."""

    _connection: Any = None

    def __init__(self, url: DatabaseUrl) -> None:
        self.url = url
        self._lock = fork.Lock()
        fork.watch(self)

    @cached_property
    def dialect(self) -> Dialect:
        """The full dialect of the same database, for bulk reading and errors."""
        from deltalakedb.catalog.dialects import dialect_of

        return dialect_of(self.url)

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a small result. `?` marks a parameter. Raises DeltaLakeError."""
        usual = isinstance(sql, Usual)
        statement = sql if self.paramstyle == "?" else sql.replace("?", self.paramstyle)
        with self._lock:
            try:
                return self._ask(statement, params, usual)
            except Exception as error:
                if isinstance(error, DeltaLakeError) or not self._is_driver_error(error):
                    raise
                if not self._is_lost(error):
                    raise self._translated(error) from None
            self._drop()
            try:
                return self._ask(statement, params, usual)
            except Exception as error:
                if not self._is_driver_error(error):
                    raise
                raise self._translated(error) from None

    def ask_beside(self, ask: Callable[[], T], module: str) -> T:
        """What `ask` finds out by questions; while a server makes the connection for the first of
        them, this thread imports the module that the answer is wanted for."""
        if self.is_connected or not self.waits or module in sys.modules:
            return ask()
        asking = _Asking(ask)
        asking.start()
        importlib.import_module(module)
        asking.join()
        if asking.error is not None:
            raise asking.error
        return asking.answers[0]

    @property
    def is_connected(self) -> bool:
        """Whether a question needs no new connection, as far as is known."""
        return self._connection is not None

    def is_current(self) -> bool:
        """Whether a new connection would reach the same database."""
        return True

    def _ask(self, statement: str, params: Sequence[Any], usual: bool) -> list[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = self._connect()
        if usual:
            return self._query_usual(self._connection, statement, params)
        return self._query(self._connection, statement, params)

    def _translated(self, error: Exception) -> DeltaLakeError:
        if self._is_missing_table(error):
            return self._no_catalog()
        return self.dialect.translate(error)

    def _no_catalog(self) -> DeltaLakeError:
        from deltalakedb.catalog.schema_version import no_catalog

        return no_catalog(str(self.url))

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception as error:
                if not self._is_driver_error(error):
                    raise

    def close(self) -> None:
        with self._lock:
            self._drop()

    def __del__(self) -> None:
        # One of sqlite3's is in a circle with its own cache of statements, and would stay open
        # until the collector comes.
        self._drop()

    def close_unless_busy(self) -> None:
        """Close the connection, but don't wait for a question that is being asked."""
        if self._lock.acquire(0):
            try:
                self._drop()
            finally:
                self._lock.release()

    def before_fork(self) -> None:  # noqa: B027 - optional
        """Nothing: the parent goes on with its connection."""

    def after_fork(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            fork.leave(connection)

    @abstractmethod
    def _connect(self) -> Any: ...

    def _query(
        self, connection: Any, statement: str, params: Sequence[Any]
    ) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(statement, tuple(params) or None)
            return list(cursor.fetchall())

    def _query_usual(
        self, connection: Any, statement: str, params: Sequence[Any]
    ) -> list[tuple[Any, ...]]:
        return self._query(connection, statement, params)

    @abstractmethod
    def _is_driver_error(self, error: Exception) -> bool: ...

    @abstractmethod
    def _is_lost(self, error: Exception) -> bool:
        """Whether the connection broke, so that asking again over a new one makes sense."""

    @abstractmethod
    def _is_missing_table(self, error: Exception) -> bool:
        """Whether the database has no such table, so no catalog."""


class _Asking(threading.Thread, Generic[T]):
    """A question in a thread of its own, with the asker's context: its answer, or its error."""

    def __init__(self, ask: Callable[[], T]) -> None:
        # A daemon: whoever is interrupted while it waits doesn't wait for it.
        super().__init__(name="dl-ask", daemon=True)
        self._ask = ask
        self._context = copy_context()
        self.answers: list[T] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.answers.append(self._context.run(self._ask))
        except BaseException as error:  # noqa: BLE001 - the asker raises it
            self.error = error
