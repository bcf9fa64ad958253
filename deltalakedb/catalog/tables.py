"""The catalog's tables (prefix `dl_`), as SQLAlchemy sees them.

A *load* is one complete image of a Delta table, made by one import run; its number is the run's.
All rows of a Delta table carry the `load_id`, and `dl_tables.live_load` says which load is seen:
moving that pointer is the swap. The files of a load are a physical table of their own,
`dl_files_l<load_id>` (a partition of `dl_files` where the database has partitions).
Intervals are half-open: [added_version, removed_version), 2^63-1 while live.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from deltalakedb.catalog.records import load_files_name
from deltalakedb.log.rows import LIVE

metadata = sa.MetaData()

SLOTS = 8
"""Pruning keys a file: lo0, hi0 … lo7, hi7."""

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_LONG = sa.Text().with_variant(sa.Text(length=2**32 - 1), "mysql", "mariadb")

catalog = sa.Table(
    "dl_catalog",
    metadata,
    sa.Column("catalog_id", sa.String(36), primary_key=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)

tables = sa.Table(
    "dl_tables",
    metadata,
    sa.Column("table_key", _KEY, primary_key=True, autoincrement=True),
    sa.Column("table_id", sa.String(36), nullable=False, unique=True),
    sa.Column("namespace", sa.String(255), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("location", sa.Text, nullable=False),
    sa.Column("location_hash", sa.String(32), nullable=False, unique=True),
    sa.Column("log_location", sa.Text, nullable=False),
    sa.Column("authority", sa.String(16), nullable=False),
    sa.Column("mode", sa.String(16), nullable=False),
    sa.Column("head_version", sa.BigInteger, nullable=False),
    sa.Column("known_since", sa.BigInteger, nullable=False),
    sa.Column("live_load", sa.BigInteger, nullable=False),
    sa.Column("num_files", sa.BigInteger, nullable=False),
    sa.Column("total_bytes", sa.BigInteger, nullable=False),
    sa.Column("skipping", _LONG, nullable=False),
    sa.Column("unreadable_features", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("namespace", "name", name="dl_tables_name"),
)

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
    sa.Column("operation_parameters", _LONG),
    sa.Column("operation_metrics", _LONG),
    sa.Column("engine_info", sa.Text),
    sa.Column("txn_id", sa.Text),
    sa.Column("read_version", sa.BigInteger),
    sa.Column("isolation_level", sa.Text),
    sa.Column("is_blind_append", sa.Boolean),
    sa.Column("user_metadata", _LONG),
    sa.Column("commit_info", _LONG),
    sa.Column("num_adds", sa.BigInteger),
    sa.Column("num_removes", sa.BigInteger),
    sa.Column("bytes_added", sa.BigInteger),
    sa.Column("log_bytes", sa.BigInteger),
    sa.Column("log_digest", sa.String(32)),
)


def _file_columns() -> list[sa.Column[object]]:
    plain: list[sa.Column[object]] = [
        sa.Column("load_id", sa.BigInteger, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("dv_id", _LONG),
        sa.Column("partition_id", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger),
        sa.Column("modification_time", sa.BigInteger),
        sa.Column("data_change", sa.Boolean),
        sa.Column("num_records", sa.BigInteger),
        sa.Column("stats", _LONG),
        sa.Column("tags", _LONG),
        sa.Column("dv", _LONG),
        sa.Column("base_row_id", sa.BigInteger),
        sa.Column("default_row_commit_version", sa.BigInteger),
        sa.Column("clustering_provider", sa.Text),
        sa.Column("extra", _LONG),
        sa.Column("added_version", sa.BigInteger, nullable=False),
        sa.Column("removed_version", sa.BigInteger, nullable=False),
        sa.Column("removed_at", sa.BigInteger),
        sa.Column("path_key", sa.BigInteger, nullable=False),
    ]
    for slot in range(SLOTS):
        plain += [sa.Column(f"lo{slot}", sa.BigInteger), sa.Column(f"hi{slot}", sa.BigInteger)]
    return plain


files = sa.Table(
    "dl_files",
    metadata,
    *_file_columns(),
    postgresql_partition_by="LIST (load_id)",
)


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
    sa.Column("partition_values", _LONG, nullable=False),
    sa.Column("num_files", sa.BigInteger, nullable=False),
    sa.Column("total_bytes", sa.BigInteger, nullable=False),
)


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
    sa.Column("description", _LONG),
    sa.Column("format_provider", sa.Text),
    sa.Column("schema_string", _LONG),
    sa.Column("partition_columns", _LONG, nullable=False),
    sa.Column("configuration", _LONG, nullable=False),
    sa.Column("created_time", sa.BigInteger),
    sa.Column("body", _LONG, nullable=False),
)

protocols = sa.Table(
    "dl_protocols",
    metadata,
    *_interval(),
    sa.Column("min_reader_version", sa.Integer, nullable=False),
    sa.Column("min_writer_version", sa.Integer, nullable=False),
    sa.Column("reader_features", sa.Text),
    sa.Column("writer_features", sa.Text),
    sa.Column("body", _LONG, nullable=False),
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
    sa.Column("configuration", _LONG, nullable=False),
)

change_files = sa.Table(
    "dl_change_files",
    metadata,
    sa.Column("load_id", sa.BigInteger, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("partition_values", _LONG, nullable=False),
    sa.Column("size", sa.BigInteger),
    sa.Column("tags", _LONG),
    sa.Index("dl_change_files_version", "load_id", "version"),
)

other_actions = sa.Table(
    "dl_other_actions",
    metadata,
    sa.Column("load_id", sa.BigInteger, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("body", _LONG, nullable=False),
    sa.Index("dl_other_actions_version", "load_id", "version"),
)

import_runs = sa.Table(
    "dl_import_runs",
    metadata,
    sa.Column("run_key", _KEY, primary_key=True, autoincrement=True),
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
    sa.Column("error_message", _LONG),
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
    sa.Column("parity_key", _KEY, primary_key=True, autoincrement=True),
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

LIVE_LITERAL = sa.literal(LIVE, sa.BigInteger)

HISTORY_VIEW = """
SELECT t.namespace, t.name AS table_name, v.version, v.commit_time, v.operation,
       v.operation_parameters, v.operation_metrics, v.engine_info, v.num_adds, v.num_removes,
       v.bytes_added, v.readable
