"""Bringing a catalog of an older program up to this program's schema."""

from __future__ import annotations

from deltalakedb.catalog.catalog import schema_version
from deltalakedb.catalog.dialects import dialect_of
from deltalakedb.catalog.migrations import upgrade
from deltalakedb.catalog.schema_version import SCHEMA_VERSION, check_schema_version
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.uri import parse_database

_UPGRADE_KEY = 0x646C5F7570


def upgrade_catalog(database: str) -> tuple[str, str]:
    """Migrate the catalog in `database`; returns its schema before and after, maybe the same.

    Raises NOT_FOUND when there is no catalog, CATALOG_VERSION when it is newer than this
    program, CONCURRENCY_ERROR while another process upgrades it.
    """
    dialect = dialect_of(parse_database(database))
    missing = DeltaLakeError(
        DeltaLakeErrorKind.NOT_FOUND,
        f"no catalog at {dialect.described}, so there is nothing to upgrade; correct --database",
        database=dialect.described,
    )
    if not dialect.exists():
        raise missing
    engine = dialect.engine()
    try:
        with dialect.errors():
            lease = dialect.lease(_UPGRADE_KEY)
            if lease is None:
                raise DeltaLakeError(
                    DeltaLakeErrorKind.CONCURRENCY_ERROR,
                    f"another process is upgrading the catalog at {dialect.described}; wait for it",
                    database=dialect.described,
                )
            try:
                before = schema_version(engine)
                if before is None:
                    raise missing
                if before < SCHEMA_VERSION:
                    upgrade(dialect, engine)
                else:
                    check_schema_version(before, dialect.described)
                return before, SCHEMA_VERSION
            finally:
                lease.release()
    finally:
        engine.dispose()
