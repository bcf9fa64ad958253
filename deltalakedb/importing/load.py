"""The load pipeline: map ranges, resolve lives across them, load parts, index, swap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import orjson
import pyarrow as pa

from deltalakedb.catalog import rows
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.loads.ledger import Part, Run, plan_parts
from deltalakedb.catalog.loads.swap import index_load
from deltalakedb.catalog.loads.totals import CHANGE_SCHEMA, sum_changes, write_totals
from deltalakedb.catalog.tables import metadata as catalog_metadata
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.executor.executor import Executor
from deltalakedb.importing import tasks
from deltalakedb.importing.stages import StageClock
from deltalakedb.importing.tasks import Loaded, LoadSpec, ParseSpec, Prepared, SlotRange, Summary
from deltalakedb.log.keys import SkippingColumn, choose_skipping_columns
from deltalakedb.log.protocol import Protocol, check_known, unreadable_features
from deltalakedb.log.reader import RangeSpec
from deltalakedb.log.segment import Segment
from deltalakedb.replay.intervals import StateInterval, at_version, commit_times, state_intervals
from deltalakedb.secret import Secret
from deltalakedb.storage.spec import StoreSpec

_BUCKET_BYTES = 2 << 30
_AHEAD = 2
_CLUSTERED_SHARE = 0.02
_INDEXED_SLOTS = 2

Progress = Callable[[str, int, int, int], None]
"""Called with (stage, parts done, parts, actions so far)."""


def no_progress(stage: str, done: int, total: int, actions: int) -> None:
    """The progress of those who don't look."""


@dataclass(frozen=True)
class HeadFacts:
    """What the head of a log says of the table."""

    version: int
    intervals: tuple[StateInterval, ...]
    skipping: tuple[SkippingColumn, ...]
    unreadable: tuple[str, ...]


@dataclass
class LoadResult:
    """Totals of a load that is ready for the swap."""

    head: HeadFacts
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


def head_facts(intervals: Sequence[StateInterval], head: int) -> HeadFacts:
    """Check what holds at the head. Raises INVALID_LOG, UNSUPPORTED_FEATURE."""
    held = at_version(intervals, head)
    metadata = next((i.body for i in held if i.action == "metaData"), None)
    protocol_body = next((i.body for i in held if i.action == "protocol"), None)
    for what, body in (("metaData", metadata), ("protocol", protocol_body)):
        if body is None:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_LOG,
                f"version {head} has no {what} action: this is not a complete Delta log; restore "
                "the missing commits or checkpoint from a backup",
                version=head,
            )
    assert metadata is not None
    assert protocol_body is not None
    protocol = Protocol.from_action(protocol_body)
    check_known(protocol)
    schema = rows.schema_of(metadata)
    if schema is None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_LOG,
            f"the metaData action that holds at version {head} has no schemaString (PROTOCOL.md "
            "requires it); set the table's schema with its own engine, then import again",
            version=head,
        )
    skipping = choose_skipping_columns(
        schema, metadata.get("partitionColumns") or [], metadata.get("configuration") or {}
    )
    return HeadFacts(head, tuple(intervals), skipping, tuple(unreadable_features(protocol)))


