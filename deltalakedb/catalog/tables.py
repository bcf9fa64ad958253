"""The catalog's tables (prefix `dl_`), as SQLAlchemy sees them.

A *load* is one complete image of a Delta table, made by one import run; its number is the run's.
All rows of a Delta table carry the `load_id`, and `dl_heads.live_load` says which load is seen:
moving that pointer is the swap. The files of a large load are a physical table of their own,
`dl_files_l<load_id>` (a partition of `dl_files_large` where the database has partitions); small
loads, whose ids are negative, share `dl_files_heap`.
Intervals are half-open: [added_version, removed_version), 2^63-1 while live.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from deltalakedb.catalog.records import HEAP, load_files_name
from deltalakedb.catalog.records import SLOTS as SLOTS

metadata = sa.MetaData()

KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")
LONG = sa.Text().with_variant(sa.Text(length=2**32 - 1), "mysql", "mariadb")

catalog = sa.Table(
    "dl_catalog",
    metadata,
    sa.Column("catalog_id", sa.String(36), primary_key=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)

tables = sa.Table(
    "dl_tables",
    metadata,
    sa.Column("table_key", KEY, primary_key=True, autoincrement=True),
    sa.Column("table_id", sa.String(36), nullable=False, unique=True),
    sa.Column("namespace", sa.String(255), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("location", sa.Text, nullable=False),
    sa.Column("location_hash", sa.String(32), nullable=False, unique=True),
    sa.Column("log_location", sa.Text, nullable=False),
    sa.Column("mode", sa.String(16), nullable=False),
    sa.Column("skipping", LONG, nullable=False),
    sa.Column("unreadable_features", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("changes_since", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("namespace", "name", name="dl_tables_name"),
)

heads = sa.Table(
    "dl_heads",
    metadata,
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
)
"""What every commit moves, in a narrow row: the lock of whoever changes a table."""

versions = sa.Table(
    "dl_versions",
    metadata,
    sa.Column("load_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("readable", sa.Boolean, nullable=False),
    sa.Column("commit_time", sa.BigInteger, nullable=False),
    sa.Column("file_time", sa.BigInteger),
    sa.Column("in_commit_time", sa.BigInteger),
    sa.Column("info_time", sa.BigInteger),
    sa.Column("operation", sa.Text),
    sa.Column("operation_parameters", LONG),
    sa.Column("operation_metrics", LONG),
    sa.Column("engine_info", sa.Text),
    sa.Column("txn_id", sa.Text),
    sa.Column("read_version", sa.BigInteger),
    sa.Column("isolation_level", sa.Text),
    sa.Column("is_blind_append", sa.Boolean),
    sa.Column("user_metadata", LONG),
    sa.Column("commit_info", LONG),
    sa.Column("num_adds", sa.BigInteger),
    sa.Column("num_removes", sa.BigInteger),
    sa.Column("bytes_added", sa.BigInteger),
    sa.Column("log_bytes", sa.BigInteger),
    sa.Column("log_digest", sa.String(32)),
    sa.Column("live_files", sa.BigInteger),
    sa.Column("live_bytes", sa.BigInteger),
)
"""`live_files`, `live_bytes`: of the version's snapshot; null where it can't be read."""


def _file_columns() -> list[sa.Column[object]]:
    plain: list[sa.Column[object]] = [
        sa.Column("load_id", sa.BigInteger, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("dv_id", LONG),
        sa.Column("partition_id", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger),
        sa.Column("modification_time", sa.BigInteger),
        sa.Column("data_change", sa.Boolean),
        sa.Column("num_records", sa.BigInteger),
        sa.Column("stats", LONG),
        sa.Column("tags", LONG),
        sa.Column("dv", LONG),
        sa.Column("base_row_id", sa.BigInteger),
        sa.Column("default_row_commit_version", sa.BigInteger),
        sa.Column("clustering_provider", sa.Text),
        sa.Column("extra", LONG),
        sa.Column("added_version", sa.BigInteger, nullable=False),
        sa.Column("removed_version", sa.BigInteger, nullable=False),
        sa.Column("removed_at", sa.BigInteger),
        sa.Column("path_key", sa.BigInteger, nullable=False),
    ]
    for slot in range(SLOTS):
        plain += [sa.Column(f"lo{slot}", sa.BigInteger), sa.Column(f"hi{slot}", sa.BigInteger)]
    return plain


files = sa.Table("dl_files", sa.MetaData(), *_file_columns())
"""The view of all loads' files."""


heap = sa.Table(
    HEAP,
    metadata,
    *_file_columns(),
    sa.Index("dl_files_heap_path", "load_id", "path_key"),
    sa.Index("dl_files_heap_partition", "load_id", "partition_id", "removed_version"),
)
"""The files of all small loads."""

