"""One comparison: what a plan of the log builds, beside what the catalog has at that version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading.queries import TableRow, TableState
from deltalakedb.executor.executor import Executor
from deltalakedb.parity.buckets import Buckets, bucket_count
from deltalakedb.parity.catalog_side import CatalogFiles, catalog_state, lost_state
from deltalakedb.parity.details import FileFacts, compare_facts
from deltalakedb.parity.diff import Difference, FileDrift, compare_files, compare_states
from deltalakedb.parity.facts import FILE_RECORD, LOG_RECORD, Records, live_files
from deltalakedb.parity.log_part import read_files
from deltalakedb.parity.log_side import Plan, StateReader, read_parts
from deltalakedb.parity.report import LIST_LIMIT, FileLists
from deltalakedb.storage.spec import StoreSpec

_ACTION_BYTES = 250
"""Of JSON or uncompressed Parquet an action has at least about so many."""
_RETENTION = "delta.setTransactionRetentionDuration"

Progress = Callable[[str, int, int, int], None]
"""Called with (stage, parts done, parts, actions so far)."""


@dataclass(frozen=True)
class Outcome:
    """What one comparison found. `num_files`: the log's; `digests`: of the commits it read."""

    plan: Plan
    drift: FileDrift
    differences: tuple[Difference, ...]
    num_files: int
    digests: dict[int, str]

    @property
    def agrees(self) -> bool:
        return not self.drift.total and not self.differences


@dataclass(frozen=True)
class Sides:
    """The two sides of a diff, and who reads."""

    catalog: Catalog
    table: TableRow
    store: StoreSpec
    executor: Executor
    progress: Progress


def compare(sides: Sides, plan: Plan) -> Outcome:
    """Read both sides at the plan's version and compare them; holds one bucket at a time.

    Raises CORRUPT_COMMIT, CORRUPT_CHECKPOINT (fact `checkpoint`), INVALID_LOG and whatever
    storage and database raise.
    """
    count = bucket_count(max(sides.table.num_files, plan.size // _ACTION_BYTES))
    drift = FileDrift(room=LIST_LIMIT)
    reader = StateReader()
    num_files = 0
    with Buckets(count, LOG_RECORD) as log, Buckets(count, FILE_RECORD) as catalog:
        parts = read_parts(sides.store, plan.ranges, sides.executor)
        total, actions = len(plan.ranges), 0
        sides.progress("log", 0, total, 0)
        for done, part in enumerate(parts, 1):
            log.add(part.records)
            reader.add(part)
            actions += len(part.records)
            sides.progress("log", done, total, actions)
        state = reader.state(plan.version)
        rows, size = _read_catalog(sides, plan.version, catalog)
        for bucket in range(count):
            sides.progress("compare", bucket, count, actions)
            live = live_files(log.take(bucket))
            num_files += len(live)
            compare_files(live, catalog.take(bucket), drift)
        sides.progress("compare", count, count, actions)
    differences = _compare_state(sides, plan, state)
    if not drift.total:
        differences += _compare_totals(sides.table, plan.version, rows, size)
    return Outcome(plan, drift, tuple(differences), num_files, reader.digests)


def _read_catalog(sides: Sides, version: int, catalog: Buckets) -> tuple[int, int]:
    """Count and bytes of the catalog's live files; their records go into `catalog`."""
    rows = size = 0
    for records, batch_bytes in CatalogFiles(sides.catalog, sides.table, version).records():
        catalog.add(records)
        rows += len(records)
        size += batch_bytes
        sides.progress("catalog", rows, max(rows, sides.table.num_files), rows)
    return rows, size


def _compare_state(sides: Sides, plan: Plan, log: TableState) -> list[Difference]:
    catalog = catalog_state(sides.catalog, sides.table, plan.version)
    if catalog is None:
        return lost_state(sides.catalog, sides.table, plan.version)
    expired = plan.base is not None and _RETENTION in log.metadata["configuration"]
    return compare_states(log, catalog, expired=expired)


def _compare_totals(table: TableRow, version: int, rows: int, size: int) -> list[Difference]:
    """What `dl_tables` says of its head against its own rows, which agree with the log."""
    if version != table.head_version:
        return []
    said = {"num_files": (table.num_files, rows), "total_bytes": (table.total_bytes, size)}
    return [
        Difference("totals", name, theirs, ours)
        for name, (theirs, ours) in said.items()
        if theirs != ours
    ]


def file_lists(sides: Sides, outcome: Outcome) -> FileLists:
    """The first differing files in full: one more look at the ranges and rows that hold them."""
    drift = outcome.drift
    if not drift.total:
        return FileLists()
    in_log = [*_keys(drift, "missing_in_catalog"), *_keys(drift, "different")]
    ours = _log_files(sides, outcome.plan, in_log)
    wanted = [*_keys(drift, "missing_in_log"), *_keys(drift, "different")]
    files = CatalogFiles(sides.catalog, sides.table, outcome.plan.version)
    theirs = files.find(frozenset(key for key, _ in wanted))
    missing_in_catalog = [ours[key] for key, _ in _keys(drift, "missing_in_catalog")]
    missing_in_log = [theirs[key][0] for key, _ in _keys(drift, "missing_in_log")]
    different = [compare_facts(ours[key], theirs[key]) for key, _ in _keys(drift, "different")]
    return FileLists(
        missing_in_catalog=tuple(sorted(missing_in_catalog, key=lambda f: f.order)),
        missing_in_log=tuple(sorted(missing_in_log, key=lambda f: f.order)),
        different=tuple(sorted(different, key=lambda f: f.order)),
        missing_in_catalog_count=drift.counts["missing_in_catalog"],
        missing_in_log_count=drift.counts["missing_in_log"],
        different_count=drift.counts["different"],
    )


Key = tuple[int, int]


def _keys(drift: FileDrift, kind: str) -> list[tuple[Key, int]]:
    """(key, part) of the first differing files of a kind."""
    records: Records = drift.records(kind)
    columns = (records[name].tolist() for name in ("key", "key2", "part"))
    return [((key, key2), part) for key, key2, part in zip(*columns, strict=True)]


def _log_files(sides: Sides, plan: Plan, wanted: list[tuple[Key, int]]) -> dict[Key, FileFacts]:
    found: dict[Key, FileFacts] = {}
    for part in sorted({part for _, part in wanted}):
        keys = frozenset(key for key, place in wanted if place == part)
        files = read_files(sides.store, plan.ranges[part], keys)
        for row in files.to_pylist():
            row["has_stats"] = row["stats"] is not None
            found[row["path_key"], row["path_key2"]] = FileFacts.of(row)
    return found
