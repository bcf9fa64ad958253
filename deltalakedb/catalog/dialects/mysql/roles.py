"""Who may do what on MySQL and MariaDB.

Rights are on the database, as each large load is a table of its own. Removing rows is a right on
single tables, so that what only owners remove stays out of a writer's reach.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pymysql
import sqlalchemy as sa

from deltalakedb.catalog.dialects.mysql.error import number_and_text
from deltalakedb.catalog.roles import OWNERS_ONLY, Role, catalog_names, role_of_statement
from deltalakedb.catalog.views import VIEWS

DENIED = frozenset({1044, 1142, 1143, 1227})
_RIGHTS = {
    "reader": "SELECT, SHOW VIEW",
    "writer": "SELECT, INSERT, UPDATE, CREATE, DROP, ALTER, INDEX, CREATE VIEW, SHOW VIEW",
    "owner": "ALL PRIVILEGES",
}


def grants(connection: sa.Connection, role: Role, to: str) -> Iterator[str]:
    """The statements after which `to` is reader, writer or owner of the catalog there."""
    name, at, host = to.rpartition("@")
    account = f"{_text(name if at else to)}@{_text(host if at else '%')}"
    database = str(connection.exec_driver_sql("SELECT DATABASE()").scalar())
    yield f"GRANT {_RIGHTS[role]} ON {_pattern(connection, database)}.* TO {account}"
    if role == "writer":
        for table in catalog_names():
            if table not in (*OWNERS_ONLY, *VIEWS):
                yield f"GRANT DELETE ON {_quoted(database)}.{table} TO {account}"


def _pattern(connection: sa.Connection, database: str) -> str:
    """The database where a name may be a pattern; with partial revokes none is."""
    partial = connection.exec_driver_sql("SHOW VARIABLES LIKE 'partial_revokes'").all()
    if not partial or partial[0][1] != "ON":
        database = database.replace("_", "\\_").replace("%", "\\%")
    return _quoted(database)


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def try_table(cursor: Any) -> str | None:
    """Make and remove a table and a view as a large load does; what the server denies, if it does.

    Nobody but an administrator can read which rights an account has from all its roles.
    """
    name = f"dl_rights_{secrets.token_hex(6)}"
    try:
        try:
            cursor.execute(f"CREATE TABLE {name} (x BIGINT)")
            cursor.execute(f"ALTER TABLE {name} ADD INDEX x (x)")
            cursor.execute(f"CREATE OR REPLACE VIEW {name}_view AS SELECT x FROM {name}")
        finally:
            cursor.execute(f"DROP VIEW IF EXISTS {name}_view")
            cursor.execute(f"DROP TABLE IF EXISTS {name}")
    except pymysql.MySQLError as error:
        number, text = number_and_text(error)
        if number not in DENIED:
            raise
        return text
    return None


def needed_role(text: str) -> Role:
    """Who may do what the server has denied, as far as its message says."""
    command, _, rest = text.partition(" command denied")
    if not rest:
        return "reader"
    if "locking" in command:
        return "writer"  # "SELECT with locking clause command denied"
    of = rest.rpartition(" for table ")[2].strip("'`").rpartition("`.`")[2]
    return role_of_statement(f"{command} FROM {of}")
