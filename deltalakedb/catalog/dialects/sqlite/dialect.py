"""SQLite 3.35+: the embedded catalog. One writer at a time; WAL, so that readers never wait."""

from __future__ import annotations

import fcntl
import marshal
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, ClassVar

import pyarrow as pa
import sqlalchemy as sa
import xxhash
from sqlalchemy.dialects.sqlite import insert

from deltalakedb import fork
from deltalakedb.catalog.dialects.base import (
    Dialect,
    Loader,
    check_claim,
    one_line,
    typed_batch,
)
from deltalakedb.catalog.dialects.sqlite.busy import begin_immediate, busy_seconds
from deltalakedb.catalog.dialects.union_view import (
    files_select,
    no_files_select,
    union_views,
)
from deltalakedb.catalog.records import load_files_name
from deltalakedb.catalog.roles import Role
from deltalakedb.catalog.tables import load_files
from deltalakedb.catalog.views import COLUMNS
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind, PermanentDatabaseError
from deltalakedb.memory import without_collector

_UNION = 400
"""SELECTs in one UNION ALL; SQLite's limit is 500."""
_INSERT_ROWS = 20_000
_PIECE_ROWS = 1_000


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    # Of a new file; rows are 700 bytes, and whatever is written once a page is written less often.
    connection.execute("PRAGMA page_size = 16384")
    connection.execute("PRAGMA cache_size = -65536")
    connection.execute("PRAGMA temp_store = MEMORY")


