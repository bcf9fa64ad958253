"""The catalog's views, for people: plain SQL that every dialect takes."""

from __future__ import annotations

from deltalakedb.catalog.records import HEAP
from deltalakedb.catalog.tables import files
from deltalakedb.log.rows import LIVE

HISTORY_VIEW = """
SELECT t.namespace, t.name AS table_name, v.version, v.commit_time, v.operation,
       v.operation_parameters, v.operation_metrics, v.engine_info, v.num_adds, v.num_removes,
       v.bytes_added, v.readable
FROM dl_tables t
JOIN dl_heads h ON h.table_key = t.table_key
JOIN dl_versions v ON v.load_id = h.live_load
"""

SUMMARY_VIEW = """
SELECT t.table_id, t.namespace, t.name AS table_name, t.location, h.authority, h.head_version,
       h.known_since, h.num_files, h.total_bytes,
       (SELECT count(*) FROM dl_partitions p
        WHERE p.load_id = h.live_load AND p.num_files > 0) AS num_partitions,
       h.updated_at
FROM dl_tables t JOIN dl_heads h ON h.table_key = t.table_key
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
JOIN dl_heads h ON h.table_key = t.table_key
JOIN {source} f ON f.load_id = h.live_load
JOIN dl_partitions p ON p.load_id = f.load_id AND p.partition_id = f.partition_id
WHERE f.removed_version = {LIVE}
"""


COLUMNS = ", ".join(c.name for c in files.columns)
"""Of `dl_files`, in their order; the first is `load_id`."""

SOURCES = (HEAP, "dl_files_large")
"""Where files are: small loads, and all tables of large ones seen as one."""

VIEWS = {
    "dl_history": HISTORY_VIEW,
    "dl_table_summary": SUMMARY_VIEW,
    "dl_files": " UNION ALL ".join(f"SELECT {COLUMNS} FROM {source}" for source in SOURCES),
    # Not over dl_files: each branch is to be joined for itself.
    "dl_live_files": " UNION ALL ".join(map(live_files_select, SOURCES)),
}
"""Views for people: name to SELECT, in plain SQL that every dialect takes."""
