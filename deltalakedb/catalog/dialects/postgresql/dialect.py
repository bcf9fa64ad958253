"""PostgreSQL 12+: binary COPY from Arrow (ADBC); large loads are partitions of one table."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from deltalakedb import fork
from deltalakedb.catalog.dialects.base import (
    Dialect,
    Loader,
    check_claim,
    keep_idle,
    one_line,
    take_idle,
)
from deltalakedb.catalog.dialects.postgresql import roles
from deltalakedb.catalog.dialects.postgresql.connection import connect, is_nul, libpq_uri
from deltalakedb.catalog.dialects.postgresql.copied import copied
from deltalakedb.catalog.dialects.statements import cancellable
from deltalakedb.catalog.records import load_files_name
from deltalakedb.catalog.roles import Role, imported_names, role_advice
from deltalakedb.error import (
    DatabaseBusyError,
    DeltaLakeError,
    DeltaLakeErrorKind,
    PermanentDatabaseError,
)

_ISOLATION = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
"""Of a transaction that writes: it sees what is there now, whatever server, role or pool say."""
_COPY_ROWS = 8_192
"""Some MB, which sockets and caches hold: so the next are encoded while the server stores these."""
_READERS_SECONDS = 0.5
"""How long a swap waits for queries that began before it."""
# Feature not supported, data exception, integrity constraint, syntax or access, program limit.
_PERMANENT_CLASSES = frozenset({"0A", "22", "23", "42", "54"})
_DISK_FULL = "53100"
# Text that a column is too short for, and numbers that it is too small for.
_TOO_LONG = frozenset({"22001", "22003"})
_BUSY_STATES = frozenset({"53300", "57P03"})
# Neither driver tells the state of an error in connecting.
_BUSY_SIGNS = (
    "too many clients",
    "too many connections",
    "remaining connection slots",
    "database system is starting up",
    "database system is shutting down",
    "database system is in recovery",
    "database system is not",
)


class PostgresDialect(Dialect):
    """PostgreSQL: psycopg2 for statements, ADBC for what comes or goes in bulk."""

    parallel_load: ClassVar[bool] = True
    holds_nul: ClassVar[bool] = False
    partitions_files: ClassVar[bool] = True
    clock_ms: ClassVar[str] = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    index_builds: ClassVar[int] = 2
    indexed_slots: ClassVar[int] = 4

    def _engine(self, **options: Any) -> sa.Engine:
        def connected() -> Any:
            return self._patiently(lambda: connect(self._url))

        engine = sa.create_engine(
            "postgresql+psycopg2://", creator=connected, pool_pre_ping=True, **options
        )

        @sa.event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            if connection.get_execution_options().get("dl_write", False):
                connection.exec_driver_sql(_ISOLATION)

        return engine

    def begin(self, engine: sa.Engine) -> AbstractContextManager[sa.Connection]:
        return engine.execution_options(dl_write=True).begin()

    def exists(self) -> bool:
        return True

    @property
    def uri(self) -> str:
        """The URL as libpq reads it."""
        return libpq_uri(self._url)

    def _adbc(self) -> Any:
        from adbc_driver_postgresql import dbapi

        return cancellable(dbapi.connect(self.uri), dbapi.Connection.adbc_cancel)

    def is_database_error(self, error: Exception) -> bool:
        if super().is_database_error(error):
            return True
        return type(error).__module__.partition(".")[0] in ("psycopg2", "adbc_driver_manager")

    def translate(self, error: Exception) -> DeltaLakeError:
        text = one_line(error)
        if is_nul(error):
            return self._error(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                "a text holds a NUL character, which PostgreSQL can't store",
                "write it without, or keep the catalog in another database",
            )
        if _sqlstate(error) in _TOO_LONG:
            return self._error(
                DeltaLakeErrorKind.DATABASE_ERROR,
                text,
                "shorten the value, or make it smaller",
                PermanentDatabaseError,
            )
        if _sqlstate(error) in _BUSY_STATES or any(sign in text for sign in _BUSY_SIGNS):
            return self._error(
                DeltaLakeErrorKind.DATABASE_ERROR,
                text,
                "run again in a moment; raise max_connections if it happens often, or use fewer "
                "--connections",
                DatabaseBusyError,
            )
        if "authentication failed" in text or "no password supplied" in text:
            return self._error(
                DeltaLakeErrorKind.AUTHENTICATION_ERROR,
                text,
                "check user and password in the URL (percent-encode special characters); if the "
                "password was changed, open the table again with the new one",
            )
        if "does not exist" in text and "database" in text:
            return self._error(
                DeltaLakeErrorKind.NOT_FOUND, text, "create it with CREATE DATABASE, then run again"
            )
        if "permission denied" in text or "must be owner" in text:
            return self._error(
                DeltaLakeErrorKind.AUTHENTICATION_ERROR,
                text,
                role_advice(roles.needed_role(error), self.user),
            )
        if "timeout expired" in text:
            return self._error(
                DeltaLakeErrorKind.TIMEOUT_ERROR,
                text,
                "nobody answers there: check host and port, and that no firewall is between",
            )
        if "timeout" in text:
            return self._error(DeltaLakeErrorKind.TIMEOUT_ERROR, text, "run again")
        if "could not translate" in text:
            return self._error(
                DeltaLakeErrorKind.DATABASE_ERROR, text, "check the host's name in the URL"
            )
        if any(sign in text for sign in ("could not connect", "refused")):
            return self._error(
                DeltaLakeErrorKind.DATABASE_ERROR, text, "check that the server runs and listens"
            )
        return self._error(
            DeltaLakeErrorKind.DATABASE_ERROR,
            text,
            "see the server's log",
            PermanentDatabaseError if _is_permanent(error) else DeltaLakeError,
        )

    @contextmanager
    def schema_lock(self) -> Iterator[bool]:
        # Of a transaction, not of a session: behind a pool those are lent to others.
        engine = self.engine(poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            key = "hashtextextended('deltalakedb ' || coalesce(current_schema(), ''), 0)"
            taken = connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({key})")
            yield bool(taken.scalar())

    def grants(self, connection: sa.Connection, role: Role, to: str, *, new: bool) -> Iterator[str]:
        yield f"-- {to} has to exist (CREATE ROLE … LOGIN); run by an owner of the catalog who may"
        yield "-- create roles, or by an administrator"
        yield from (
            roles.new_owner_grants(connection, to) if new else roles.grants(connection, role, to)
        )

    def missing_rights(self, connection: sa.Connection, *, own_table: bool) -> str | None:
        return roles.missing_rights(connection, imported_names(), own_table)

    @contextmanager
    def upgrading(self, connection: sa.Connection) -> Iterator[None]:
        with roles.kept(connection):
            yield

    def loader(self) -> Loader:
        return _CopyLoader(self)

    def _stream(self, sql: str, schema: pa.Schema, batch_rows: int) -> Iterator[pa.RecordBatch]:
        with fork.closing_own(connect(self._url)) as connection:
            connection.autocommit = True
            yield from copied(connection, sql, schema, batch_rows)

    def seals(
        self, sources: Sequence[str], where: str, columns: Sequence[str]
    ) -> list[tuple[int, int, int]] | None:
        # Rows have a hash from PostgreSQL 14 on.
        known = "SELECT to_regprocedure('hash_record_extended(record, bigint)') IS NOT NULL"
        total = f"sum(hash_record_extended(ROW({', '.join(columns)}), 0))"
        found = []
        with fork.closing_own(connect(self._url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(known)
            if not cursor.fetchone()[0]:
                return None
            for source in sources:
                cursor.execute(
                    f"SELECT load_id, count(*), {total} FROM {source} WHERE {where} "
                    "GROUP BY load_id"
                )
                found += cursor.fetchall()
        return [(int(load), int(rows), int(seal) % 2**64) for load, rows, seal in found]

    def create_load(self, connection: sa.Connection, load_id: int) -> None:
        name = load_files_name(load_id)
        # The CHECK lets ATTACH skip its scan; statistics come once, by ANALYZE after the load.
        connection.exec_driver_sql(
            f"CREATE TABLE {name} (LIKE dl_files_large INCLUDING DEFAULTS, "
            f"CONSTRAINT {name}_load CHECK (load_id = {load_id})) "
            "WITH (autovacuum_enabled = false)"
        )
        for statement in roles.carried_grants(connection, name):
            connection.exec_driver_sql(statement)

    def hot_table_statements(self, table: str) -> list[str]:
        # Room for new versions of a row beside the old one: no index is touched, none stays long.
        return [
            f"ALTER TABLE {table} SET (fillfactor = 20, autovacuum_vacuum_scale_factor = 0.0, "
            "autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0)"
        ]

    def prepare_attach(self, load_id: int) -> None:
        """Attach the load, and let those readers end who planned without it.

        A query takes its snapshot after it is planned: one that was planned before the partition
        came and run after the swap would see the new pointer, and no files.
        """
        name = load_files_name(load_id)
        engine = self.engine(poolclass=sa.NullPool)
        with self.begin(engine) as connection:
            attached = f"SELECT relispartition FROM pg_class WHERE oid = '{name}'::regclass"
            if connection.exec_driver_sql(attached).scalar():
                return
            connection.exec_driver_sql(f"ALTER TABLE {name} RESET (autovacuum_enabled)")
            connection.exec_driver_sql(
                f"ALTER TABLE dl_files_large ATTACH PARTITION {name} FOR VALUES IN ({load_id})"
            )
        with engine.connect() as connection:
            deadline = time.monotonic() + _READERS_SECONDS
            readers = _readers(connection)
            while readers and time.monotonic() < deadline:
                time.sleep(0.005)
                readers &= _readers(connection)

    def attach_load(self, connection: sa.Connection, load_id: int) -> None:
        """Nothing: `prepare_attach` has done it, and nobody looks for the load yet."""

    def drop_load(self, engine: sa.Engine, load_id: int) -> None:
        with self.begin(engine) as connection:
            # A reader may still be on it, and whoever comes later would queue behind this wait:
            # leave it to the next clean-up rather than block others.
            connection.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {load_files_name(load_id)}")

    def load_ids(self, connection: sa.Connection) -> list[int]:
        found = connection.exec_driver_sql(
            "SELECT relname FROM pg_class WHERE relkind = 'r' "
            "AND relnamespace = quote_ident(current_schema())::regnamespace "
            "AND relname ~ '^dl_files_l[0-9]+$'"
        )
        return sorted(int(name.removeprefix("dl_files_l")) for (name,) in found)

    def binary_order(self, column: str) -> str:
        return f'{column} COLLATE "C"'

    def insert_ignoring(self, table: sa.Table) -> Any:
        return insert(table).on_conflict_do_nothing()


def _readers(connection: sa.Connection) -> set[str]:
    """The transactions that use `dl_files_large` at the moment."""
    found = connection.exec_driver_sql(
        "SELECT virtualtransaction FROM pg_locks WHERE relation = 'dl_files_large'::regclass "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return set(found.scalars())


def _is_permanent(error: Exception) -> bool:
    """Whether the server has said that the statement itself is at fault."""
    state = _sqlstate(error)
    return state[:2] in _PERMANENT_CLASSES or state == _DISK_FULL


def _sqlstate(error: Exception) -> str:
    """What the server has called an error; '' of one that a driver has found by itself."""
    inner = getattr(error, "orig", None) or error
    return getattr(inner, "pgcode", None) or getattr(inner, "sqlstate", None) or ""


class _CopyLoader(Loader):
    def __init__(self, dialect: PostgresDialect) -> None:
        self._uri = dialect.uri
        # ADBC reads all types of the database when it connects: worth keeping between parts.
        self._connection = take_idle(self._uri) or dialect._adbc()
        self._committed = False
        self._cursor = self._connection.cursor()
        self._files = ""
        self._first_block: int | None = None

    def claim(self, run_key: int, part: int) -> bool:
        self._files = load_files_name(run_key)
        self._cursor.execute(_ISOLATION)
        self._cursor.execute(
            "SELECT p.state, r.status FROM dl_import_parts p "
            "JOIN dl_import_runs r ON r.run_key = p.run_key "
            f"WHERE p.run_key = {run_key} AND p.part = {part} FOR UPDATE OF p"
        )
        return check_claim(self._cursor.fetchone(), run_key, part)

    def append(self, table: str, rows: pa.Table) -> None:
        if table == self._files:
            self._first_block = self._end_of_files()
        self._cursor.adbc_ingest(table, rows.to_reader(_COPY_ROWS), mode="append")

    def commit(self, run_key: int, part: int, file_rows: int) -> None:
        self._cursor.execute(
            "UPDATE dl_import_parts SET state = 'loaded', attempt = attempt + 1, "
            f"file_rows = {file_rows}, loaded_at = {PostgresDialect.clock_ms} "
            f"WHERE run_key = {run_key} AND part = {part}"
        )
        self._connection.commit()
        if self._first_block is not None:
            self._mark_committed(self._first_block)
        # Only a connection that has come so far is kept for the next part.
        self._committed = True

    def _end_of_files(self) -> int | None:
        """The number of blocks; None before PostgreSQL 14, which can't read a table from one on."""
        self._cursor.execute(
            f"SELECT pg_relation_size('{self._files}') / current_setting('block_size')::bigint "
            "WHERE current_setting('server_version_num')::int >= 140000"
        )
        row = self._cursor.fetchone()
        return None if row is None else int(row[0])

    def _mark_committed(self, first_block: int) -> None:
        """Read the new rows once, by which the server notes in them that they are committed.

        Otherwise the first index build does, and writes every page again; where a checkpoint has
        begun in between, and pages have checksums, into the WAL as well.
        """
        self._cursor.execute(
            f"SELECT count(*) FROM {self._files} WHERE ctid >= '({first_block},0)'"
        )
        self._cursor.fetchone()
        self._connection.commit()

    def close(self) -> None:
        self._cursor.close()
        if self._committed:
            keep_idle(self._uri, self._connection)
        else:
            self._connection.close()
