"""Who may do what on PostgreSQL: what roles need, and what a new load takes from the older ones.

Readers and writers have rights on tables. Adding and removing the tables of large loads takes
more, to own them: so they belong to a group of all writers, as the catalog's others belong to a
group of its owners, and nobody's own role is given to anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from deltalakedb.catalog.roles import (
    OWNERS_ONLY,
    Role,
    catalog_names,
    role_of_statement,
)
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

_LARGE = "dl_files_large"
_NAME_BYTES = 63
_SCHEMA_RIGHTS = {
    "reader": "USAGE ON SCHEMA {schema} TO {to}",
    "writer": "USAGE, CREATE ON SCHEMA {schema} TO {to}",
    # Owners hand it on to the others.
    "owner": "USAGE, CREATE ON SCHEMA {schema} TO {to} WITH GRANT OPTION",
}


@dataclass(frozen=True)
class _Place:
    """Where the catalog is, whose it is, and what belongs to it by kinds of pg_class."""

    database: str
    schema: str
    owner: str
    writers: str
    relations: tuple[tuple[str, str], ...]
    quote: Any

    def named(self, kinds: str) -> list[str]:
        schema = self.quote(self.schema)
        return [f"{schema}.{self.quote(name)}" for name, kind in self.relations if kind in kinds]

    def group(self, what: str) -> str:
        """The name of a group of this catalog; roles are of all databases of a server."""
        name = f"dl_{what}_{self.database}_{self.schema}"
        if len(name.encode()) > _NAME_BYTES:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"the group {name} has a longer name than PostgreSQL takes ({_NAME_BYTES} bytes); "
                "give the database or the schema a shorter one",
                name=name,
            )
        return name


def grants(connection: sa.Connection, role: Role, to: str) -> Iterator[str]:
    """The statements after which role `to` is reader, writer or owner of the catalog there."""
    place = _place(connection)
    quote = place.quote
    database, schema, name = quote(place.database), quote(place.schema), quote(to)
    writers, owner = place.writers, place.owner
    has_writers = writers != owner
    holder = name
    if role == "owner":
        holder = quote(place.group("owners"))
        if owner != place.group("owners"):
            yield from _group(place.group("owners"), quote)
            yield f"GRANT {holder} TO {quote(owner)}"
    elif role == "writer":
        writers = writers if has_writers else place.group("writers")
        holder = quote(writers)
        if not has_writers:
            yield from _group(writers, quote)
            yield f"GRANT {holder} TO {quote(owner)}"
    yield f"GRANT CONNECT ON DATABASE {database} TO {holder}"
    yield f"GRANT {_SCHEMA_RIGHTS[role].format(schema=schema, to=holder)}"
    if role == "owner":
        if has_writers:
            yield f"GRANT {quote(writers)} TO {holder}"
        if owner != place.group("owners"):
            others = [n for n in place.named("rp") if not (has_writers and _of_files(n))]
            yield from (f"ALTER TABLE {n} OWNER TO {holder}" for n in others)
            yield from (f"ALTER VIEW {n} OWNER TO {holder}" for n in place.named("v"))
    else:
        yield f"GRANT SELECT ON {', '.join(place.named('rpv'))} TO {holder}"
    if role == "writer":
        kept = {f"{schema}.{n}" for n in OWNERS_ONLY}
        changed = [n for n in place.named("rp") if n not in kept]
        yield f"GRANT INSERT, UPDATE ON {schema}.dl_tables TO {holder}"
        yield f"GRANT INSERT, UPDATE, DELETE ON {', '.join(changed)} TO {holder}"
        yield f"GRANT USAGE, SELECT ON SEQUENCE {', '.join(place.named('S'))} TO {holder}"
        if not has_writers:
            files = [n for n in place.named("rp") if _of_files(n)]
            yield from (f"ALTER TABLE {n} OWNER TO {holder}" for n in files)
    if holder != name:
        yield f"GRANT {holder} TO {name}"
    if place.schema not in ("public", to):
        yield f"ALTER ROLE {name} IN DATABASE {database} SET search_path = {schema}, public"


def new_owner_grants(connection: sa.Connection, to: str) -> Iterator[str]:
    """What a role needs that is to make a catalog in this database."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    row = connection.exec_driver_sql("SELECT current_database(), current_schema()").one()
    database, name = quote(row[0]), quote(to)
    yield f"GRANT CONNECT, CREATE ON DATABASE {database} TO {name}"
    if row[1] is not None:
        yield f"GRANT {_SCHEMA_RIGHTS['owner'].format(schema=quote(row[1]), to=name)}"


