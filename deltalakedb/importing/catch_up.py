"""A log that has moved on: the new commits into the live load, at the cost of the commits."""

from __future__ import annotations

from functools import reduce

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.leases import Lease
from deltalakedb.catalog.loads import ledger
from deltalakedb.catalog.reading import queries
from deltalakedb.commit.apply import apply_state
from deltalakedb.error import MissingCommitError
from deltalakedb.executor.executor import Executor
from deltalakedb.importing import tasks
from deltalakedb.importing.abandon import abandon
from deltalakedb.importing.result import ImportResult
from deltalakedb.log.reader import plan_ranges
from deltalakedb.log.segment import CommitEntry, LogListing, Run, Segment
from deltalakedb.replay.state import RangeState
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec


def new_commits(table: queries.TableRow, listing: LogListing) -> tuple[CommitEntry, ...]:
    """Commits after the catalog's head, contiguous. Raises MISSING_COMMIT."""
    commits = tuple(c for c in listing.commits if c.version > table.head_version)
    want = table.head_version + 1
    for commit in commits:
        if commit.version != want:
            break
        want += 1
    if want <= listing.head:
        raise MissingCommitError(
            f"commit {want} of {table.full_name} is missing from the log, so the catalog can't "
            f"catch up from version {table.head_version} to {listing.head}; restore it, or import "
            "anew with --rebuild",
            version=want,
        )
    return commits


def catch_up(
    catalog: Catalog,
    table: queries.TableRow,
    listing: LogListing,
    store: StoreSpec,
    executor: Executor,
    lease: Lease,
) -> ImportResult:
    """Add the commits after the catalog's head in one transaction; none where SQL ratifies."""
    commits = new_commits(table, listing) if table.authority == "log" else ()
    run = ledger.start_run(
        catalog,
        table_id=table.table_id,
        table_name=table.full_name,
        location=table.location,
        mode=table.mode,
        workers=executor.workers,
        lease=lease,
    )
    first = table.head_version + 1
    try:
        state = _read(store, commits, run.run_id, executor) if commits else None
        totals = apply_state(catalog, table, run, state)
    except BaseException as error:
        abandon(catalog, run, error, executor)
        raise
    return ImportResult(
        table_id=table.table_id,
        table_name=table.full_name,
        location=table.location,
        run_id=run.run_id,
        status="caught_up" if commits else "unchanged",
        mode=table.mode,
        from_version=first if commits else table.head_version,
        to_version=commits[-1].version if commits else table.head_version,
        checkpoint_version=None,
        known_since=table.known_since,
        versions=len(commits),
        adds=totals.adds,
        removes=totals.removes,
        live_files=totals.num_files,
        workers=executor.workers,
        seconds=0.0,
    )


def _read(
    store: StoreSpec, commits: tuple[CommitEntry, ...], run_id: str, executor: Executor
) -> RangeState:
    segment = Segment((Run(None, commits, commits[0].version, commits[-1].version),), ())
    ranges = plan_ranges(open_store(store), segment)
    handles = [
        executor.submit(tasks.read_state, tasks.ParseSpec(run_id, store, r, 1, None))
        for r in ranges
    ]
    states: dict[int, RangeState] = dict(executor.completed(handles))
    return reduce(RangeState.merge, [states[i] for i in range(len(ranges))])
