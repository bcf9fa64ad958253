"""The catalog's schema over time (Alembic), the same on every database.

A revision writes out its own tables, as they were; it never changes again. Views are made last, as
this program wants them. What a revision has to do to existing loads (`load_statements`) comes
after it, a transaction a load: thousands in one would need more locks than a server has.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from deltalakedb.catalog.dialects.base import Dialect

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

VERSION_TABLE = "dl_schema_version"
_PENDING = "upgrade.loads_since"
"""The setting that says from which revision on loads are yet to be altered."""


def upgrade(dialect: Dialect, engine: sa.Engine, revision: str = "head") -> None:
    """Bring a catalog to a revision; in one transaction where the database can, then its loads.

    May run again after a death, and does what is left.
    """
    from alembic import command
    from alembic.runtime.migration import MigrationContext

    with dialect.begin(engine) as connection:
        at = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        before = at.get_current_revision()
        if before is None:
            dialect.clear_unfinished(connection)
        with dialect.upgrading(connection):
            command.upgrade(_config(dialect, connection), revision)
            if revision != "head":
                return
            for statement in dialect.view_statements(connection):
                connection.exec_driver_sql(statement)
        if before is not None and dialect.load_ids(connection):
            _note_pending(connection, before)
    alter_loads(dialect, engine)


def alter_loads(dialect: Dialect, engine: sa.Engine) -> None:
    """Bring existing loads to the schema, as far as they aren't."""
    with engine.connect() as connection:
        since = pending_loads(connection)
        loads = dialect.load_ids(connection) if since is not None else []
    if since is None:
        return
    for load_id in loads:
        with dialect.begin(engine) as connection:
            steps = list(_load_statements(dialect, connection, since, load_id))
            dialect.alter_load(connection, load_id, steps)
    with dialect.begin(engine) as connection:
        connection.execute(
            sa.text("DELETE FROM dl_settings WHERE name = :name"), {"name": _PENDING}
        )


def pending_loads(connection: sa.Connection) -> str | None:
    """The revision from which on existing loads are yet to be altered; None when none are."""
    return connection.execute(
        sa.text("SELECT value FROM dl_settings WHERE name = :name"), {"name": _PENDING}
    ).scalar()


def statements(dialect: Dialect, engine: sa.Engine, before: str) -> str:
    """What `upgrade` would do to a catalog of revision `before`, as SQL; nothing is done."""
    from alembic import command

    with engine.connect() as connection:
        printed = io.StringIO()
        command.upgrade(_config(dialect, connection, printed), f"{before}:head", sql=True)
        loads = dialect.load_ids(connection)
        views = dialect.view_statements(connection)
        for_loads = [
            s for load_id in loads for s in _load_statements(dialect, connection, before, load_id)
        ]
    return printed.getvalue() + "".join(f"\n{s.strip()};\n" for s in (*views, *for_loads))


def _note_pending(connection: sa.Connection, before: str) -> None:
    if pending_loads(connection) is None:
        connection.execute(
            sa.text("INSERT INTO dl_settings (name, value) VALUES (:name, :value)"),
            {"name": _PENDING, "value": before},
        )


def _load_statements(
    dialect: Dialect, connection: sa.Connection, since: str, load_id: int
) -> Iterator[str]:
    from alembic.script import ScriptDirectory

    scripts: ScriptDirectory = ScriptDirectory(str(Path(__file__).parent))
    for script in reversed(list(scripts.iterate_revisions("head", since))):
        step = getattr(script.module, "load_statements", None)
        if step is not None:
            yield from step(dialect, connection, load_id)


def _config(
    dialect: Dialect, connection: sa.Connection, printed: io.StringIO | None = None
) -> Config:
    from alembic.config import Config

    config = Config(output_buffer=printed)
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    config.attributes["dialect"] = dialect
    return config