class SqliteDialect(Dialect):
    """A SQLite file, or a database in memory."""

    parallel_load: ClassVar[bool] = False
    closed_before_fork: ClassVar[bool] = True
    clock_ms: ClassVar[str] = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
    # One writer: who builds indexes keeps renewals waiting. A dead holder is known at once here.
    lease_seconds: ClassVar[float] = 300.0

    @property
    def path(self) -> str:
        return self._url.name

    def exists(self) -> bool:
        return os.path.exists(self.path)

    def _engine(self, **options: Any) -> sa.Engine:
        connect_args = {"timeout": busy_seconds(self._url), "check_same_thread": False}
        if not self.path:
            # A database in memory has one connection, and no pool.
            options = {"echo": options.get("echo", False)}
        engine = sa.create_engine(
            self._url.render("sqlite", {}), connect_args=connect_args, **options
        )

        @sa.event.listens_for(engine, "connect")
        def connected(connection: sqlite3.Connection, _record: object) -> None:
            # Transactions begin where we say so, not where the driver guesses.
            connection.isolation_level = None
            _configure(connection)

        @sa.event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            write = connection.get_execution_options().get("dl_write", False)
            if write:
                # Stays with the file: set when the catalog is made, and nothing afterwards.
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                driver: Any = connection.connection.driver_connection
                begin_immediate(driver, busy_seconds(self._url))
            else:
                connection.exec_driver_sql("BEGIN")

        return engine

    def begin(self, engine: sa.Engine) -> AbstractContextManager[sa.Connection]:
        return engine.execution_options(dl_write=True).begin()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=busy_seconds(self._url), isolation_level=None
        )
        _configure(connection)
        return connection

    def is_database_error(self, error: Exception) -> bool:
        return super().is_database_error(error) or isinstance(error, sqlite3.Error)

    def translate(self, error: Exception) -> DeltaLakeError:
        text = one_line(error)
        if "locked" in text or "busy" in text:
            return self._error(
                DeltaLakeErrorKind.DATABASE_LOCKED,
                f"another process holds the write lock ({text})",
                f"waited {busy_seconds(self._url):g} s; let it finish, or find it with `lsof`, "
                "and run again",
            )
        if "readonly" in text:
            return self._error(
                DeltaLakeErrorKind.AUTHENTICATION_ERROR,
                "this user may not write the file or its folder, which who reads has to, too "
                f"({text})",
                "SQLite keeps its -wal and -shm there: give the permission, or keep the catalog in "
                "a server's database",
            )
        if "unable to open" in text:
            return self._error(
                DeltaLakeErrorKind.NOT_FOUND,
                "the database file can't be opened",
                "check that its directory exists and is writable",
            )
        if "not a database" in text or "malformed" in text:
            return self._error(
                DeltaLakeErrorKind.DATABASE_ERROR,
                f"not a readable SQLite database ({text})",
                "point --database to a catalog, or restore it from a backup",
            )
        return self._error(
            DeltaLakeErrorKind.DATABASE_ERROR, text, "check free disk space and file permissions"
        )

    def grants(self, connection: sa.Connection, role: Role, to: str, *, new: bool) -> Iterator[str]:
        folder = os.path.dirname(self.path)
        yield "-- SQLite has no roles, the permissions of files tell who may do what:"
        if role == "reader":
            yield f"-- {to} has to read {self.path}, {self.path}-wal and {self.path}-shm, and to"
            yield f"-- enter {folder}"
        else:
            yield f"-- {to} has to read and write {self.path}, and to create and remove files in"
            yield f"-- {folder}; whoever may write is an owner"

    @contextmanager
    def schema_lock(self) -> Iterator[bool]:
        lock = _FileLock.take(f"{self.path}.schema.lock")
        try:
            yield lock is not None
        finally:
            if lock is not None:
                lock.release()

    def loader(self) -> Loader:
        return _SqliteLoader(self)

    def _stream(self, sql: str, schema: pa.Schema, batch_rows: int) -> Iterator[pa.RecordBatch]:
        with fork.closing_own(self._connect()) as connection:
            cursor = connection.execute(sql)
            pieces: list[pa.RecordBatch] = []
            left = batch_rows
            while piece := _piece(cursor, schema, min(_PIECE_ROWS, left)):
                pieces.append(piece)
                left -= piece.num_rows
                if left <= 0:
                    yield pa.concat_batches(pieces)
                    pieces, left = [], batch_rows
            if pieces:
                yield pa.concat_batches(pieces)

    def seals(
        self, sources: Sequence[str], where: str, columns: Sequence[str]
    ) -> list[tuple[int, int, int]] | None:
        found: list[tuple[int, int, str]] = []
        with fork.closing_own(self._connect()) as connection, without_collector():
            connection.create_aggregate("dl_seal", -1, _Seal)
            for source in sources:
                found += connection.execute(
                    f"SELECT load_id, count(*), dl_seal({', '.join(columns)}) FROM {source} "
                    f"WHERE {where} GROUP BY load_id"
                )
        return [(load, rows, int(seal)) for load, rows, seal in found]

    def settle(self) -> None:
        # Whoever fills the WAL writes all of its pages to where they belong, and syncs.
        if self.path:
            with fork.closing_own(self._connect()) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def create_load(self, connection: sa.Connection, load_id: int) -> None:
        load_files(load_id).create(connection)

    def attach_load(self, connection: sa.Connection, load_id: int) -> None:
        self._refresh_views(connection)

    def drop_view_statements(self, connection: sa.Connection) -> list[str]:
        return [*super().drop_view_statements(connection), "DROP VIEW IF EXISTS dl_files_large"]

    def view_statements(self, connection: sa.Connection) -> list[str]:
        statements = self.drop_view_statements(connection)
        selects = [files_select(i) for i in self.load_ids(connection)]
        branches = selects or [no_files_select("WHERE 0")]
        for name, select in union_views(
            "dl_files_large", COLUMNS, branches, _UNION, "dl_files_layer"
        ):
            statements += [f"DROP VIEW IF EXISTS {name}", f"CREATE VIEW {name} AS {select}"]
        # The plus keeps the planner from scanning all files, to look up the head of each.
        return statements + [
            s.replace("f.load_id = h.live_load", "f.load_id = +h.live_load")
            for s in super().view_statements(connection)
        ]

    def _refresh_views(self, connection: sa.Connection) -> None:
        for statement in self.view_statements(connection):
            connection.exec_driver_sql(statement)

    def drop_load(self, engine: sa.Engine, load_id: int) -> None:
        with self.begin(engine) as connection:
            if load_id not in self.load_ids(connection):
                return
            for statement in self.drop_view_statements(connection):
                connection.exec_driver_sql(statement)
            connection.exec_driver_sql(f"DROP TABLE {load_files_name(load_id)}")
            self._refresh_views(connection)

    def load_ids(self, connection: sa.Connection) -> list[int]:
        found = connection.exec_driver_sql(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'dl\\_files\\_l%' "
            "ESCAPE '\\'"
        )
        return sorted(int(name.removeprefix("dl_files_l")) for (name,) in found)

    def insert_ignoring(self, table: sa.Table) -> Any:
        return insert(table).on_conflict_do_nothing()

    def for_update(self, query: sa.Select[Any]) -> sa.Select[Any]:
        return query  # BEGIN IMMEDIATE holds the whole database


