"""Files and bytes of each partition at a version."""

from __future__ import annotations

from deltalakedb.catalog.reading.proof import proven_rows
from deltalakedb.catalog.reading.queries import Readable, live_predicate
from deltalakedb.catalog.records import TableRow, load_files_name


def partition_counts(
    catalog: Readable, table: TableRow, version: int
) -> list[tuple[str, int, int]]:
    """(partition values as canonical JSON, files, bytes) of every partition with live files.

    At the head the catalog has counted already; older versions are counted from their files.
    """
    if version == table.head_version:
        # In one statement: the head may move, and the counts with it.
        found = catalog.reader.rows(
            "SELECT p.partition_values, p.num_files, p.total_bytes FROM dl_partitions p "
            "JOIN dl_heads h ON h.live_load = p.load_id "
            "WHERE p.load_id = ? AND h.head_version = ? AND p.num_files > 0",
            (table.live_load, version),
        )
        if found or not table.num_files:
            return found
    counted = proven_rows(
        catalog.reader,
        table,
        version,
        ("partition_values", "files", "bytes"),
        "SELECT p.partition_values, c.files, c.bytes FROM (SELECT partition_id, "
        "count(*) AS files, coalesce(sum(size), 0) AS bytes "
        f"FROM {load_files_name(table.live_load)} "
        f"WHERE {live_predicate(table, version)} GROUP BY partition_id) c "
        "JOIN dl_partitions p ON p.load_id = ? AND p.partition_id = c.partition_id",
        (table.live_load,),
    )
    return [(values, int(files), int(size)) for values, files, size in counted]