FROM dl_tables t JOIN dl_versions v ON v.load_id = t.live_load
"""

SUMMARY_VIEW = """
SELECT t.table_id, t.namespace, t.name AS table_name, t.location, t.authority, t.head_version,
       t.known_since, t.num_files, t.total_bytes,
       (SELECT count(*) FROM dl_partitions p
        WHERE p.load_id = t.live_load AND p.num_files > 0) AS num_partitions,
       t.updated_at
FROM dl_tables t
"""

LIVE_FILES_COLUMNS = (
    "namespace",
    "table_name",
    "path",
    "size",
    "modification_time",
    "num_records",
    "partition_values",
    "dv_id",
    "added_version",
    "stats",
)


def live_files_select(source: str) -> str:
    """The SELECT of `dl_live_files` over a table or view of files; ends in a condition."""
    return f"""
SELECT t.namespace, t.name AS table_name, f.path, f.size, f.modification_time, f.num_records,
       p.partition_values, f.dv_id, f.added_version, f.stats
FROM dl_tables t
JOIN {source} f ON f.load_id = t.live_load
JOIN dl_partitions p ON p.load_id = f.load_id AND p.partition_id = f.partition_id
WHERE f.removed_version = {LIVE}
"""


VIEWS = {
    "dl_history": HISTORY_VIEW,
    "dl_table_summary": SUMMARY_VIEW,
    "dl_live_files": live_files_select("dl_files"),
}
"""Views for people: name to SELECT, in plain SQL that every dialect takes."""