def _of_files(name: str) -> bool:
    """Whether it is `dl_files_large` or one of its partitions."""
    return name.rpartition(".")[2].startswith("dl_files_l")


def _group(name: str, quote: Any) -> Iterator[str]:
    text = name.replace("'", "''")
    yield (
        f"DO $$BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{text}') "
        f"THEN CREATE ROLE {quote(name)} NOLOGIN; END IF; END$$"
    )


def _place(connection: sa.Connection) -> _Place:
    database, schema, owner, writers = connection.exec_driver_sql(
        "SELECT current_database(), n.nspname, pg_get_userbyid(t.relowner), "
        f"pg_get_userbyid(l.relowner) FROM pg_class t, pg_class l, pg_namespace n "
        f"WHERE t.oid = 'dl_tables'::regclass AND l.oid = '{_LARGE}'::regclass "
        "AND n.oid = t.relnamespace"
    ).one()
    names = ", ".join(f"'{name}'" for name in (*catalog_names(), _LARGE))
    relations = connection.exec_driver_sql(
        "SELECT relname, relkind::text FROM pg_class "
        "WHERE relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'dl_tables'::regclass)"
        f" AND (relkind IN ('r', 'p', 'v') AND (relname IN ({names}) "
        "OR relname ~ '^dl_files_l[0-9]+$') OR relkind = 'S' AND relname ~ '^dl_.*_seq$') "
        "ORDER BY relname"
    ).all()
    quote = connection.dialect.identifier_preparer.quote
    found = tuple((name, kind) for name, kind in relations)
    return _Place(database, schema, owner, writers, found, quote)


