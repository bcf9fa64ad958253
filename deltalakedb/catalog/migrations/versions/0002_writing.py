"""What writing needs: heads in rows of their own, commits, the mirror, moving over.

Each step may run again after a death, as DDL ends a transaction on some databases. The head moves
to `dl_heads`: a program of revision 0001 that is still open fails when it writes.

Revision ID: 0002
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_LIVE = 2**63 - 1
_MOVED = "moved_head"
"""What `dl_tables.head_version` is called meanwhile: whoever writes it fails from here on."""


def _long() -> sa.types.TypeEngine[str]:
    """Text without a practical limit."""
    return sa.Text().with_variant(sa.Text(length=2**32 - 1), "mysql", "mariadb")


def _bytes() -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary().with_variant(sa.LargeBinary(length=2**32 - 1), "mysql", "mariadb")


def _key() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _file_columns() -> list[sa.Column[object]]:
    """Of `dl_files`, and of the table of each load."""
    plain: list[sa.Column[object]] = [
        sa.Column("load_id", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("dv_id", _long()),
        sa.Column("partition_id", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger()),
        sa.Column("modification_time", sa.BigInteger()),
        sa.Column("data_change", sa.Boolean()),
        sa.Column("num_records", sa.BigInteger()),
        sa.Column("stats", _long()),
        sa.Column("tags", _long()),
        sa.Column("dv", _long()),
        sa.Column("base_row_id", sa.BigInteger()),
        sa.Column("default_row_commit_version", sa.BigInteger()),
        sa.Column("clustering_provider", sa.Text()),
        sa.Column("extra", _long()),
        sa.Column("added_version", sa.BigInteger(), nullable=False),
        sa.Column("removed_version", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.BigInteger()),
        sa.Column("path_key", sa.BigInteger(), nullable=False),
    ]
    for slot in range(8):
        plain += [sa.Column(f"lo{slot}", sa.BigInteger()), sa.Column(f"hi{slot}", sa.BigInteger())]
    return plain


def _new_tables() -> dict[str, list[Any]]:
    return {
        "dl_files_heap": [
            *_file_columns(),
            sa.Index("dl_files_heap_path", "load_id", "path_key"),
            sa.Index("dl_files_heap_partition", "load_id", "partition_id", "removed_version"),
        ],
        "dl_loads": [
            sa.Column("load_id", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("run_key", sa.BigInteger, nullable=False),
            sa.Column("created_at", sa.BigInteger, nullable=False),
        ],
        "dl_heads": [
            sa.Column("table_key", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("head_version", sa.BigInteger, nullable=False),
            sa.Column("known_since", sa.BigInteger, nullable=False),
            sa.Column("epoch", sa.BigInteger, nullable=False),
            sa.Column("authority", sa.String(16), nullable=False),
            sa.Column("live_load", sa.BigInteger, nullable=False),
            sa.Column("num_files", sa.BigInteger, nullable=False),
            sa.Column("total_bytes", sa.BigInteger, nullable=False),
            sa.Column("updated_at", sa.BigInteger, nullable=False),
            sa.Index("dl_heads_live_load", "live_load", unique=True),
        ],
        "dl_settings": [
            sa.Column("name", sa.String(255), primary_key=True),
            sa.Column("value", _long(), nullable=False),
        ],
        "dl_properties": [
            sa.Column("table_key", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("name", sa.String(255), primary_key=True),
            sa.Column("value", _long(), nullable=False),
        ],
        "dl_mirror": [
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
        ],
        "dl_commits": [
            sa.Column("table_key", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("token", sa.String(64), primary_key=True),
            sa.Column("version", sa.BigInteger, nullable=False),
            sa.Column("epoch", sa.BigInteger, nullable=False),
            sa.Column("group_id", sa.String(64)),
            sa.Column("committed_at", sa.BigInteger, nullable=False),
            sa.Index("dl_commits_version", "table_key", "version"),
        ],
        "dl_changes": [
            sa.Column("table_key", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("kind", sa.SmallInteger, nullable=False),
            sa.Column("path_key", sa.BigInteger, nullable=False),
            sa.Column("partition_id", sa.BigInteger, nullable=False),
            sa.Column("data_change", sa.Boolean),
        ],
        "dl_outbox": [
            sa.Column("table_key", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("epoch", sa.BigInteger, nullable=False),
            sa.Column("body", _bytes()),
            sa.Column("staged_name", sa.Text),
            sa.Column("size", sa.BigInteger, nullable=False),
            sa.Column("digest", sa.String(32), nullable=False),
            sa.Column("created_at", sa.BigInteger, nullable=False),
        ],
        "dl_staged_files": [
            sa.Column("token", sa.String(64), primary_key=True),
            sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("table_key", sa.BigInteger),
            sa.Column("root", sa.Text, nullable=False),
            sa.Column("path", sa.Text, nullable=False),
            sa.Column("registered_at", sa.BigInteger, nullable=False),
            sa.Column("expires_at", sa.BigInteger, nullable=False),
            sa.Column("reaped", sa.Boolean, nullable=False),
            sa.Index("dl_staged_files_expiry", "table_key", "expires_at"),
        ],
        "dl_leases": [
            sa.Column("name", sa.String(255), primary_key=True),
            sa.Column("holder", sa.Text, nullable=False),
            sa.Column("token", sa.String(64), nullable=False),
            sa.Column("acquired_at", sa.BigInteger, nullable=False),
            sa.Column("expires_at", sa.BigInteger, nullable=False),
        ],
        "dl_transactions": [
            sa.Column("transaction_key", _key(), primary_key=True, autoincrement=True),
            sa.Column("group_id", sa.String(64), nullable=False, unique=True),
            sa.Column("isolation", sa.String(32), nullable=False),
            sa.Column("members", _long(), nullable=False),
            sa.Column("committed_at", sa.BigInteger, nullable=False),
            sa.Column("published_at", sa.BigInteger),
        ],
        "dl_rollback_points": [
            sa.Column("rollback_key", _key(), primary_key=True, autoincrement=True),
            sa.Column("table_key", sa.BigInteger, nullable=False),
            sa.Column("reason", sa.String(32), nullable=False),
            sa.Column("version", sa.BigInteger, nullable=False),
            sa.Column("epoch", sa.BigInteger, nullable=False),
            sa.Column("authority", sa.String(16), nullable=False),
            sa.Column("cutover_id", sa.String(64)),
            sa.Column("protocol", _long()),
            sa.Column("table_metadata", _long()),
            sa.Column("note", _long()),
            sa.Column("created_at", sa.BigInteger, nullable=False),
            sa.Column("retired_at", sa.BigInteger),
            sa.Index("dl_rollback_points_table", "table_key", "version"),
        ],
        "dl_migrations": [
            sa.Column("migration_key", _key(), primary_key=True, autoincrement=True),
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
            sa.Column("reason", _long()),
            sa.Column("details", _long()),
            sa.Column("created_at", sa.BigInteger, nullable=False),
            sa.Column("updated_at", sa.BigInteger, nullable=False),
        ],
    }


def upgrade() -> None:
    dialect = context.config.attributes["dialect"]
    connection = context.config.attributes["connection"]
    schema = sa.inspect(connection)
    present = set(schema.get_table_names())
    options = dialect.table_options(connection)
    if dialect.partitions_files and "dl_files" in present:
        op.rename_table("dl_files", "dl_files_large")
    for statement in dialect.drop_view_statements(connection):
        op.execute(statement)
    for name, columns in _new_tables().items():
        if name not in present:
            op.create_table(name, *columns, **options)
    for statement in dialect.hot_table_statements("dl_heads"):
        op.execute(statement)
    since = sa.Column("changes_since", sa.BigInteger(), nullable=False, server_default="0")
    _add_column(schema, "dl_tables", since)
    for name in ("live_files", "live_bytes"):
        _add_column(schema, "dl_versions", sa.Column(name, sa.BigInteger()))
    _add_column(schema, "dl_partitions", sa.Column("emptied_at", sa.BigInteger()))
    if "dl_partitions_emptied" not in {i["name"] for i in schema.get_indexes("dl_partitions")}:
        op.create_index("dl_partitions_emptied", "dl_partitions", ["load_id", "emptied_at"])
    if "dl_import_runs_status" not in {i["name"] for i in schema.get_indexes("dl_import_runs")}:
        op.create_index("dl_import_runs_status", "dl_import_runs", ["status"])
    # Loads, and what failed imports may have left.
    op.execute(
        "INSERT INTO dl_loads (load_id, run_key, created_at) "
        "SELECT run_key, run_key, started_at FROM dl_import_runs r "
        "WHERE (status <> 'succeeded' OR load_id = run_key) "
        "AND NOT EXISTS (SELECT 1 FROM dl_loads l WHERE l.load_id = r.run_key)"
    )
    _move_heads({column["name"] for column in schema.get_columns("dl_tables")})


def _add_column(schema: sa.Inspector, table: str, column: sa.Column[Any]) -> None:
    if column.name not in {c["name"] for c in schema.get_columns(table)}:
        op.add_column(table, column)


def _move_heads(columns: set[str]) -> None:
    if not columns & {"head_version", _MOVED}:
        return
    if _MOVED not in columns:
        op.execute(f"ALTER TABLE dl_tables RENAME COLUMN head_version TO {_MOVED}")
    if "live_load" in columns:
        op.execute(f"UPDATE dl_tables SET changes_since = {_MOVED}")
        op.execute(
            "INSERT INTO dl_heads (table_key, head_version, known_since, epoch, authority, "
            "live_load, num_files, total_bytes, updated_at) "
            f"SELECT table_key, {_MOVED}, known_since, 1, authority, "
            "live_load, num_files, total_bytes, updated_at FROM dl_tables t "
            "WHERE NOT EXISTS (SELECT 1 FROM dl_heads h WHERE h.table_key = t.table_key)"
        )
        op.execute(
            "INSERT INTO dl_mirror (table_key, published_version, durable_version) "
            "SELECT table_key, head_version, head_version FROM dl_heads h "
            "WHERE NOT EXISTS (SELECT 1 FROM dl_mirror m WHERE m.table_key = h.table_key)"
        )
    for name in (
        "live_load",
        "known_since",
        "num_files",
        "total_bytes",
        "authority",
        "updated_at",
    ):
        if name in columns:
            op.drop_column("dl_tables", name)
    op.drop_column("dl_tables", _MOVED)


def load_statements(dialect: Any, connection: sa.Connection, load_id: int) -> list[str]:
    """For each existing load, afterwards, a transaction a load: what its rows say of versions.

    Nothing that is known already is touched, so new commits may come in between.
    """
    files = f"dl_files_l{load_id}"
    life = "added_version < removed_version"
    return [
        *dialect.replace_index_statements(
            connection,
            load_id,
            ("partition_id", "added_version"),
            ("partition_id", "removed_version"),
        ),
        "CREATE TEMPORARY TABLE dl_running "
        "(version BIGINT PRIMARY KEY, files BIGINT, bytes BIGINT)",
        f"""
