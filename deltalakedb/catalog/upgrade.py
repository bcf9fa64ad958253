"""Bringing a catalog of an older program up to this program's schema."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from deltalakedb.catalog import migrations
from deltalakedb.catalog.catalog import schema_version
from deltalakedb.catalog.dialects import dialect_of
from deltalakedb.catalog.dialects.base import Dialect
from deltalakedb.catalog.grants import check_owner
from deltalakedb.catalog.schema_version import SCHEMA_VERSION, check_schema_version
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.uri import parse_database


@dataclass(frozen=True)
class Upgrade:
    """A catalog's schema and this program's; `loads`: whether existing loads are behind it."""

    before: str
    after: str
    loads: bool

    @property
    def pending(self) -> bool:
        return self.before != self.after or self.loads


def pending_upgrade(database: str) -> Upgrade:
    """What `upgrade_catalog` would do. Raises NOT_FOUND, CATALOG_VERSION as it does."""
    with _opened(database) as (dialect, engine):
        return _pending(dialect, engine)


def upgrade_statements(database: str) -> str:
    """The statements of an upgrade as SQL, for people to read; empty when nothing is pending."""
    with _opened(database) as (dialect, engine):
        upgrade = _pending(dialect, engine)
        return migrations.statements(dialect, engine, upgrade.before) if upgrade.pending else ""


def upgrade_catalog(database: str) -> Upgrade:
    """Migrate the catalog in `database`; returns what was pending.

    Raises NOT_FOUND when there is no catalog, CATALOG_VERSION when it is newer than this
    program, CONCURRENCY_ERROR while another process upgrades it, AUTHENTICATION_ERROR for who
    isn't an owner. After a death it may be run again.
    """
    with _opened(database) as (dialect, engine), dialect.schema_lock() as mine:
        if not mine:
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONCURRENCY_ERROR,
                f"another process is upgrading the catalog at {dialect.described}; wait for it",
                database=dialect.described,
            )
        upgrade = _pending(dialect, engine)
        if upgrade.pending:
            check_owner(dialect, engine)
            migrations.upgrade(dialect, engine)
        return upgrade


@contextmanager
def _opened(database: str) -> Iterator[tuple[Dialect, sa.Engine]]:
    dialect = dialect_of(parse_database(database))
    if not dialect.exists():
        raise _missing(dialect)
    engine = dialect.engine()
    try:
        with dialect.errors():
            yield dialect, engine
    finally:
        engine.dispose()


def _pending(dialect: Dialect, engine: sa.Engine) -> Upgrade:
    before = schema_version(engine)
    if before is None:
        raise _missing(dialect)
    if before < SCHEMA_VERSION:
        return Upgrade(before, SCHEMA_VERSION, True)
    check_schema_version(before, dialect.described)
    with engine.connect() as connection:
        return Upgrade(before, before, migrations.pending_loads(connection) is not None)


def _missing(dialect: Dialect) -> DeltaLakeError:
    return DeltaLakeError(
        DeltaLakeErrorKind.NOT_FOUND,
        f"no catalog at {dialect.described}, so there is nothing to upgrade; correct --database",
        database=dialect.described,
    )
