"""The load pipeline: map ranges, resolve lives across them, load parts, index, swap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import orjson
import pyarrow as pa

from deltalakedb import tracing
from deltalakedb.catalog.loads.heap import HEAP_ROWS
from deltalakedb.catalog.loads.ledger import Part, begin_load, plan_parts
from deltalakedb.catalog.loads.slots import SlotRange, indexes, join_slots, narrow_slots
from deltalakedb.catalog.loads.swap import index_load
from deltalakedb.catalog.loads.totals import CHANGE_SCHEMA, sum_changes, write_totals
from deltalakedb.catalog.records import in_heap, load_of
from deltalakedb.executor.executor import Executor
from deltalakedb.importing import tasks
from deltalakedb.importing.context import Importing, Progress
from deltalakedb.importing.head import HeadFacts, head_facts
from deltalakedb.importing.parts import ToLoad, load_parts
from deltalakedb.importing.stages import StageClock
from deltalakedb.importing.state import bare_versions, state_tables
from deltalakedb.importing.tasks import Loaded, LoadSpec, ParseSpec, Prepared, Summary
from deltalakedb.log.ranges import RangeSpec
from deltalakedb.log.segment import Segment
from deltalakedb.replay.intervals import commit_times, state_intervals
from deltalakedb.storage.traffic import count

_BUCKET_BYTES = 2 << 30


@dataclass
class LoadResult:
    """Totals of a load that is ready for the swap."""

    head: HeadFacts
    load_id: int
    adds: int = 0
    removes: int = 0
    versions: int = 0
    num_files: int = 0
    total_bytes: int = 0
    slots: list[SlotRange] = field(default_factory=list)
    indexed: tuple[int, ...] = ()
    stage_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def skipping_text(self) -> str:
        """`dl_tables.skipping`: the slots in order, with what their keys are like."""
        described = [
            {
                **column.to_json(),
                "least": slot.least,
                "greatest": slot.greatest,
                "width": slot.width,
                "missing": slot.missing,
                "indexed": number in self.indexed,
            }
            for number, (column, slot) in enumerate(
                zip(self.head.skipping, self.slots, strict=True)
            )
        ]
        return orjson.dumps(described).decode()


@tracing.traced("load")
def load(
    importing: Importing, segment: Segment, ranges: Sequence[RangeSpec], *, attempt: str
) -> LoadResult:
    """Everything of an import but the swap: afterwards the load is complete, and invisible.

    `attempt` names what is spilled; another plan of the same run takes another name.
    """
    clock = StageClock()
    executor, run, progress = importing.executor, importing.run, importing.progress
    size = sum(r.size for r in ranges)
    buckets = 1 << max(0, (size // _BUCKET_BYTES).bit_length())
    where = importing.spill_root
    specs = [
        ParseSpec(attempt, importing.store, r, buckets, where, importing.sizes.spilling)
        for r in ranges
    ]
    parsed = parse(executor, specs)
    summaries = collect_summaries(executor, parsed, progress)
    clock.done("parse")

    caps = [r.last for r in segment.runs[:-1]]
    changes = [change for summary in summaries for change in summary.state]
    intervals = state_intervals(changes, caps)
    head = head_facts(intervals, segment.head)
    adds, removes = (sum(getattr(s, n) for s in summaries) for n in ("adds", "removes"))
    load_id = load_of(run.run_key, heap=adds + removes <= HEAP_ROWS)
    result = LoadResult(head, load_id, adds, removes)

    endings = _resolve(executor, parsed, ranges, len(segment.runs), buckets)
    to_load = _load_specs(importing, specs, summaries, segment, result)
    begin_load(importing.catalog, run, load_id)
    state_part = len(ranges)
    plan_parts(
        importing.catalog,
        run,
        [
            *(Part(r.index, r.first, r.last, r.size) for r in ranges),
            Part(state_part, segment.known_since, segment.head, 0),
        ],
    )
    actions = result.adds + result.removes
    parts = [ToLoad(*part) for part in zip(to_load, endings, parsed, strict=True)]
    loaded = load_parts(importing, parts, actions)
    executor.release(parsed)
    _put_state(importing, to_load, state_part, loaded, summaries, segment, result)
    with importing.catalog.write() as connection:
        write_totals(connection, load_id, sum_changes([x.live_changes for x in loaded]))
    clock.done("load")
    progress("index", 0, 1, actions)
    if not in_heap(load_id):
        most = importing.catalog.dialect.indexed_slots
        result.indexed = narrow_slots(result.slots, result.adds, most)
        index_load(importing.catalog, load_id, indexes(result.indexed))
    clock.done("index")
    result.stage_seconds = clock.seconds
    progress("index", 1, 1, actions)
    return result


def parse(executor: Executor, specs: Sequence[ParseSpec]) -> list[Any]:
    """A handle on each range, parsed; ranges of one row group are parsed by one task."""
    parsed: list[Any] = []
    for _, together in groupby(specs, key=lambda spec: spec.range.shared or spec.range.index):
        members = list(together)
        several = executor.submit(tasks.parse_parts, members)
        parsed += [executor.submit(tasks.piece_of, several, n) for n in range(len(members))]
    return parsed


def collect_summaries(
    executor: Executor, parsed: Sequence[Any], progress: Progress
) -> list[Summary]:
    """What this process needs to know of parsed ranges; their requests are counted here."""
    handles = [executor.submit(tasks.summary_of, p) for p in parsed]
    found: dict[int, Summary] = {}
    progress("parse", 0, len(handles), 0)
    for position, summary in executor.completed(handles):
        found[position] = summary
        actions = sum(s.adds + s.removes for s in found.values())
        progress("parse", len(found), len(handles), actions)
    count(*(sum(getattr(s, n) for s in found.values()) for n in ("requests", "read_bytes")))
    return [found[i] for i in range(len(handles))]


def _resolve(
    executor: Executor, parsed: Sequence[Any], ranges: Sequence[RangeSpec], runs: int, buckets: int
) -> list[Any]:
    """A handle on each part's endings."""
    endings: list[Any] = [None] * len(ranges)
    for run in [*range(runs), -1]:
        members = [r.index for r in ranges if r.run == run]
        if not members:
            continue
        resolved = [
            executor.submit(
                tasks.resolve_bucket,
                [executor.submit(tasks.bucket_of, parsed[i], b) for i in members],
                members,
            )
            for b in range(buckets)
        ]
        for index in members:
            endings[index] = executor.submit(tasks.endings_of, resolved, index)
    return endings


