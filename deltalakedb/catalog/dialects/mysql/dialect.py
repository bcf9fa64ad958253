"""MySQL 8.0.17+ and MariaDB 10.6+, over pymysql.

Text compares by its bytes, trailing spaces too (a NO PAD collation). DDL ends a transaction, so
what the swap would need of it happens before (`prepare_attach`), see `mysql_views`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, ClassVar

import pyarrow as pa
import pymysql
import sqlalchemy as sa
from sqlalchemy.dialects.mysql import insert

from deltalakedb import fork
from deltalakedb.catalog.commit_tables import metadata
from deltalakedb.catalog.dialects.base import Dialect, Loader
from deltalakedb.catalog.dialects.mysql import roles
from deltalakedb.catalog.dialects.mysql.connection import MySqlConnection, connect, lock_name
from deltalakedb.catalog.dialects.mysql.error import (
    BUSY,
    LOCK_WAIT_TIMEOUT,
    kind_and_advice,
    number_and_text,
)
from deltalakedb.catalog.dialects.mysql.loader import MySqlLoader
from deltalakedb.catalog.dialects.mysql.rows import decode_rows
from deltalakedb.catalog.dialects.mysql.views import (
    attachable_loads,
    existing_loads,
    is_complete,
    replace_views,
    view_statements,
)
from deltalakedb.catalog.records import load_files_name
from deltalakedb.catalog.roles import Role, role_advice
from deltalakedb.catalog.tables import load_files, tables
from deltalakedb.catalog.views import VIEWS
from deltalakedb.error import DatabaseBusyError, DeltaLakeError, DeltaLakeErrorKind

_BATCH_BYTES = 32 << 20
_VIEWS_LOCK_SECONDS = 60
_VIEWS_PATIENCE_SECONDS = 600.0
"""How long an import waits for transactions that have read `dl_files` to end."""


class MySqlDialect(Dialect):
    """MySQL and MariaDB."""

    parallel_load: ClassVar[bool] = True
    clock_ms: ClassVar[str] = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000"
    text_bytes: ClassVar[int | None] = 65_535
    indexed_slots: ClassVar[int] = 2

    def _engine(self, **options: Any) -> sa.Engine:
        def connected() -> MySqlConnection:
            return self._patiently(lambda: connect(self._url))

        engine = sa.create_engine(
            "mysql+pymysql://", creator=connected, pool_pre_ping=True, **options
        )

        @sa.event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            if connection.get_execution_options().get("dl_write", False):
                # Of this transaction alone. Writers see what is there now, and lock no gaps.
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")

        return engine

    def begin(self, engine: sa.Engine) -> AbstractContextManager[sa.Connection]:
        return engine.execution_options(dl_write=True).begin()

    def exists(self) -> bool:
        return True

    def is_database_error(self, error: Exception) -> bool:
        return super().is_database_error(error) or isinstance(error, pymysql.MySQLError)

    def translate(self, error: Exception) -> DeltaLakeError:
        number, text = number_and_text(error)
        if number in roles.DENIED:
            advice = role_advice(roles.needed_role(text), self.user)
            return self._error(DeltaLakeErrorKind.AUTHENTICATION_ERROR, text, advice)
        kind, advice = kind_and_advice(number)
        type_ = DatabaseBusyError if number in BUSY else DeltaLakeError
        return self._error(kind, text, advice, type_)

    @contextmanager
    def schema_lock(self) -> Iterator[bool]:
        with closing(self.connect(autocommit=True)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT GET_LOCK(%s, 0)", (lock_name(self._url, "schema"),))
            yield bool(cursor.fetchone() == (1,))

    def grants(self, connection: sa.Connection, role: Role, to: str, *, new: bool) -> Iterator[str]:
        yield f"-- {to} has to exist (CREATE USER …); run by who may grant rights on the database"
        yield from roles.grants(connection, role, to)

    def missing_rights(self, connection: sa.Connection, *, own_table: bool) -> str | None:
        if not own_table:
            return None  # The first rows of an import, its lease and its run, tell.
        with closing(self.connect(autocommit=True)) as own, own.cursor() as cursor:
            return roles.try_table(cursor)

    def connect(self, **options: Any) -> MySqlConnection:
        return connect(self._url, **options)

    def loader(self) -> Loader:
        return MySqlLoader(self.connect(local_infile=True), self.described)

    def _stream(self, sql: str, schema: pa.Schema, batch_rows: int) -> Iterator[pa.RecordBatch]:
        with fork.closing_own(self.connect(), "abandon") as connection:
            connection.query(sql, unbuffered=True)
            payloads: list[bytes] = []
            size = 0
            for payload in connection.row_packets():
                payloads.append(payload)
                size += len(payload)
                if len(payloads) == batch_rows or size >= _BATCH_BYTES:
                    yield decode_rows(payloads, schema)
                    payloads, size = [], 0
            if payloads:
                yield decode_rows(payloads, schema)

    def table_options(self, connection: sa.Connection) -> dict[str, Any]:
        mariadb = getattr(connection.dialect, "is_mariadb", False)
        return {
            "mysql_engine": "InnoDB",
            "mysql_charset": "utf8mb4",
            "mysql_collate": "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin",
        }

    def clear_unfinished(self, connection: sa.Connection) -> None:
        found = set(sa.inspect(connection).get_table_names())
        if "dl_tables" in found and connection.scalar(sa.select(tables.c.table_key).limit(1)):
            raise DeltaLakeError(
                DeltaLakeErrorKind.DATABASE_ERROR,
                f"{self.described}: dl_tables has rows, but dl_schema_version says of no catalog; "
                "restore the database from its backup, or use another one",
                database=self.described,
            )
        for name in ("dl_files", *VIEWS):
            connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
        for name in found & set(metadata.tables):
            connection.exec_driver_sql(f"DROP TABLE {name}")

    def drop_view_statements(self, connection: sa.Connection) -> list[str]:
        return []  # They are replaced, and bear that columns are missing until then.

    def view_statements(self, connection: sa.Connection) -> list[str]:
        others = [
            f"CREATE OR REPLACE VIEW {name} AS {select}"
            for name, select in VIEWS.items()
            if name not in ("dl_files", "dl_live_files")
        ]
        cursor = connection.connection.cursor()
        loads = {load for load in existing_loads(cursor) if is_complete(cursor, load)}
        return [*others, *view_statements(loads)]

    def create_load(self, connection: sa.Connection, load_id: int) -> None:
        load_files(load_id, **self.table_options(connection)).create(connection)

    def index_ddl(self, load_id: int, columns: Sequence[Sequence[str]]) -> list[str]:
        # One pass over the rows for all indexes.
        added = ", ".join(f"ADD INDEX {'_'.join(c)} ({', '.join(c)})" for c in columns)
        return [f"ALTER TABLE {load_files_name(load_id)} {added}"]

    def replace_index_statements(
        self, connection: sa.Connection, load_id: int, old: Sequence[str], new: Sequence[str]
    ) -> list[str]:
        if not self._has_index(connection, load_id, old):
            return []
        # Together, as each statement is a transaction.
        [added] = self.index_ddl(load_id, [new])
        return [f"{added}, DROP INDEX {'_'.join(old)}"]

    def analyze_load(self, connection: sa.Connection, load_id: int) -> None:
        connection.exec_driver_sql(f"ANALYZE TABLE {load_files_name(load_id)}")

    def prepare_attach(self, load_id: int) -> None:
        deadline = time.monotonic() + _VIEWS_PATIENCE_SECONDS
        while True:
            try:
                with self._changing_views() as cursor:
                    replace_views(cursor, attachable_loads(cursor) | {load_id})
                return
            except pymysql.MySQLError as error:
                if number_and_text(error)[0] != LOCK_WAIT_TIMEOUT:
                    raise
                if time.monotonic() > deadline:
                    raise self._error(
                        DeltaLakeErrorKind.DATABASE_LOCKED,
                        "a session that has read dl_files keeps its transaction open",
                        "let it end (SHOW PROCESSLIST tells which), and run again",
                    ) from None
            # Whoever came behind us gets through before we try again.
            time.sleep(1.0)

    def attach_load(self, connection: sa.Connection, load_id: int) -> None:
        """Nothing: the views show it as soon as `dl_tables` says that it is live."""

    def drop_load(self, engine: sa.Engine, load_id: int) -> None:
        with self._changing_views() as cursor:
            if is_complete(cursor, load_id):
                replace_views(cursor, attachable_loads(cursor) - {load_id})
            cursor.execute(f"DROP TABLE IF EXISTS {load_files_name(load_id)}")

    @contextmanager
    def _changing_views(self) -> Iterator[Any]:
        """A cursor under the lock of the views, that waits for nobody's transaction for long."""
        with closing(self.connect(autocommit=True)) as connection, connection.cursor() as cursor:
            name = lock_name(self._url, "views")
            cursor.execute("SELECT GET_LOCK(%s, %s)", (name, _VIEWS_LOCK_SECONDS))
            if cursor.fetchone() != (1,):
                raise self._error(
                    DeltaLakeErrorKind.TIMEOUT_ERROR,
                    f"others have been changing dl_files for {_VIEWS_LOCK_SECONDS} s",
                    "run again",
                )
            # Who waits for a lock of DDL makes all others wait behind.
            cursor.execute("SET SESSION lock_wait_timeout = 1")
            yield cursor

    def load_ids(self, connection: sa.Connection) -> list[int]:
        return sorted(existing_loads(connection.connection.cursor()))

    def insert_ignoring(self, table: sa.Table) -> Any:
        # Not INSERT IGNORE, which cuts values to fit.
        key = next(iter(table.primary_key))
        return insert(table).on_duplicate_key_update({key.name: key})