def carried_grants(connection: sa.Connection, table: str) -> list[str]:
    """Give a new load's table to whom the others belong, and let those read it who read them."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    found = connection.exec_driver_sql(
        "SELECT CASE WHEN a.grantee = 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END, "
        "string_agg(a.privilege_type, ', '), a.is_grantable "
        "FROM pg_class c, aclexplode(c.relacl) a "
        f"WHERE c.oid = '{_LARGE}'::regclass AND a.grantee <> c.relowner "
        "GROUP BY a.grantee, a.is_grantable"
    ).all()
    statements = [
        f"GRANT {privileges} ON {table} TO {'PUBLIC' if grantee is None else quote(grantee)}"
        + (" WITH GRANT OPTION" if grantable else "")
        for grantee, privileges, grantable in found
    ]
    owner = connection.exec_driver_sql(
        f"SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = '{_LARGE}'::regclass "
        "AND pg_get_userbyid(relowner) <> current_user"
    ).scalar()
    if owner is not None:
        statements.append(f"ALTER TABLE {table} OWNER TO {quote(owner)}")
    return statements


_NEEDS_SCHEMA = (
    "SELECT to_regclass('dl_tables') IS NULL "
    "AND NOT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) "
    "AND has_database_privilege(current_database(), 'CREATE') "
    "AND NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = current_user)"
)
"""Where `public` is closed, as from PostgreSQL 15 on, who may make schemas has one of its own."""


@contextmanager
def kept(connection: sa.Connection) -> Iterator[None]:
    """Around an upgrade, in its transaction: what it makes has the owner and roles of the rest.

    What is made anew under its name gets the rights back that it had. A new table gets those that
    somebody had on all tables, which are readers and writers.
    """
    quote = connection.dialect.identifier_preparer.quote_identifier
    if connection.exec_driver_sql(_NEEDS_SCHEMA).scalar():
        connection.exec_driver_sql("CREATE SCHEMA AUTHORIZATION CURRENT_USER")
    owner = connection.exec_driver_sql(
        "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass('dl_tables') "
        "AND pg_get_userbyid(relowner) <> current_user "
        "AND has_schema_privilege(relowner, relnamespace, 'CREATE')"
    ).scalar()
    if owner is not None:
        connection.exec_driver_sql(f"SET LOCAL ROLE {quote(owner)}")
    before = _rights(connection)
    yield
    for (name, kind), found in _rights(connection).items():
        # A partitioned table of old may be a view now.
        same = [rights for (other, _), rights in before.items() if other == name]
        wanted = same[0] if same else _common(before, "S" if kind == "S" else "rp")
        for grantee, right in sorted(wanted - found):
            if kind != "v" or right == "SELECT":
                on = "SEQUENCE " if kind == "S" else ""
                to = quote(grantee) if grantee else "PUBLIC"
                connection.exec_driver_sql(f"GRANT {right} ON {on}{quote(name)} TO {to}")


_Rights = dict[tuple[str, str], set[tuple[str, str]]]


def _rights(connection: sa.Connection) -> _Rights:
    """(grantee, right) by name and kind of what a catalog has; the grantee '' is everybody."""
    found = connection.exec_driver_sql(
        "SELECT c.relname, c.relkind::text, a.privilege_type, "
        "CASE WHEN a.grantee = 0 THEN '' ELSE pg_get_userbyid(a.grantee) END "
        "FROM pg_class c LEFT JOIN LATERAL aclexplode(c.relacl) a ON a.grantee <> c.relowner "
        "WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema())) "
        "AND c.relkind IN ('r', 'p', 'v', 'S') AND c.relname ~ '^dl_' "
        "AND c.relname !~ '^dl_files_l[0-9]'"
    )
    rights: _Rights = {}
    for name, kind, right, grantee in found:
        some = rights.setdefault((name, kind), set())
        if right is not None:
            some.add((grantee, right))
    return rights


def _common(rights: _Rights, kinds: str) -> set[tuple[str, str]]:
    """What is granted on all of some kinds, but those that only owners change."""
    some = [r for (name, kind), r in rights.items() if kind in kinds and name not in OWNERS_ONLY]
    return set.intersection(*some) if some else set()


def missing_rights(connection: sa.Connection, tables: Iterable[str], own_table: bool) -> str | None:
    """What the user lacks to write `tables`, or to add a table of files; None when nothing."""
    names = ", ".join(f"'{name}'" for name in tables)
    closed = connection.exec_driver_sql(
        f"SELECT t FROM unnest(ARRAY[{names}]) t WHERE NOT (has_table_privilege(t, 'SELECT') "
        "AND has_table_privilege(t, 'INSERT') AND has_table_privilege(t, 'UPDATE')) LIMIT 1"
    ).scalar()
    if closed is not None:
        return f"{_user(connection)} may not write {closed}"
    if not own_table:
        return None
    owner, member, may_create = connection.exec_driver_sql(
        "SELECT pg_get_userbyid(relowner), pg_has_role(relowner, 'USAGE'), "
        "has_schema_privilege(relnamespace, 'CREATE') "
        "AND has_schema_privilege(relowner, relnamespace, 'CREATE') "
        f"FROM pg_class WHERE oid = '{_LARGE}'::regclass"
    ).one()
    if not member:
        return f"{_user(connection)} may not add to {_LARGE}, which belongs to {owner}"
    if not may_create:
        return f"{_user(connection)}, or {owner}, may not create tables in the catalog's schema"
    return None


def _user(connection: sa.Connection) -> str:
    return str(connection.exec_driver_sql("SELECT current_user").scalar())


def needed_role(error: Exception) -> Role:
    """Who may do what the server has denied."""
    statement = getattr(error, "statement", None)
    if statement is None:
        statement = getattr(getattr(error, "cursor", None), "query", None)
    if isinstance(statement, bytes):
        statement = statement.decode(errors="replace")
    return role_of_statement(statement or "")
