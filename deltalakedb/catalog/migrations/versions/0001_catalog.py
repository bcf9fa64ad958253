"""The catalog's first schema.

Revision ID: 0001
"""

from __future__ import annotations

import time
import uuid

import sqlalchemy as sa
from alembic import context, op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _long() -> sa.types.TypeEngine[str]:
    """Text without a practical limit."""
    return sa.Text().with_variant(sa.Text(length=2**32 - 1), "mysql", "mariadb")


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


_VIEWS = {
    "dl_history": """
SELECT t.namespace, t.name AS table_name, v.version, v.commit_time, v.operation,
       v.operation_parameters, v.operation_metrics, v.engine_info, v.num_adds, v.num_removes,
       v.bytes_added, v.readable
FROM dl_tables t JOIN dl_versions v ON v.load_id = t.live_load
""",
    "dl_table_summary": """
SELECT t.table_id, t.namespace, t.name AS table_name, t.location, t.authority, t.head_version,
       t.known_since, t.num_files, t.total_bytes,
       (SELECT count(*) FROM dl_partitions p
        WHERE p.load_id = t.live_load AND p.num_files > 0) AS num_partitions,
       t.updated_at
FROM dl_tables t
""",
    "dl_live_files": f"""
SELECT t.namespace, t.name AS table_name, f.path, f.size, f.modification_time, f.num_records,
       p.partition_values, f.dv_id, f.added_version, f.stats
FROM dl_tables t
JOIN dl_files f ON f.load_id = t.live_load
JOIN dl_partitions p ON p.load_id = f.load_id AND p.partition_id = f.partition_id
WHERE f.removed_version = {2**63 - 1}
""",
}


