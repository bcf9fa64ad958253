"""An open catalog: its engine, its dialect, its schema checked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from deltalakedb.catalog.dialects import dialect_of
from deltalakedb.catalog.dialects.base import Dialect
from deltalakedb.catalog.dialects.reader import Reader
from deltalakedb.catalog.dialects.readers import reader_of
from deltalakedb.catalog.schema_version import SCHEMA_VERSION, check_schema_version, no_catalog
from deltalakedb.catalog.tables import catalog as catalog_table
from deltalakedb.config import SqlConfig, database_url
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

_CREATE_WAIT_SECONDS = 30.0


class Catalog:
    """A catalog in a SQL database.

    `database` is a SQLite path, a database URL or a SqlConfig, whose pool is used. With `create`,
    an empty database gets the catalog's schema; without, NOT_FOUND is raised. An older schema
    raises CATALOG_VERSION (advice: `dl upgrade`), so does a newer one.
    """

    def __init__(self, database: str | SqlConfig | DatabaseUrl, *, create: bool = False) -> None:
        self.url: DatabaseUrl = database_url(database)
        pool = database.pool_options() if isinstance(database, SqlConfig) else {}
        self.dialect: Dialect = dialect_of(self.url)
        self.reader: Reader = reader_of(self.url)
        if not create and not self.dialect.exists():
            raise no_catalog(self.dialect.described)
        with self.dialect.errors():
            self.engine = self.dialect.engine(**pool)
            self._check(create)
        self._catalog_id: str | None = None

    def __repr__(self) -> str:
        return f"Catalog({self.dialect.described!r})"

    def close(self) -> None:
        self.reader.close()
        self.engine.dispose()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection in one read transaction (one snapshot of the catalog)."""
        with self.dialect.errors(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that writes: commits at the end, rolls back on an error.

        Raises CATALOG_VERSION when the catalog was upgraded since it was opened.
        """
        with self.dialect.errors(), self.dialect.begin(self.engine) as connection:
            found = connection.exec_driver_sql("SELECT version_num FROM dl_schema_version")
            check_schema_version(str(found.scalar()), self.dialect.described)
            yield connection

    @property
    def catalog_id(self) -> str:
        if self._catalog_id is None:
            with self.read() as connection:
                self._catalog_id = str(connection.scalar(sa.select(catalog_table.c.catalog_id)))
        return self._catalog_id

    def _check(self, create: bool) -> None:
        found = schema_version(self.engine)
        if found == SCHEMA_VERSION:
            return
        if found is None:
            if not create:
                raise no_catalog(self.dialect.described)
            self._create()
        else:
            check_schema_version(found, self.dialect.described)

    def _create(self) -> None:
        """Two programs may meet on an empty database: one creates, the other waits."""
        from deltalakedb.catalog.migrations import upgrade

        deadline = time.monotonic() + _CREATE_WAIT_SECONDS
        while schema_version(self.engine) is None:
            with self.dialect.schema_lock() as mine:
                if mine:
                    if schema_version(self.engine) is None:
                        upgrade(self.dialect, self.engine)
                    return
            if time.monotonic() > deadline:
                raise DeltaLakeError(
                    DeltaLakeErrorKind.TIMEOUT_ERROR,
                    f"another process has been creating the catalog at {self.dialect.described} "
                    f"for {_CREATE_WAIT_SECONDS:g} s; run again when it has finished",
                )
            time.sleep(0.05)


def schema_version(engine: sa.Engine) -> str | None:
    """The schema's version as the migrations recorded it; None in an empty database."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("dl_schema_version"):
            return None
        return connection.exec_driver_sql("SELECT version_num FROM dl_schema_version").scalar()
