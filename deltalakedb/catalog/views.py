"""The catalog's views, for people: plain SQL that every dialect takes."""

from __future__ import annotations

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
       t.known_since, h.num_files, h.total_bytes,
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


VIEWS = {
    "dl_history": HISTORY_VIEW,
    "dl_table_summary": SUMMARY_VIEW,
    "dl_live_files": live_files_select("dl_files"),
}
"""Views for people: name to SELECT, in plain SQL that every dialect takes."""