def load(
    catalog: Catalog,
    run: Run,
    store: StoreSpec,
    segment: Segment,
    ranges: Sequence[RangeSpec],
    executor: Executor,
    database: Secret,
    *,
    attempt: str,
    spill_root: str | None = None,
    progress: Progress = no_progress,
) -> LoadResult:
    """Everything of an import but the swap: afterwards the load is complete, and invisible.

    `attempt` names what is spilled; another plan of the same run takes another name.
    """
    clock = StageClock()
    size = sum(r.size for r in ranges)
    buckets = 1 << max(0, (size // _BUCKET_BYTES).bit_length())
    specs = [ParseSpec(attempt, store, r, buckets, spill_root) for r in ranges]
    parsed = _parse(executor, specs)
    summaries = _collect_summaries(executor, parsed, progress)
    clock.done("parse")

    caps = [r.last for r in segment.runs[:-1]]
    changes = [change for summary in summaries for change in summary.state]
    intervals = state_intervals(changes, caps)
    head = head_facts(intervals, segment.head)
    result = LoadResult(head)
    result.adds = sum(s.adds for s in summaries)
    result.removes = sum(s.removes for s in summaries)

    endings = _resolve(executor, parsed, ranges, len(segment.runs), buckets)
    specs_to_load = _load_specs(specs, summaries, segment, head, run, database)
    with catalog.write() as connection:
        catalog.dialect.create_load(connection, run.run_key)
    state_part = len(ranges)
    plan_parts(
        catalog,
        run,
        [
            *(Part(r.index, r.first, r.last, r.size) for r in ranges),
            Part(state_part, segment.known_since, segment.head, 0),
        ],
    )
    actions = result.adds + result.removes
    loaded = _load_parts(catalog, executor, specs_to_load, endings, parsed, progress, actions)
    executor.release(parsed)
    _put_state(specs_to_load, state_part, loaded, summaries, segment, result, run, database)
    with catalog.write() as connection:
        write_totals(connection, run.run_key, sum_changes([x.live_changes for x in loaded]))
    clock.done("load")
    progress("index", 0, 1, actions)
    result.indexed = _clustered(result)
    index_load(catalog, run.run_key, _indexes(result.indexed))
    clock.done("index")
    result.stage_seconds = clock.seconds
    progress("index", 1, 1, actions)
    return result


def _parse(executor: Executor, specs: Sequence[ParseSpec]) -> list[Any]:
    """A handle on each range, parsed; ranges of one row group are parsed by one task."""
    parsed: list[Any] = []
    for _, together in groupby(specs, key=lambda spec: spec.range.shared or spec.range.index):
        members = list(together)
        several = executor.submit(tasks.parse_parts, members)
        parsed += [executor.submit(tasks.piece_of, several, n) for n in range(len(members))]
    return parsed


def _collect_summaries(
    executor: Executor, parsed: Sequence[Any], progress: Progress
) -> list[Summary]:
    handles = [executor.submit(tasks.summary_of, p) for p in parsed]
    found: dict[int, Summary] = {}
    progress("parse", 0, len(handles), 0)
    for position, summary in executor.completed(handles):
        found[position] = summary
        actions = sum(s.adds + s.removes for s in found.values())
        progress("parse", len(found), len(handles), actions)
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
    specs: Sequence[ParseSpec],
    summaries: Sequence[Summary],
    segment: Segment,
    head: HeadFacts,
    run: Run,
    database: Secret,
) -> list[LoadSpec]:
    commits = sorted(t for s in summaries for t in s.times)
    times = dict(zip((c[0] for c in commits), commit_times(commits, head.intervals), strict=True))
    last_run = len(segment.runs) - 1
    return [
        LoadSpec(
            parse=spec,
            digest=summary.digest,
            run_key=run.run_key,
            cap=segment.runs[spec.range.run].last if 0 <= spec.range.run < last_run else None,
            skipping=head.skipping,
            commit_times=tuple(times[t[0]] for t in summary.times),
            readable=tuple(_readable(segment, t[0]) for t in summary.times),
            database=database,
        )
        for spec, summary in zip(specs, summaries, strict=True)
    ]


def _readable(segment: Segment, version: int) -> bool:
    return any(r.first <= version <= r.last for r in segment.runs)


def _load_parts(
    catalog: Catalog,
    executor: Executor,
    specs: Sequence[LoadSpec],
    endings: Sequence[Any],
    parsed: Sequence[Any],
    progress: Progress,
    actions: int,
) -> list[Loaded]:
    progress("load", 0, len(specs), actions)
    done: list[Loaded] = []
    if catalog.dialect.parallel_load:
        handles = [
            executor.submit(tasks.load_part, s, e, near=p)
            for s, e, p in zip(specs, endings, parsed, strict=True)
        ]
        for _, loaded in executor.completed(handles):
            done.append(loaded)
            progress("load", len(done), len(specs), actions)
        return done
    # One writer: it is this process; workers prepare a few parts ahead of it.
    waiting = list(zip(specs, endings, parsed, strict=True))
    ahead: list[tuple[LoadSpec, Any]] = []
    while waiting or ahead:
        while waiting and len(ahead) < max(_AHEAD, 1):
            spec, ending, near = waiting.pop(0)
            ahead.append((spec, executor.submit(tasks.prepare_part, spec, ending, near=near)))
        spec, handle = ahead.pop(0)
        [(_, prepared)] = executor.completed([handle])
        done.append(tasks.put_part(spec, prepared))
        executor.release([handle])
        progress("load", len(done), len(specs), actions)
    return done


def _put_state(
    specs: Sequence[LoadSpec],
    part: int,
    loaded: Sequence[Loaded],
    summaries: Sequence[Summary],
    segment: Segment,
    result: LoadResult,
    run: Run,
    database: Secret,
) -> None:
    """The last part: metadata, protocols, transactions, domains, partitions, bare versions."""
    result.num_files = sum(x.live_files for x in loaded)
    result.total_bytes = sum(x.live_bytes for x in loaded)
    slots = len(result.head.skipping)
    result.slots = [join_slots([x.slots[i] for x in loaded], i) for i in range(slots)]
    commits = {t[0] for s in summaries for t in s.times}
    result.versions = len(commits)
    tables: dict[str, pa.Table] = {}
    if loaded:
        partitions = rows.settled_partitions(rows.sum_partitions([x.partitions for x in loaded]))
        tables["dl_partitions"] = rows.with_load(partitions, run.run_key)
    for name, found in rows.state_rows(result.head.intervals, run.run_key).items():
        tables[name] = pa.Table.from_pylist(found, arrow_schema(name))
    bare = [r.base.version for r in segment.runs if r.base and r.base.version not in commits]
    if bare:
        known = {
            commit[0]: time
            for spec, summary in zip(specs, summaries, strict=True)
            for commit, time in zip(summary.times, spec.commit_times, strict=True)
        }
        times = {
            r.base.version: _bare_time(r.base.version, r.base.modified_ms, known)
            for r in segment.runs
            if r.base
        }
        tables["dl_versions"] = pa.Table.from_pylist(
            [
                {
                    "load_id": run.run_key,
                    "version": version,
                    "readable": True,
                    "commit_time": times[version],
                }
                for version in bare
            ],
            arrow_schema("dl_versions"),
        )
        result.versions += len(bare)
    spec = LoadSpec(
        parse=ParseSpec(
            run.run_id,
            StoreSpec("/"),
            RangeSpec(part, -1, segment.known_since, segment.head),
            1,
            None,
        ),
        digest="",
        run_key=run.run_key,
        cap=None,
        skipping=(),
        commit_times=(),
        readable=(),
        database=database,
    )
    empty = Loaded(part, 0, 0, 0, pa.table({}), CHANGE_SCHEMA.empty_table(), ())
    tasks.put_part(spec, Prepared({n: t for n, t in tables.items() if t.num_rows}, empty))


def _bare_time(version: int, modified_ms: int, known: Mapping[int, int]) -> int:
    """The time of a version whose commit is gone: its checkpoint's, but before the next commit's,

    as a checkpoint may be written long after its version.
    """
    after = min((v for v in known if v > version), default=None)
    return modified_ms if after is None else min(modified_ms, known[after] - 1)


def arrow_schema(table: str) -> pa.Schema:
    """The Arrow schema in which rows of a catalog table are loaded."""
    import sqlalchemy as sa

    def kind(column: sa.Column[Any]) -> pa.DataType:
        if isinstance(column.type, sa.Boolean):
            return pa.bool_()
        if isinstance(column.type, sa.BigInteger):
            return pa.int64()
        return pa.int32() if isinstance(column.type, sa.Integer) else pa.string()

    return pa.schema([(c.name, kind(c)) for c in catalog_metadata.tables[table].columns])


def join_slots(slots: Sequence[SlotRange], number: int) -> SlotRange:
    """A slot's range over several parts."""
    known = [s for s in slots if s.greatest or s.least or s.width]
    missing = sum(s.missing for s in slots)
    if not known:
        return SlotRange(0, 0, 0, missing)
    return SlotRange(
        min(s.least for s in known),
        max(s.greatest for s in known),
        max(s.width for s in known),
        missing,
    )


def _clustered(result: LoadResult) -> tuple[int, ...]:
    """Slots whose files are narrow beside the whole: there a btree on `lo` finds a point."""
    shares: list[tuple[float, int]] = []
    for number, slot in enumerate(result.slots):
        extent = slot.greatest - slot.least
        if extent > 0 and slot.missing * 10 <= max(result.adds, 1):
            share = slot.width / extent
            if share <= _CLUSTERED_SHARE:
                shares.append((share, number))
    return tuple(number for _, number in sorted(shares)[:_INDEXED_SLOTS])


def _indexes(slots: Iterable[int]) -> list[tuple[str, ...]]:
    return [("path_key",), ("partition_id", "added_version"), *((f"lo{s}",) for s in slots)]
