"""How long one side has been without a version that the other has."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading.queries import TableRow
from deltalakedb.log.commit import ActionReader
from deltalakedb.log.rows import LIVE
from deltalakedb.log.segment import CommitEntry, LogListing
from deltalakedb.parity.catalog_side import commit_time
from deltalakedb.replay.intervals import StateInterval, commit_times, state_intervals
from deltalakedb.storage.store import ObjectStore

_LEAST_SECONDS = 0.001


@dataclass(frozen=True)
class Lag:
    """`seconds` since `version`, the first that one side lacks, was committed; 0 when none is."""

    seconds: float = 0.0
    version: int | None = None


def measure_lag(
    catalog: Catalog,
    table: TableRow,
    metadata: dict[str, Any],
    listing: LogListing,
    store: ObjectStore,
) -> Lag:
    """The lag between the heads. `metadata` is what holds at the catalog's head.

    Raises CORRUPT_COMMIT when the log's first new commit can't be read.
    """
    if listing.head == table.head_version:
        return Lag()
    if listing.head > table.head_version:
        version, committed = _first_in_log(catalog, table, metadata, listing, store)
    else:
        version = listing.head + 1
        committed = commit_time(catalog, table, version) or table.updated_at
    # Clocks differ; heads that are apart lag by something.
    return Lag(max(time.time() - committed / 1000, _LEAST_SECONDS), version)


def _first_in_log(
    catalog: Catalog,
    table: TableRow,
    metadata: dict[str, Any],
    listing: LogListing,
    store: ObjectStore,
) -> tuple[int, int]:
    """The first version after the catalog's head, and its time in ms."""
    head = table.head_version
    entry = next((c for c in listing.commits if c.version > head), None)
    if entry is None:
        checkpoint = min((c for c in listing.checkpoints if c.version > head), key=_version)
        return head + 1, checkpoint.modified_ms
    before = commit_time(catalog, table, head) if entry.version == head + 1 else None
    return head + 1, _time_of(entry, store.read(entry.name), metadata, before)


def _version(checkpoint: Any) -> int:
    return int(checkpoint.version)


def _time_of(entry: CommitEntry, data: bytes, metadata: dict[str, Any], before: int | None) -> int:
    reader = ActionReader()
    reader.commit(entry.version, data, name=entry.name, file_time=entry.modified_ms)
    rows = reader.finish()
    held = [
        StateInterval("metaData", "", metadata, -1, LIVE),
        *(i for i in state_intervals(rows.state) if i.action == "metaData"),
    ]
    in_commit = rows.versions.column("in_commit_time")[0].as_py()
    return commit_times([(entry.version, entry.modified_ms, in_commit)], held[-1:], before)[0]
