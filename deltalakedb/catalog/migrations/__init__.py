"""The catalog's schema over time (Alembic), the same on every database."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from deltalakedb.catalog.dialects.base import Dialect

VERSION_TABLE = "dl_schema_version"


def upgrade(dialect: Dialect, engine: sa.Engine) -> None:
    """Bring a catalog to the newest schema; in one transaction where the database can."""
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    with dialect.begin(engine) as connection:
        at = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        if at.get_current_revision() is None:
            dialect.clear_unfinished(connection)
        config.attributes["connection"] = connection
        config.attributes["dialect"] = dialect
        command.upgrade(config, "head")
