"""Roles on a catalog: readers, writers, owners.

A reader plans, reads, looks; a writer imports, catches up and commits besides; an owner also drops
tables and upgrades the schema. The database checks it: what each of them needs there, `grants`
says as SQL.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, get_args

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

if TYPE_CHECKING:
    import sqlalchemy as sa

    from deltalakedb.catalog.catalog import Catalog
    from deltalakedb.catalog.dialects.base import Dialect
    from deltalakedb.config import SqlConfig

Role = Literal["reader", "writer", "owner"]
ROLES: tuple[Role, ...] = get_args(Role)

OWNERS_ONLY = ("dl_tables", "dl_schema_version")
"""Tables whose rows only owners remove; the second one only they change."""

_OWNERS = re.compile(r"\s*(CREATE|ALTER|DROP|SET|DELETE\s+FROM\s+dl_tables)\b", re.IGNORECASE)
_READERS = re.compile(r"\s*(SELECT|WITH|SHOW)\b(?!.*\bFOR\s+UPDATE\b)", re.IGNORECASE | re.DOTALL)


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
    from deltalakedb.catalog.catalog import schema_version
    from deltalakedb.catalog.dialects import dialect_of
    from deltalakedb.catalog.schema_version import check_schema_version, no_catalog
    from deltalakedb.config import database_url

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


def catalog_names() -> list[str]:
    """All tables and views of a catalog, without those of single loads."""
    from deltalakedb.catalog.commit_tables import metadata
    from deltalakedb.catalog.views import VIEWS

    return [*metadata.tables, "dl_schema_version", *VIEWS]


def imported_names() -> list[str]:
    """The tables that an import writes."""
    from deltalakedb.catalog import tables as t
    from deltalakedb.catalog.commit_tables import leases, mirror

    others = (t.tables, t.heads, t.heap, t.loads, t.import_runs, t.import_parts, mirror, leases)
    return [table.name for table in (*others, *t.LOAD_TABLES)]


def role_of_statement(statement: str) -> Role:
    """Who may run a statement of ours."""
    if _OWNERS.match(statement):
        return "owner"
    return "reader" if _READERS.match(statement) else "writer"


def role_advice(role: Role, to: str | None) -> str:
    """What to do for somebody who lacks the rights of `role`."""
    return (
        f"it takes the role of {'an' if role == 'owner' else 'a'} {role}: let an owner of the "
        f"catalog run what `dl grants --role {role} --to {to or 'NAME'}` prints"
    )