INSERT INTO dl_running (version, files, bytes)
SELECT version, sum(files) OVER (ORDER BY version), sum(bytes) OVER (ORDER BY version)
FROM (SELECT version, sum(files) AS files, sum(bytes) AS bytes
      FROM (SELECT added_version AS version, 1 AS files, coalesce(size, 0) AS bytes
            FROM {files} WHERE {life}
            UNION ALL
            SELECT removed_version, -1, -coalesce(size, 0)
            FROM {files} WHERE {life} AND removed_version < {_LIVE}
            UNION ALL
            SELECT version, 0, 0 FROM dl_versions WHERE load_id = {load_id}) changes
      GROUP BY version) summed""",
        *(
            f"UPDATE dl_versions SET live_{what} = (SELECT r.{what} FROM dl_running r "
            "WHERE r.version = dl_versions.version) "
            f"WHERE load_id = {load_id} AND readable AND live_{what} IS NULL"
            for what in ("files", "bytes")
        ),
        "DROP TABLE dl_running",
        "UPDATE dl_partitions SET emptied_at = (SELECT max(f.removed_version) "
        f"FROM {files} f WHERE f.partition_id = dl_partitions.partition_id "
        "AND f.added_version < f.removed_version) "
        f"WHERE load_id = {load_id} AND num_files = 0 AND emptied_at IS NULL",
    ]
