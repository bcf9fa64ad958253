"""A log that has moved on: the new commits into the live load, at the cost of the commits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.leases import Lease
from deltalakedb.catalog.loads import ledger
from deltalakedb.catalog.loads.heap import make_room
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.records import in_heap
from deltalakedb.commit.apply import Applied, apply_nothing, apply_parts, apply_state
from deltalakedb.commit.extend import NewRows
from deltalakedb.commit.lives import LivesEnded, end_lives, search_lives
from deltalakedb.commit.prepared import skipping_columns
from deltalakedb.error import DeltaLakeError, MissingCommitError
from deltalakedb.executor.executor import Executor
from deltalakedb.importing import tasks
from deltalakedb.importing.abandon import abandon
from deltalakedb.importing.context import Progress, no_progress
from deltalakedb.importing.load import collect_summaries, parse
from deltalakedb.importing.request import ImportRequest
from deltalakedb.importing.result import ImportResult
from deltalakedb.log.ranges import RangeSpec
from deltalakedb.log.reader import plan_ranges
from deltalakedb.log.segment import CommitEntry, LogListing, Run, Segment
from deltalakedb.replay.events import Endings, Events
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.traffic import count

_BUCKET_BYTES = 512 << 20
"""Of the log: the events of as much are in this process's memory at once."""
_AHEAD = 2


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
    request: ImportRequest,
    executor: Executor,
    lease: Lease,
    progress: Progress = no_progress,
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
        if commits:
            caught = _CatchUp(catalog, table, run, request, executor, lease, progress)
            totals = caught.run(_ranges(request.store, commits))
        else:
            totals = apply_nothing(catalog, table, run)
    except BaseException as error:
        abandon(catalog, run, error, executor, request.spill_root)
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


def _ranges(store: StoreSpec, commits: tuple[CommitEntry, ...]) -> list[RangeSpec]:
    segment = Segment((Run(None, commits, commits[0].version, commits[-1].version),), ())
    return plan_ranges(open_store(store), segment, sliced=True)


@dataclass(frozen=True)
class _CatchUp:
    """The versions after a head, in ranges, into the load that is live."""

    catalog: Catalog
    table: queries.TableRow
    ledger_run: ledger.Run
    request: ImportRequest
    executor: Executor
    lease: Lease
    progress: Progress

    def run(self, ranges: Sequence[RangeSpec]) -> Applied:
        """One range is applied as it is; more are spread as those of an import are."""
        if len(ranges) > 1:
            return self._apply_parts(ranges)
        [(_, (state, *traffic))] = self.executor.completed(
            [self.executor.submit(tasks.read_alone, self._parse_spec(ranges[0], 1))]
        )
        count(*traffic)
        table = self._with_room(state.files.num_rows + state.closings.num_rows)
        return apply_state(self.catalog, table, self.ledger_run, state)

    def _with_room(self, more: int) -> queries.TableRow:
        return make_room(self.catalog, self.table, self.lease, more)

    def _parse_spec(self, part: RangeSpec, buckets: int) -> tasks.ParseSpec:
        request = self.request
        return tasks.ParseSpec(
            self.ledger_run.run_id, request.store, part, buckets, request.spill_root
        )

    def _apply_parts(self, ranges: Sequence[RangeSpec]) -> Applied:
        executor = self.executor
        size = sum(part.size for part in ranges)
        buckets = 1 << max(0, (size // _BUCKET_BYTES).bit_length())
        specs = [self._parse_spec(part, buckets) for part in ranges]
        parsed = parse(executor, specs)
        summaries = collect_summaries(executor, parsed, self.progress)
        actions = sum(s.adds + s.removes for s in summaries)
        table = self._with_room(actions)
        ended, endings = self._end(table, parsed, buckets)
        skipping = skipping_columns(json.loads(table.skipping))
        parts = [
            tasks.PartSpec(
                parse=spec, digest=summary.digest, load_id=table.live_load, skipping=skipping
            )
            for spec, summary in zip(specs, summaries, strict=True)
        ]
        changes = [change for summary in summaries for change in summary.state]
        rows = self._prepared(parts, endings, parsed, actions)
        totals = apply_parts(self.catalog, table, self.ledger_run, rows, changes, ended)
        executor.release(parsed)
        self._analyze(table)
        # What is left on workers is no reason to say that it failed.
        with suppress(Exception):
            executor.everywhere(tasks.forget, self.ledger_run.run_id, self.request.spill_root)
        return totals

    def _analyze(self, table: queries.TableRow) -> None:
        """Tell the database what many new rows are like, as after an import."""
        # The versions are there; who can't be told plans by what was known before.
        if not in_heap(table.live_load):
            with suppress(DeltaLakeError), self.catalog.write() as connection:
                self.catalog.dialect.analyze_load(connection, table.live_load)

    def _end(
        self, table: queries.TableRow, parsed: Sequence[Any], buckets: int
    ) -> tuple[LivesEnded, list[Endings]]:
        """What the new versions end: files of the load, and lives of their own, by part."""
        executor, numbers = self.executor, range(len(parsed))
        ended: list[LivesEnded] = []
        endings: list[list[Endings]] = [[] for _ in numbers]
        for bucket in range(buckets):
            handles = [executor.submit(tasks.bucket_of, each, bucket) for each in parsed]
            by_part = dict(executor.completed(handles))
            executor.release(handles)
            events = Events.concat([by_part[number] for number in numbers])
            lives = search_lives(self.catalog, table, events.key)
            some, found = end_lives(lives, events, numbers)
            ended.append(some)
            for number in numbers:
                endings[number].append(found[number])
        return LivesEnded.concat(ended), [Endings.concat(some) for some in endings]

    def _prepared(
        self,
        parts: Sequence[tasks.PartSpec],
        endings: Sequence[Endings],
        parsed: Sequence[Any],
        actions: int,
    ) -> Iterator[NewRows]:
        """The parts' rows, a few of them ahead of who writes them."""
        executor = self.executor
        handles: list[Any] = []

        def submitted() -> Iterator[Any]:
            for part, ends, near in zip(parts, endings, parsed, strict=True):
                handles.append(executor.submit(tasks.prepare_new_rows, part, ends, near=near))
                yield handles[-1]

        self.progress("load", 0, len(parts), actions)
        for done, (position, new) in enumerate(executor.completed(submitted(), lambda: _AHEAD), 1):
            yield new
            executor.release([handles[position]])
            self.progress("load", done, len(parts), actions)
