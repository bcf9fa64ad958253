"""The catalog forgets what the log may: so that a table that is rewritten for years stays small.

A life goes only after its file has: vacuum finds files by their lives.
"""

from __future__ import annotations

import time

from deltalakedb.catalog.dialects.writer import Statement, writing
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.records import TableRow, load_files_name
from deltalakedb.log.table_properties import LOG_RETENTION, duration_ms
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.lives import VACUUM_DONE, property_of, rollback_versions

_FORGOTTEN = 100
"""Versions whose rows are removed in one transaction."""


def forget(catalog: LightCatalog, base: Base, *, dry_run: bool = False) -> int:
    """Take lives out of the catalog that ended before the log's retention began and whose files
    are gone; the oldest version that can be read from then on.

    `known_since` moves first, in a transaction of its own; rows go after it, some versions at a
    time. What can be gone back to (`dl_rollback_points`) is spared.
    """
    row = base.row
    retention = duration_ms(base.metadata.configuration, LOG_RETENTION) or 0
    found = queries.version_before(catalog, row, time.time_ns() // 1_000_000 - retention)
    gone = property_of(catalog, row, VACUUM_DONE)
    until = min([-1 if found is None else found, gone, *rollback_versions(catalog, row)])
    if until <= row.known_since:
        return row.known_since
    if dry_run:
        return until
    load = row.live_load
    moved = [
        Statement(
            "UPDATE dl_heads SET known_since = ? WHERE table_key = ? AND live_load = ? "
            "AND known_since < ?",
            (until, row.table_key, load, until),
            rows=1,
        ),
        Statement(
            "UPDATE dl_tables SET changes_since = ? WHERE table_key = ? AND changes_since < ?",
            (until, row.table_key, until),
        ),
    ]
    with writing(catalog.reader.url) as writer:
        writer.transact(moved)
        for start in range(row.known_since, until, _FORGOTTEN):
            writer.transact(_forgotten(row, min(start + _FORGOTTEN, until)))
    return until


def _forgotten(row: TableRow, until: int) -> list[Statement]:
    load = row.live_load
    intervals = ("dl_metadata", "dl_protocols", "dl_txns", "dl_domains")
    return [
        Statement(
            f"DELETE FROM {load_files_name(load)} WHERE load_id = ? AND removed_version <= ?",
            (load, until),
        ),
        *(
            Statement(
                f"DELETE FROM {name} WHERE load_id = ? AND removed_version <= ?", (load, until)
            )
            for name in intervals
        ),
        Statement("DELETE FROM dl_versions WHERE load_id = ? AND version < ?", (load, until)),
        *(
            Statement(f"DELETE FROM {name} WHERE load_id = ? AND version <= ?", (load, until))
            for name in ("dl_change_files", "dl_other_actions")
        ),
        Statement(
            "DELETE FROM dl_changes WHERE table_key = ? AND version <= ?", (row.table_key, until)
        ),
        Statement(
            "DELETE FROM dl_partitions WHERE load_id = ? AND num_files = 0 AND emptied_at <= ?",
            (load, until),
        ),
    ]
