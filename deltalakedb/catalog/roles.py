"""Roles on a catalog: readers, writers, owners.

A reader plans, reads, looks; a writer imports, catches up and commits besides; an owner also drops
tables and upgrades the schema. The database checks it: what each of them needs there, `grants`
says as SQL.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

Role = Literal["reader", "writer", "owner"]
ROLES: tuple[Role, ...] = get_args(Role)

OWNERS_ONLY = ("dl_tables", "dl_schema_version")
"""Tables whose rows only owners remove; the second one only they change."""

_OWNERS = re.compile(r"\s*(CREATE|ALTER|DROP|SET|DELETE\s+FROM\s+dl_tables)\b", re.IGNORECASE)
_READERS = re.compile(r"\s*(SELECT|WITH|SHOW)\b(?!.*\bFOR\s+UPDATE\b)", re.IGNORECASE | re.DOTALL)


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