def _piece(cursor: sqlite3.Cursor, schema: pa.Schema, most: int) -> pa.RecordBatch | None:
    """The next rows, so few that their objects are still in the processor's cache."""
    with without_collector():
        rows = cursor.fetchmany(most)
        return typed_batch(zip(*rows, strict=True), schema) if rows else None


class _Seal:
    """The sum of hashes of rows: SQLite has no hash of its own."""

    def __init__(self) -> None:
        self._total = 0

    def step(self, *row: int | float | str | bytes | None) -> None:
        # Of this format the bytes follow from the values alone.
        self._total += xxhash.xxh3_64_intdigest(marshal.dumps(row, 2))

    def finalize(self) -> str:
        """Modulo 2^64, as a text: SQLite's numbers have a sign."""
        return str(self._total % 2**64)


class _SqliteLoader(Loader):
    def __init__(self, dialect: SqliteDialect) -> None:
        self._dialect = dialect
        self._patience = busy_seconds(dialect._url)
        self._connection = dialect._connect()
        # The swap that makes these rows visible syncs fully; a power cut before it loses a run.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        # In pages: a checkpoint after some parts, not after each.
        self._connection.execute("PRAGMA wal_autocheckpoint = 8192")

    def claim(self, run_key: int, part: int) -> bool:
        begin_immediate(self._connection, self._patience)
        row = self._connection.execute(
            "SELECT p.state, r.status FROM dl_import_parts p "
            "JOIN dl_import_runs r ON r.run_key = p.run_key WHERE p.run_key = ? AND p.part = ?",
            (run_key, part),
        ).fetchone()
        return check_claim(row, run_key, part)

    def append(self, table: str, rows: pa.Table) -> None:
        names = ", ".join(rows.column_names)
        marks = ", ".join("?" * rows.num_columns)
        insert = f"INSERT INTO {table} ({names}) VALUES ({marks})"
        for batch in rows.to_batches(_INSERT_ROWS):
            columns = [column.to_pylist() for column in batch.columns]
            self._connection.executemany(insert, zip(*columns, strict=True))

    def commit(self, run_key: int, part: int, file_rows: int) -> None:
        self._connection.execute(
            "UPDATE dl_import_parts SET state = 'loaded', attempt = attempt + 1, file_rows = ?, "
            "loaded_at = CAST(unixepoch('subsec') * 1000 AS INTEGER) "
            "WHERE run_key = ? AND part = ?"
            if sqlite3.sqlite_version_info >= (3, 42)
            else "UPDATE dl_import_parts SET state = 'loaded', attempt = attempt + 1, "
            "file_rows = ?, loaded_at = CAST(strftime('%s', 'now') AS INTEGER) * 1000 "
            "WHERE run_key = ? AND part = ?",
            (file_rows, run_key, part),
        )
        self._connection.execute("COMMIT")

    def close(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._connection.close()


class _FileLock:
    """A lock on a file beside the database; the kernel drops it with the process."""

    def __init__(self, handle: int, path: str) -> None:
        self._handle = handle
        self._path = path

    @classmethod
    def take(cls, path: str) -> _FileLock | None:
        while True:
            try:
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise PermanentDatabaseError(
                    DeltaLakeErrorKind.DATABASE_ERROR,
                    f"can't make {path}: {error.strerror}; SQLite and imports write files beside "
                    "the database, so its folder must be writable",
                    file=path,
                ) from None
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(handle)
                return None
            # Whoever held it before may have removed the file that we locked.
            try:
                same = os.stat(path).st_ino == os.fstat(handle).st_ino
            except FileNotFoundError:
                same = False
            if same:
                return cls(handle, path)
            os.close(handle)

    def release(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        os.close(self._handle)