loads = sa.Table(
    "dl_loads",
    metadata,
    sa.Column("load_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("run_key", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)
"""Loads that may have rows: from before the first until after the last is removed."""


def load_files(load_id: int, **options: Any) -> sa.Table:
    """The physical table of a load's files, outside the catalog's own metadata.

    `options`: those of the dialect, where it is to be created.
    """
    return sa.Table(load_files_name(load_id), sa.MetaData(), *_file_columns(), **options)


partitions = sa.Table(
    "dl_partitions",
    metadata,
    sa.Column("load_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("partition_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("partition_values", LONG, nullable=False),
    sa.Column("num_files", sa.BigInteger, nullable=False),
    sa.Column("total_bytes", sa.BigInteger, nullable=False),
    sa.Column("emptied_at", sa.BigInteger),
    sa.Index("dl_partitions_emptied", "load_id", "emptied_at"),
)
"""Counts are the head's. `emptied_at`: the version that took the last file; null while any is."""


def _interval(*columns: sa.Column[object]) -> list[sa.Column[object]]:
    return [
        sa.Column("load_id", sa.BigInteger, primary_key=True, autoincrement=False),
        *columns,
        sa.Column("added_version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("removed_version", sa.BigInteger, nullable=False),
    ]


metadatas = sa.Table(
    "dl_metadata",
    metadata,
    *_interval(),
    sa.Column("metadata_id", sa.Text),
    sa.Column("name", sa.Text),
    sa.Column("description", LONG),
    sa.Column("format_provider", sa.Text),
    sa.Column("schema_string", LONG),
    sa.Column("partition_columns", LONG, nullable=False),
    sa.Column("configuration", LONG, nullable=False),
    sa.Column("created_time", sa.BigInteger),
    sa.Column("body", LONG, nullable=False),
)

protocols = sa.Table(
    "dl_protocols",
    metadata,
    *_interval(),
    sa.Column("min_reader_version", sa.Integer, nullable=False),
    sa.Column("min_writer_version", sa.Integer, nullable=False),
    sa.Column("reader_features", sa.Text),
    sa.Column("writer_features", sa.Text),
    sa.Column("body", LONG, nullable=False),
)

txns = sa.Table(
    "dl_txns",
    metadata,
    *_interval(sa.Column("app_id", sa.String(512), primary_key=True)),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("last_updated", sa.BigInteger),
)

domains = sa.Table(
    "dl_domains",
    metadata,
    *_interval(sa.Column("domain", sa.String(512), primary_key=True)),
    sa.Column("configuration", LONG, nullable=False),
)

change_files = sa.Table(
    "dl_change_files",
    metadata,
    sa.Column("load_id", sa.BigInteger, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("partition_values", LONG, nullable=False),
    sa.Column("size", sa.BigInteger),
    sa.Column("tags", LONG),
    sa.Index("dl_change_files_version", "load_id", "version"),
)

other_actions = sa.Table(
    "dl_other_actions",
    metadata,
    sa.Column("load_id", sa.BigInteger, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("body", LONG, nullable=False),
    sa.Index("dl_other_actions_version", "load_id", "version"),
)

import_runs = sa.Table(
    "dl_import_runs",
    metadata,
    sa.Column("run_key", KEY, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.String(36), nullable=False, unique=True),
    sa.Column("table_id", sa.String(36), nullable=False),
    sa.Column("table_name", sa.String(512), nullable=False),
    sa.Column("location", sa.Text, nullable=False),
    sa.Column("mode", sa.String(16), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("load_id", sa.BigInteger),
    sa.Column("from_version", sa.BigInteger),
    sa.Column("to_version", sa.BigInteger),
    sa.Column("checkpoint_version", sa.BigInteger),
    sa.Column("checkpoint_fingerprint", sa.Text),
    sa.Column("versions", sa.BigInteger),
    sa.Column("adds", sa.BigInteger),
    sa.Column("removes", sa.BigInteger),
    sa.Column("live_files", sa.BigInteger),
    sa.Column("workers", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Double),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sa.Column("finished_at", sa.BigInteger),
    sa.Column("error_kind", sa.String(64)),
    sa.Column("error_message", LONG),
    sa.Index("dl_import_runs_status", "status"),
)

import_parts = sa.Table(
    "dl_import_parts",
    metadata,
    sa.Column("run_key", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("first_version", sa.BigInteger, nullable=False),
    sa.Column("last_version", sa.BigInteger, nullable=False),
    sa.Column("log_bytes", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("file_rows", sa.BigInteger),
    sa.Column("loaded_at", sa.BigInteger),
)

parity_runs = sa.Table(
    "dl_parity_runs",
    metadata,
    sa.Column("parity_key", KEY, primary_key=True, autoincrement=True),
    sa.Column("table_id", sa.String(36), nullable=False),
    sa.Column("compared_version", sa.BigInteger),
    sa.Column("catalog_version", sa.BigInteger),
    sa.Column("log_version", sa.BigInteger),
    sa.Column("parity", sa.Boolean, nullable=False),
    sa.Column("exit_code", sa.Integer, nullable=False),
    sa.Column("lag_seconds", sa.Double, nullable=False),
    sa.Column("file_drift", sa.BigInteger, nullable=False),
    sa.Column("finished_at", sa.BigInteger, nullable=False),
)

LOAD_TABLES = (
    versions,
    partitions,
    metadatas,
    protocols,
    txns,
    domains,
    change_files,
    other_actions,
)
"""Tables whose rows belong to a load, besides its files."""
