"""Giving roles on a catalog, and asking for them before something is done."""

from __future__ import annotations

import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog, schema_version
from deltalakedb.catalog.dialects import dialect_of
from deltalakedb.catalog.dialects.base import Dialect
from deltalakedb.catalog.roles import ROLES, Role, role_advice
from deltalakedb.catalog.schema_version import check_schema_version, no_catalog
from deltalakedb.config import SqlConfig, database_url
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind


def grants(database: str | SqlConfig, role: Role, *, to: str | None = None) -> str:
    """The SQL after which a user or role of the database is `role` on its catalog.

    `role`: `reader`, `writer` or `owner`; `to`: whom, by default `dl_reader`, `dl_writer`,
    `dl_owner`, for MySQL and MariaDB `name` or `name@host` (any host by default). It has to exist.
    `database` is reached as an owner or an administrator, who also runs the statements, each of
    which ends in `;` and a new line; nothing is changed here. In a database without a catalog an
    owner is who may make one. SQLite has files instead of roles: comments say which.

    Raises INVALID_ARGUMENT for another role, NOT_FOUND where there is no catalog for readers and
    writers, CATALOG_VERSION for a catalog of another schema.
    """
    if role not in ROLES:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"there is no role {role!r}; one of {', '.join(ROLES)}",
            role=role,
        )
    dialect = dialect_of(database_url(database))
    if not dialect.exists():
        raise no_catalog(dialect.described)
    engine = dialect.engine()
    try:
        with dialect.errors(), engine.connect() as connection:
            found = schema_version(engine)
            if found is None and role != "owner":
                raise no_catalog(dialect.described)
            if found is not None:
                check_schema_version(found, dialect.described)
            name = to or f"dl_{role}"
            statements = dialect.grants(connection, role, name, new=found is None)
            return "".join(f"{s}{'' if s.startswith('--') else ';'}\n" for s in statements)
    finally:
        engine.dispose()


def check_writer(catalog: Catalog, *, own_table: bool) -> None:
    """Raises AUTHENTICATION_ERROR unless the user may import, before anything is read or loaded.

    `own_table`: into a table of files of its own, not into the one that small loads share.
    """
    dialect = catalog.dialect
    with catalog.read() as connection:
        missing = dialect.missing_rights(connection, own_table=own_table)
    if missing is not None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.AUTHENTICATION_ERROR,
            f"{dialect.described}: {missing}; {role_advice('writer', dialect.user)}",
            database=dialect.described,
        )


def check_owner(dialect: Dialect, engine: sa.Engine) -> None:
    """Raises AUTHENTICATION_ERROR for who may not drop tables and upgrade, before any of it."""
    with dialect.errors(), dialect.begin(engine) as connection:
        connection.exec_driver_sql("DELETE FROM dl_tables WHERE 1 = 0")
