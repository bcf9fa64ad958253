"""What workers do: pure functions of small picklable specs, and the load of one part.

Parse a range, find which event ends which life (by bucket of the file key), prepare rows, load.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from deltalakedb.catalog import rows
from deltalakedb.catalog.dialects import dialect_of
from deltalakedb.catalog.dialects.base import close_idle
from deltalakedb.catalog.limits import unstorable
from deltalakedb.catalog.loads.slots import SlotRange, slot_ranges
from deltalakedb.catalog.loads.totals import live_changes
from deltalakedb.catalog.records import load_files_name
from deltalakedb.catalog.retry import passes, retried
from deltalakedb.commit.extend import NewRows, new_rows
from deltalakedb.error import DatabaseBusyError, DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing import spill
from deltalakedb.importing.spill import BALANCED, SpillKey, SpillPolicy
from deltalakedb.log.commit import ActionRows, StateChange
from deltalakedb.log.keys import SkippingColumn
from deltalakedb.log.ranges import RangeSpec
from deltalakedb.log.reader import read_range, read_ranges
from deltalakedb.replay.events import Endings, Events, resolve
from deltalakedb.replay.state import RangeState
from deltalakedb.secret import Secret
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.traffic import counted
from deltalakedb.uri import parse_database


@dataclass(frozen=True)
class ParseSpec:
    """One range to parse, in one attempt to load a run's rows (`<run id>.<number>`).

    `buckets`: into how many pieces its events are split.
    """

    attempt: str
    store: StoreSpec
    range: RangeSpec
    buckets: int
    spill_root: str | None
    spilling: SpillPolicy = BALANCED


@dataclass(frozen=True)
class Summary:
    """What the client needs of a parsed range; the rows stay where they are.

    `requests`, `read_bytes`: of object stores, for this range and those that were read with it
    (told by the first of them).
    """

    part: int
    adds: int
    removes: int
    state: tuple[StateChange, ...]
    times: tuple[tuple[int, int | None, int | None], ...]
    digest: str
    requests: int = 0
    read_bytes: int = 0


@dataclass(frozen=True)
class Parsed:
    """What one task made of a range: the endings it knows of go into buckets by path."""

    summary: Summary
    events: list[Events]


@dataclass(frozen=True, kw_only=True)
class PartSpec:
    """A parsed range whose rows go into a load; `digest` is what was read of it."""

    parse: ParseSpec
    digest: str
    load_id: int
    skipping: tuple[SkippingColumn, ...]


@dataclass(frozen=True, kw_only=True)
class LoadSpec(PartSpec):
    """How a parsed range becomes rows of a load.

    `keep_connection`: whether who loads it keeps the connection for the next.
    """

    run_key: int
    cap: int | None
    commit_times: tuple[int, ...]
    readable: tuple[bool, ...]
    database: Secret
    keep_connection: bool = True


@dataclass(frozen=True)
class Prepared:
    """Rows by table name, and what was counted on the way."""

    tables: dict[str, pa.Table]
    loaded: Loaded


@dataclass(frozen=True)
class Loaded:
    """What a loaded part adds to the table's totals."""

    part: int
    file_rows: int
    live_files: int
    live_bytes: int
    partitions: pa.Table
    live_changes: pa.Table
    slots: tuple[SlotRange, ...]


@dataclass(frozen=True)
class Refused:
    """A part that isn't loaded, as the database has no connection for it now."""

    part: int
    error: DeltaLakeError


def parse_parts(specs: Sequence[ParseSpec]) -> list[Parsed]:
    """Read and replay ranges that are best read together (`RangeSpec.shared`), or one.

    Their rows are kept on this worker until they are loaded.
    """
    with counted() as traffic:
        found = read_ranges(open_store(specs[0].store), [spec.range for spec in specs])
        parsed = [_kept(spec, rows) for spec, rows in zip(specs, found, strict=True)]
    summary = replace(parsed[0].summary, requests=traffic.requests, read_bytes=traffic.read_bytes)
    return [replace(parsed[0], summary=summary), *parsed[1:]]


def _kept(spec: ParseSpec, found: ActionRows) -> Parsed:
    state = _replayed(found, spec.range)
    digest = _digest(state)
    root = _root(spec.spill_root)
    spill.put(SpillKey(spec.attempt, spec.range.index, digest), state, root, spec.spilling)
    times = zip(
        *[state.versions.column(n).to_pylist() for n in ("version", "file_time", "in_commit_time")],
        strict=True,
    )
    summary = Summary(
        part=spec.range.index,
        adds=pc.sum(state.versions.column("num_adds")).as_py()
        or (state.files.num_rows if spec.range.slice is None else 0),
        removes=pc.sum(state.versions.column("num_removes")).as_py() or 0,
        state=state.state,
        times=tuple(times),
        digest=digest,
    )
    return Parsed(summary, state.events(spec.range.index).buckets(spec.buckets))


def _root(spill_root: str | None) -> Path:
    return Path(spill_root) if spill_root else spill.spill_root()


def read_state(spec: ParseSpec) -> RangeState:
    """A range, replayed."""
    return _replayed(read_range(open_store(spec.store), spec.range), spec.range)


def read_alone(spec: ParseSpec) -> tuple[RangeState, int, int]:
    """A range, replayed; the requests to an object store and the bytes that it took."""
    with counted() as traffic:
        state = read_state(spec)
    return state, traffic.requests, traffic.read_bytes