def _load_specs(
    importing: Importing,
    specs: Sequence[ParseSpec],
    summaries: Sequence[Summary],
    segment: Segment,
    result: LoadResult,
) -> list[LoadSpec]:
    head = result.head
    commits = sorted(t for s in summaries for t in s.times)
    times = dict(zip((c[0] for c in commits), commit_times(commits, head.intervals), strict=True))
    last_run = len(segment.runs) - 1
    return [
        LoadSpec(
            parse=spec,
            digest=summary.digest,
            run_key=importing.run.run_key,
            load_id=result.load_id,
            cap=segment.runs[spec.range.run].last if 0 <= spec.range.run < last_run else None,
            skipping=head.skipping,
            commit_times=tuple(times[t[0]] for t in summary.times),
            readable=tuple(_readable(segment, t[0]) for t in summary.times),
            database=importing.database,
        )
        for spec, summary in zip(specs, summaries, strict=True)
    ]


def _readable(segment: Segment, version: int) -> bool:
    return any(r.first <= version <= r.last for r in segment.runs)


def _put_state(
    importing: Importing,
    specs: Sequence[LoadSpec],
    part: int,
    loaded: Sequence[Loaded],
    summaries: Sequence[Summary],
    segment: Segment,
    result: LoadResult,
) -> None:
    """The last part, and the totals that are known with it."""
    result.num_files = sum(x.live_files for x in loaded)
    result.total_bytes = sum(x.live_bytes for x in loaded)
    slots = len(result.head.skipping)
    result.slots = [join_slots([x.slots[i] for x in loaded]) for i in range(slots)]
    times = {
        commit[0]: time
        for spec, summary in zip(specs, summaries, strict=True)
        for commit, time in zip(summary.times, spec.commit_times, strict=True)
    }
    tables = state_tables(result.load_id, result.head.intervals, loaded)
    bare = bare_versions(result.load_id, segment, times)
    result.versions = len(times) + bare.num_rows
    filled = {n: t for n, t in {**tables, "dl_versions": bare}.items() if t.num_rows}
    empty = Loaded(part, 0, 0, 0, pa.table({}), CHANGE_SCHEMA.empty_table(), ())
    tasks.put_part(importing.database, importing.run.run_key, Prepared(filled, empty))
