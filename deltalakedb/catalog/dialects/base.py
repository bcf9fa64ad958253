"""What a database has to do for a catalog; one subclass a database.

Everything that differs between databases is here or in the subclasses: drivers, bulk loading,
the physical table of a load, leases, errors. Nothing else asks for a dialect's name.
"""

from __future__ import annotations

import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar, TypeVar

import pyarrow as pa
import sqlalchemy as sa

from deltalakedb import fork
from deltalakedb.catalog.records import load_files_name
from deltalakedb.catalog.retry import passes, retried
from deltalakedb.catalog.roles import Role
from deltalakedb.catalog.views import VIEWS
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DatabaseBusyError, DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.columns import column_of

T = TypeVar("T")

_CONNECT_ATTEMPTS = 10
"""With the pauses between them about half a minute."""


class Loader(ABC):
    """Rows of one part of an import, put down in one transaction with its ledger row.

    Use as a context manager: leaving it without `commit()` rolls everything back.
    """

    @abstractmethod
    def claim(self, run_key: int, part: int) -> bool:
        """Lock the part's ledger row; False when it is loaded already.

        Raises CONCURRENCY_ERROR when the run is no longer running (taken over or cleaned up).
        """

    @abstractmethod
    def append(self, table: str, rows: pa.Table) -> None:
        """Bulk-load rows; the columns are some of the table's, the others are NULL."""

    @abstractmethod
    def commit(self, run_key: int, part: int, file_rows: int) -> None:
        """Mark the part loaded and commit, rows and ledger together."""

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Dialect(ABC):
    """One database. Instances know its URL, and whether it has been reached."""

    parallel_load: ClassVar[bool]
    """Whether workers may load at the same time, each over a connection of its own."""
    partitions_files: ClassVar[bool] = False
    """Whether `dl_files` is a partitioned table; else it is a view of all loads' tables."""
    closed_before_fork: ClassVar[bool] = False
    """Whether a child is harmed already by inheriting an open connection."""
    clock_ms: ClassVar[str]
    """The database's clock as SQL: milliseconds since 1970."""
    lease_seconds: ClassVar[float] = 30.0
    """How long a lease holds after it was last renewed."""
    holds_nul: ClassVar[bool] = True
    """Whether text may hold the character NUL."""
    text_bytes: ClassVar[int | None] = None
    """How many bytes a plain TEXT column takes at most; None for as many as there are."""
    index_builds: ClassVar[int] = 1
    """How many indexes of a load are built at the same time."""
    indexed_slots: ClassVar[int] = 3
    """How many pruning slots of a load have an index at most: what an import waits for."""

    def __init__(self, url: DatabaseUrl) -> None:
        self._url = url
        self._reached = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.described!r})"

    @property
    def described(self) -> str:
        return str(self._url)

    @property
    def user(self) -> str | None:
        """As whom the database is reached, if the URL says so."""
        return self._url.user

    def engine(self, **options: Any) -> sa.Engine:
        """A SQLAlchemy engine; `options` are those of a pool (SqlConfig).

        A forked process starts with an empty pool.
        """
        engine = self._engine(**options)
        _Pooled.of(engine, self.closed_before_fork)
        return engine

    @abstractmethod
    def _engine(self, **options: Any) -> sa.Engine: ...

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is a database at all (so that reading need not create one)."""

    @abstractmethod
    def translate(self, error: Exception) -> DeltaLakeError:
        """A driver's error as ours, without secrets."""

    @abstractmethod
    def schema_lock(self) -> AbstractContextManager[bool]:
        """For who makes or migrates the catalog: whether the lock is this process's meanwhile."""

    @abstractmethod
    def grants(self, connection: sa.Connection, role: Role, to: str, *, new: bool) -> Iterator[str]:
        """Statements (and comments) that give `to` a role; `new`: there is no catalog yet."""

    def missing_rights(self, connection: sa.Connection, *, own_table: bool) -> str | None:
        """What the user lacks to import, perhaps to a table of files of its own; None: nothing."""
        return None

    @contextmanager
    def upgrading(self, connection: sa.Connection) -> Iterator[None]:
        """Around what makes tables and views anew: the catalog's owner and roles keep theirs."""
        yield

    @abstractmethod
    def loader(self) -> Loader: ...

    def stream(
        self, sql: str, schema: pa.Schema, batch_rows: int = 65_536
    ) -> Iterator[pa.RecordBatch]:
        """Rows of a query as Arrow batches of `schema`, with a memory of one batch.

        The schema gives the query's columns in order. Databases tell types of their own, or
        none (SQLite); batches that differ in them would be of no use. Raises INVALID_ARGUMENT
        when it is gone on with in a forked process.
        """
        process = os.getpid()
        for batch in self._stream(sql, schema, batch_rows):
            yield batch
            fork.check_process(process, "an answer in batches")

    @abstractmethod
    def _stream(self, sql: str, schema: pa.Schema, batch_rows: int) -> Iterator[pa.RecordBatch]: ...

    def seals(
        self, sources: Sequence[str], where: str, columns: Sequence[str]
    ) -> list[tuple[int, int, int]] | None:
        """Of each load in tables of files, where `where` holds: (load_id, rows, their seal).

        A seal is the sum of hashes that the database makes of rows' columns, modulo 2^64. None
        where it has no such hash.
        """
        return None

    def settle(self) -> None:  # noqa: B027 - optional
        """Do now what one of the next commits would do otherwise, and wait for."""

    @abstractmethod
    def create_load(self, connection: sa.Connection, load_id: int) -> None:
        """Make the empty, unindexed table of a load's files."""

    def prepare_attach(self, load_id: int) -> None:  # noqa: B027 - optional
        """Before the swap's transaction: what must not be in it, where DDL ends a transaction.

        Repeatable, and without effect on what readers see.
        """

    @abstractmethod
    def attach_load(self, connection: sa.Connection, load_id: int) -> None:
        """In the swap's transaction: make the load's files part of `dl_files`."""

    @abstractmethod
    def drop_load(self, engine: sa.Engine, load_id: int) -> None:
        """Remove a load's files table if it is there."""

    @abstractmethod
    def load_ids(self, connection: sa.Connection) -> list[int]:
        """Loads that have a files table."""

    def table_options(self, connection: sa.Connection) -> dict[str, Any]:
        """SQLAlchemy's options for a new table, such as a collation that this server has."""
        return {}

    def clear_unfinished(self, connection: sa.Connection) -> None:  # noqa: B027 - optional
        """Remove what a creation of the catalog left that died, where DDL isn't transactional."""

    def analyze_load(self, connection: sa.Connection, load_id: int) -> None:
        connection.exec_driver_sql(f"ANALYZE {load_files_name(load_id)}")

    def index_ddl(self, load_id: int, columns: Sequence[Sequence[str]]) -> list[str]:
        """Statements that index a loaded table, an index for each tuple of columns."""
        table = load_files_name(load_id)
        return [f"CREATE INDEX {table}_{'_'.join(c)} ON {table} ({', '.join(c)})" for c in columns]

    def replace_index_statements(
        self, connection: sa.Connection, load_id: int, old: Sequence[str], new: Sequence[str]
    ) -> list[str]:
        """Index a loaded table by `new` instead of `old`; nothing where that is done."""
        if not self._has_index(connection, load_id, old):
            return []
        name = f"{load_files_name(load_id)}_{'_'.join(old)}"
        return [*self.index_ddl(load_id, [new]), f"DROP INDEX {name}"]

    def _has_index(self, connection: sa.Connection, load_id: int, columns: Sequence[str]) -> bool:
        indexes = sa.inspect(connection).get_indexes(load_files_name(load_id))
        return any(index["column_names"] == list(columns) for index in indexes)

    def drop_view_statements(self, connection: sa.Connection) -> list[str]:
        """Before the tables under the views are altered: views that must not stand then."""
        return [f"DROP VIEW IF EXISTS {name}" for name in reversed(VIEWS)]

    def view_statements(self, connection: sa.Connection) -> list[str]:
        """Make all views, as this program wants them, of the loads that there are."""
        return [
            statement
            for name, select in VIEWS.items()
            for statement in (f"DROP VIEW IF EXISTS {name}", f"CREATE VIEW {name} AS {select}")
        ]

    def hot_table_statements(self, table: str) -> list[str]:
        """Make a small table bear that its rows are updated all the time."""
        return []

    def alter_load(
        self, connection: sa.Connection, load_id: int, statements: Sequence[str]
    ) -> None:
        """Bring an existing load to a newer schema, in a transaction of its own."""
        for statement in statements:
            connection.exec_driver_sql(statement)

    @abstractmethod
    def insert_ignoring(self, table: sa.Table) -> sa.Insert | Any:
        """INSERT that leaves a row alone whose key is there already."""

    def binary_order(self, column: str) -> str:
        """An ORDER BY term that orders text by code point."""
        return column

    def for_update(self, query: sa.Select[Any]) -> sa.Select[Any]:
        """The query locking the rows it reads until the transaction ends."""
        return query.with_for_update()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turns whatever the driver raises inside into a DeltaLakeError."""
        try:
            yield
        except DeltaLakeError:
            raise
        except Exception as error:
            if self.is_database_error(error):
                raise self.translate(error) from None
            raise

    def is_database_error(self, error: Exception) -> bool:
        return isinstance(error, sa.exc.SQLAlchemyError)

    def begin(self, engine: sa.Engine) -> AbstractContextManager[sa.Connection]:
        """A transaction that will write."""
        return engine.begin()

    def _patiently(self, connect: Callable[[], T]) -> T:
        """A new connection, for which is waited while the database has none to give.

        One that was reached before may be refusing because it restarts; of another one an error
        in its URL is told at once.
        """

        def attempt(_number: int) -> T:
            with self.errors():
                return connect()

        def waits(error: DeltaLakeError) -> bool:
            return isinstance(error, DatabaseBusyError) or (self._reached and passes(error))

        try:
            connection = retried(attempt, waits, _CONNECT_ATTEMPTS)
        except DeltaLakeError:
            # Who cleans up doesn't wait for it once more.
            self._reached = False
            raise
        self._reached = True
        return connection

    def _error(
        self,
        kind: DeltaLakeErrorKind,
        what: str,
        advice: str,
        type_: type[DeltaLakeError] = DeltaLakeError,
    ) -> DeltaLakeError:
        return type_(kind, f"{self.described}: {what}; {advice}", database=self.described)


class _Pooled:
    """Keeps an engine's pooled connections in the process that made them."""

    _all: ClassVar[weakref.WeakKeyDictionary[sa.Engine, _Pooled]] = weakref.WeakKeyDictionary()

    def __init__(self, engine: sa.Engine, close_before: bool) -> None:
        self._engine = weakref.ref(engine)
        self._close_before = close_before

    @classmethod
    def of(cls, engine: sa.Engine, close_before: bool) -> None:
        """Watch `engine` as long as it lives."""
        cls._all[engine] = pooled = cls(engine, close_before)
        fork.watch(pooled)

    def before_fork(self) -> None:
        engine = self._engine()
        if engine is not None and self._close_before:
            engine.dispose()

    def after_fork(self) -> None:
        engine = self._engine()
        if engine is not None:
            fork.leave(engine.pool)
            engine.dispose(close=False)


