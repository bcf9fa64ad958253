"""The catalog's tables that writing, mirroring and moving over keep: what commits and outlives it.

docs/architecture.md says what each row means and who writes it. Times are milliseconds since 1970;
whatever expires is dated by the database's clock.
"""

from __future__ import annotations

import sqlalchemy as sa

from deltalakedb.catalog import tables
from deltalakedb.catalog.records import ADDED as ADDED
from deltalakedb.catalog.records import REMOVED as REMOVED
from deltalakedb.catalog.tables import KEY, LONG

metadata = tables.metadata
_BYTES = sa.LargeBinary().with_variant(sa.LargeBinary(length=2**32 - 1), "mysql", "mariadb")

settings = sa.Table(
    "dl_settings",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("value", LONG, nullable=False),
)
"""Of the catalog itself, such as `warehouse`."""

properties = sa.Table(
    "dl_properties",
    metadata,
    sa.Column("table_key", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("value", LONG, nullable=False),
)
"""Our own properties of a table, which its log doesn't hold."""

mirror = sa.Table(
    "dl_mirror",
    metadata,
    sa.Column("table_key", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("published_version", sa.BigInteger, nullable=False),
    sa.Column("durable_version", sa.BigInteger, nullable=False),
    sa.Column("checkpoint_version", sa.BigInteger),
    sa.Column("checkpoint_at", sa.BigInteger),
    sa.Column("cleaned_until", sa.BigInteger),
    sa.Column("foreign_version", sa.BigInteger),
    sa.Column("foreign_size", sa.BigInteger),
    sa.Column("foreign_digest", sa.String(32)),
    sa.Column("foreign_found_at", sa.BigInteger),
)
"""How far the log follows the catalog; `foreign_…`: a file in our slot that isn't ours."""

commits = sa.Table(
    "dl_commits",
    metadata,
    sa.Column("table_key", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("token", sa.String(64), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("group_id", sa.String(64)),
    sa.Column("committed_at", sa.BigInteger, nullable=False),
)
"""Our own commits by their tokens; outlives loads."""

changes = sa.Table(
    "dl_changes",
    metadata,
    sa.Column("table_key", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.SmallInteger, nullable=False),
    sa.Column("path_key", sa.BigInteger, nullable=False),
    sa.Column("partition_id", sa.BigInteger, nullable=False),
    sa.Column("data_change", sa.Boolean),
)
"""Files that a version added and removed, for those who read an older one."""

outbox = sa.Table(
    "dl_outbox",
    metadata,
    sa.Column("table_key", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("body", _BYTES),
    sa.Column("staged_name", sa.Text),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.String(32), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)
"""Commits until their files are durable in the log: `body`, or the name of a staged file."""

waiting = sa.Table(
    "dl_waiting",
    metadata,
    sa.Column("table_key", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("waiting_name", sa.String(36), primary_key=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("body", _BYTES, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)
"""Blind appends until whoever commits next to the table takes them along (group commit)."""

staged_files = sa.Table(
    "dl_staged_files",
    metadata,
    sa.Column("token", sa.String(64), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("table_key", sa.BigInteger),
    sa.Column("root", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("registered_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("reaped", sa.Boolean, nullable=False),
    sa.Index("dl_staged_files_expiry", "table_key", "expires_at"),
)
"""Files that a write is about to put below `root`; gone with its commit."""

leases = sa.Table(
    "dl_leases",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("token", sa.String(64), nullable=False),
    sa.Column("acquired_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
)

transactions = sa.Table(
    "dl_transactions",
    metadata,
    sa.Column("transaction_key", KEY, primary_key=True, autoincrement=True),
    sa.Column("group_id", sa.String(64), nullable=False, unique=True),
    sa.Column("isolation", sa.String(32), nullable=False),
    sa.Column("members", LONG, nullable=False),
    sa.Column("committed_at", sa.BigInteger, nullable=False),
    sa.Column("published_at", sa.BigInteger),
)
"""Commits of several tables; `members`: JSON, [[table id, version], …] in key order."""

rollback_points = sa.Table(
    "dl_rollback_points",
    metadata,
    sa.Column("rollback_key", KEY, primary_key=True, autoincrement=True),
    sa.Column("table_key", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.String(32), nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("authority", sa.String(16), nullable=False),
    sa.Column("cutover_id", sa.String(64)),
    sa.Column("protocol", LONG),
    sa.Column("table_metadata", LONG),
    sa.Column("note", LONG),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("retired_at", sa.BigInteger),
    sa.Index("dl_rollback_points_table", "table_key", "version"),
)

migrations = sa.Table(
    "dl_migrations",
    metadata,
    sa.Column("migration_key", KEY, primary_key=True, autoincrement=True),
    sa.Column("location_hash", sa.String(32), nullable=False, unique=True),
    sa.Column("location", sa.Text, nullable=False),
    sa.Column("log_location", sa.Text, nullable=False),
    sa.Column("table_id", sa.String(36)),
    sa.Column("table_name", sa.String(512), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("strategy", sa.String(32)),
    sa.Column("log_writers", sa.String(32)),
    sa.Column("plan_id", sa.String(64)),
    sa.Column("cutover_id", sa.String(64)),
    sa.Column("parity_version", sa.BigInteger),
    sa.Column("fence_version", sa.BigInteger),
    sa.Column("probation_until", sa.BigInteger),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("error_kind", sa.String(64)),
    sa.Column("reason", LONG),
    sa.Column("details", LONG),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
)
"""Where each table is on its way into the catalog; one row a location."""