def upgrade() -> None:
    dialect = context.config.attributes["dialect"]
    options = dialect.table_options(context.config.attributes["connection"])
    op.create_table(
        "dl_catalog",
        sa.Column("catalog_id", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("catalog_id"),
        **options,
    )
    op.create_table(
        "dl_change_files",
        sa.Column("load_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("partition_values", _long(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("tags", _long(), nullable=True),
        **options,
    )
    op.create_index(
        "dl_change_files_version", "dl_change_files", ["load_id", "version"], unique=False
    )
    op.create_table(
        "dl_domains",
        sa.Column("load_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("domain", sa.String(length=512), nullable=False),
        sa.Column("added_version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("removed_version", sa.BigInteger(), nullable=False),
        sa.Column("configuration", _long(), nullable=False),
        sa.PrimaryKeyConstraint("load_id", "domain", "added_version"),
        **options,
    )
    op.create_table(
        "dl_import_parts",
        sa.Column("run_key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first_version", sa.BigInteger(), nullable=False),
        sa.Column("last_version", sa.BigInteger(), nullable=False),
        sa.Column("log_bytes", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("file_rows", sa.BigInteger(), nullable=True),
        sa.Column("loaded_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("run_key", "part"),
        **options,
    )
    op.create_table(
        "dl_import_runs",
        sa.Column(
            "run_key",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("table_id", sa.String(length=36), nullable=False),
        sa.Column("table_name", sa.String(length=512), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("load_id", sa.BigInteger(), nullable=True),
        sa.Column("from_version", sa.BigInteger(), nullable=True),
        sa.Column("to_version", sa.BigInteger(), nullable=True),
        sa.Column("checkpoint_version", sa.BigInteger(), nullable=True),
        sa.Column("checkpoint_fingerprint", sa.Text(), nullable=True),
        sa.Column("versions", sa.BigInteger(), nullable=True),
        sa.Column("adds", sa.BigInteger(), nullable=True),
        sa.Column("removes", sa.BigInteger(), nullable=True),
        sa.Column("live_files", sa.BigInteger(), nullable=True),
        sa.Column("workers", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("error_kind", sa.String(length=64), nullable=True),
        sa.Column("error_message", _long(), nullable=True),
        sa.PrimaryKeyConstraint("run_key"),
        sa.UniqueConstraint("run_id"),
        **options,
    )
    op.create_table(
        "dl_metadata",
        sa.Column("load_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("added_version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("removed_version", sa.BigInteger(), nullable=False),
        sa.Column("metadata_id", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("description", _long(), nullable=True),
        sa.Column("format_provider", sa.Text(), nullable=True),
        sa.Column("schema_string", _long(), nullable=True),
        sa.Column("partition_columns", _long(), nullable=False),
        sa.Column("configuration", _long(), nullable=False),
        sa.Column("created_time", sa.BigInteger(), nullable=True),
        sa.Column("body", _long(), nullable=False),
        sa.PrimaryKeyConstraint("load_id", "added_version"),
        **options,
    )
    op.create_table(
        "dl_other_actions",
        sa.Column("load_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("body", _long(), nullable=False),
        **options,
    )
    op.create_index(
        "dl_other_actions_version", "dl_other_actions", ["load_id", "version"], unique=False
    )
    op.create_table(
        "dl_parity_runs",
        sa.Column(
            "parity_key",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("table_id", sa.String(length=36), nullable=False),
        sa.Column("compared_version", sa.BigInteger(), nullable=True),
        sa.Column("catalog_version", sa.BigInteger(), nullable=True),
        sa.Column("log_version", sa.BigInteger(), nullable=True),
        sa.Column("parity", sa.Boolean(), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=False),
        sa.Column("lag_seconds", sa.Double(), nullable=False),
        sa.Column("file_drift", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("parity_key"),
        **options,
    )
    op.create_table(
        "dl_partitions",
        sa.Column("load_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("partition_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("partition_values", _long(), nullable=False),
        sa.Column("num_files", sa.BigInteger(), nullable=False),
        sa.Column("total_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("load_id", "partition_id"),
        **options,
    )
    op.create_table(
        "dl_protocols",
        sa.Column("load_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("added_version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("removed_version", sa.BigInteger(), nullable=False),
        sa.Column("min_reader_version", sa.Integer(), nullable=False),
        sa.Column("min_writer_version", sa.Integer(), nullable=False),
        sa.Column("reader_features", sa.Text(), nullable=True),
        sa.Column("writer_features", sa.Text(), nullable=True),
        sa.Column("body", _long(), nullable=False),
        sa.PrimaryKeyConstraint("load_id", "added_version"),
        **options,
    )
    op.create_table(
        "dl_tables",
        sa.Column(
            "table_key",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("table_id", sa.String(length=36), nullable=False),
        sa.Column("namespace", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("location_hash", sa.String(length=32), nullable=False),
        sa.Column("log_location", sa.Text(), nullable=False),
        sa.Column("authority", sa.String(length=16), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("head_version", sa.BigInteger(), nullable=False),
        sa.Column("known_since", sa.BigInteger(), nullable=False),
        sa.Column("live_load", sa.BigInteger(), nullable=False),
        sa.Column("num_files", sa.BigInteger(), nullable=False),
        sa.Column("total_bytes", sa.BigInteger(), nullable=False),
        sa.Column("skipping", _long(), nullable=False),
        sa.Column("unreadable_features", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("table_key"),
        sa.UniqueConstraint("location_hash"),
        sa.UniqueConstraint("namespace", "name", name="dl_tables_name"),
        sa.UniqueConstraint("table_id"),
        **options,
    )
    op.create_table(
        "dl_txns",
        sa.Column("load_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("app_id", sa.String(length=512), nullable=False),
        sa.Column("added_version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("removed_version", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("last_updated", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("load_id", "app_id", "added_version"),
        **options,
    )
    op.create_table(
        "dl_versions",
        sa.Column("load_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("readable", sa.Boolean(), nullable=False),
        sa.Column("commit_time", sa.BigInteger(), nullable=False),
        sa.Column("file_time", sa.BigInteger(), nullable=True),
        sa.Column("in_commit_time", sa.BigInteger(), nullable=True),
        sa.Column("info_time", sa.BigInteger(), nullable=True),
        sa.Column("operation", sa.Text(), nullable=True),
        sa.Column("operation_parameters", _long(), nullable=True),
        sa.Column("operation_metrics", _long(), nullable=True),
        sa.Column("engine_info", sa.Text(), nullable=True),
        sa.Column("txn_id", sa.Text(), nullable=True),
        sa.Column("read_version", sa.BigInteger(), nullable=True),
        sa.Column("isolation_level", sa.Text(), nullable=True),
        sa.Column("is_blind_append", sa.Boolean(), nullable=True),
        sa.Column("user_metadata", _long(), nullable=True),
        sa.Column("commit_info", _long(), nullable=True),
        sa.Column("num_adds", sa.BigInteger(), nullable=True),
        sa.Column("num_removes", sa.BigInteger(), nullable=True),
        sa.Column("bytes_added", sa.BigInteger(), nullable=True),
        sa.Column("log_bytes", sa.BigInteger(), nullable=True),
        sa.Column("log_digest", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("load_id", "version"),
        **options,
    )
    op.bulk_insert(
        sa.table("dl_catalog", sa.column("catalog_id"), sa.column("created_at")),
        [{"catalog_id": str(uuid.uuid4()), "created_at": time.time_ns() // 1_000_000}],
    )
    if dialect.partitions_files:
        op.create_table("dl_files", *_file_columns(), postgresql_partition_by="LIST (load_id)")
    else:
        nulls = ", ".join(f"NULL AS {column.name}" for column in _file_columns())
        op.execute(f"CREATE VIEW dl_files AS SELECT {nulls} FROM dl_tables WHERE 1 = 0")
    for name, select in _VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {select}")


def downgrade() -> None:
    """Not offered: going back would lose history. Restore the database from its backup."""
    raise RuntimeError("a catalog can't be downgraded; restore the database from its backup")