class _Idle:
    """Bulk connections of this process, by URL, that wait for the next load."""

    def __init__(self) -> None:
        self._kept: dict[str, list[Any]] = {}
        self._lock = fork.Lock()
        fork.watch(self)

    def take(self, url: str) -> Any | None:
        with self._lock:
            kept = self._kept.get(url)
            return kept.pop() if kept else None

    def keep(self, url: str, connection: Any) -> None:
        with self._lock:
            self._kept.setdefault(url, []).append(connection)

    def clear(self) -> list[Any]:
        with self._lock:
            kept = [connection for many in self._kept.values() for connection in many]
            self._kept.clear()
        return kept

    def before_fork(self) -> None:
        """Nothing: the parent goes on with them."""

    def after_fork(self) -> None:
        kept, self._kept = self._kept, {}
        fork.leave(kept)


_idle = _Idle()


def take_idle(url: str) -> Any | None:
    """A bulk connection of this process that was kept, if there is one."""
    return _idle.take(url)


def keep_idle(url: str, connection: Any) -> None:
    """Keep a bulk connection, with no transaction open, for the next load."""
    _idle.keep(url, connection)


def close_idle() -> None:
    """Close what was kept; an import calls it at its end in every process that loaded."""
    for connection in _idle.clear():
        connection.close()


def typed_batch(columns: Iterable[Sequence[Any]], schema: pa.Schema) -> pa.RecordBatch:
    """A batch of `schema` from columns of Python values (booleans also as 0 and 1)."""
    return pa.RecordBatch.from_arrays(
        [column_of(values, field.type) for values, field in zip(columns, schema, strict=True)],
        schema=schema,
    )


def one_line(error: BaseException) -> str:
    """The first line of a driver's message, without SQLAlchemy's wrapping."""
    inner = getattr(error, "orig", None) or error
    lines = str(inner).strip().splitlines()
    return lines[0] if lines else type(inner).__name__


def check_claim(row: tuple[str, str] | None, run_key: int, part: int) -> bool:
    """What a ledger row (part's state, run's status) says to a loader."""
    if row is None or row[1] != "running":
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONCURRENCY_ERROR,
            f"import run {run_key} has ended or was taken over; part {part} isn't loaded",
            run_key=run_key,
            part=part,
        )
    return row[0] != "loaded"