def _replayed(found: ActionRows, part: RangeSpec) -> RangeState:
    how = RangeState.replay if part.slice is None else RangeState.unresolved
    return how(found, part.first, part.last)


def _digest(state: RangeState) -> str:
    """Identifies the rows of a replayed range, so that parsing it again can be trusted."""
    hasher = xxhash.xxh3_128()
    for table, name in ((state.files, "path_key2"), (state.closings, "path_key2")):
        hasher.update(np.ascontiguousarray(table.column(name).to_numpy()).data)
    for digest in state.versions.column("log_digest").to_pylist():
        hasher.update(digest.encode())
    return hasher.hexdigest()


def piece_of(parsed: list[Parsed], number: int) -> Parsed:
    """One of the ranges that a task has parsed together."""
    return parsed[number]


def summary_of(parsed: Parsed) -> Summary:
    """What the client needs to know of a parsed range."""
    return parsed.summary


def bucket_of(parsed: Parsed, bucket: int) -> Events:
    """The events of a parsed range whose paths fall into a bucket."""
    return parsed.events[bucket]


def resolve_bucket(events: list[Events], parts: list[int]) -> dict[int, Endings]:
    """Endings by part, from one bucket of every range of a run."""
    return resolve(Events.concat(events), parts)


def endings_of(resolved: list[dict[int, Endings]], part: int) -> Endings:
    """A part's endings, of all buckets."""
    return Endings.concat([r[part] for r in resolved])


def _reconciled(spec: PartSpec, endings: Endings) -> RangeState:
    """A part's rows. It is parsed again if they were on a worker that is gone."""
    source = spec.parse
    state = spill.get(_spill_key(spec), source.range.first, source.range.last)
    if state is None:
        state = read_state(source)
        if _digest(state) != spec.digest:
            raise DeltaLakeError(
                DeltaLakeErrorKind.LOG_DISAGREES,
                f"the log of versions {source.range.first} to {source.range.last} changed while "
                "it was imported; stop whoever rewrites commits, and run again",
                first=source.range.first,
                last=source.range.last,
            )
    return state.end(endings)


def prepare_new_rows(spec: PartSpec, endings: Endings) -> NewRows:
    """The rows of a part of versions that are new to a load."""
    return new_rows(_reconciled(spec, endings), spec.load_id, spec.skipping)


def prepare_part(spec: LoadSpec, endings: Endings) -> Prepared:
    """The catalog rows of a part of a new load."""
    source = spec.parse
    state = _reconciled(spec, endings)
    if spec.cap is not None:
        state = state.capped(spec.cap)
    files = rows.file_rows(state, spec.load_id, spec.skipping)
    partitions = rows.partition_rows(state)
    tables = {
        load_files_name(spec.load_id): files,
        "dl_versions": rows.version_rows(
            state.versions, spec.load_id, spec.commit_times, spec.readable
        ),
        "dl_change_files": rows.with_load(state.changes, spec.load_id),
        "dl_other_actions": rows.with_load(state.others, spec.load_id),
    }
    loaded = Loaded(
        part=source.range.index,
        file_rows=files.num_rows,
        live_files=pc.sum(partitions.column("num_files")).as_py() or 0,
        live_bytes=pc.sum(partitions.column("total_bytes")).as_py() or 0,
        partitions=partitions,
        live_changes=live_changes(state.files),
        slots=slot_ranges(files, len(spec.skipping)),
    )
    return Prepared({n: _filled(t) for n, t in tables.items() if t.num_rows}, loaded)


def _filled(table: pa.Table) -> pa.Table:
    """Without columns that hold nothing but nulls, a third of most tables' columns."""
    return table.select([n for n in table.column_names if table[n].null_count < len(table)])


def put_part(
    database: Secret,
    run_key: int,
    prepared: Prepared,
    when: Callable[[DeltaLakeError], bool] = passes,
) -> None:
    """Load prepared rows in one transaction with their ledger row; a repetition loads nothing.

    A lost connection, a database that restarts or a lock that is held is tried again, and what
    else `when` says. Of rows that are refused the value at fault is named (`catalog.limits`).
    """
    dialect = dialect_of(parse_database(database))
    loaded = prepared.loaded

    def attempt(_number: int) -> None:
        with dialect.errors(), dialect.loader() as loader:
            if loader.claim(run_key, loaded.part):
                for name, table in prepared.tables.items():
                    loader.append(name, table)
                loader.commit(run_key, loaded.part, loaded.file_rows)

    try:
        retried(attempt, when)
    except DatabaseBusyError:
        raise
    except DeltaLakeError as error:
        raise unstorable(dialect, prepared.tables) or error from None


def load_part(spec: LoadSpec, endings: Endings) -> Loaded | Refused:
    """Prepare a part and load it from here; no worker waits for a connection."""
    prepared = prepare_part(spec, endings)
    try:
        put_part(spec.database, spec.run_key, prepared, _passes_here)
    except DatabaseBusyError as error:
        return Refused(spec.parse.range.index, error)
    finally:
        if not spec.keep_connection:
            close_idle()
    spill.drop(_spill_key(spec))
    return prepared.loaded


def _passes_here(error: DeltaLakeError) -> bool:
    return passes(error) and not isinstance(error, DatabaseBusyError)


def _spill_key(spec: PartSpec) -> SpillKey:
    return SpillKey(spec.parse.attempt, spec.parse.range.index, spec.digest)


def forget(run: str, spill_root: str | None) -> None:
    """Drop what a run (or one attempt of it) has spilled here, and the connections it kept."""
    spill.end(run, _root(spill_root))
    close_idle()
