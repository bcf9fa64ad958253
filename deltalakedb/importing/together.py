"""Many small new tables in one transaction: what each costs alone is mostly messages.

A table is read as `import_table` reads it. What is large, or is there already, is left to that.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from deltalakedb.catalog import rows
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.commit_tables import mirror
from deltalakedb.catalog.dialects.writers import writer_of
from deltalakedb.catalog.loads.ledger import now_ms
from deltalakedb.catalog.loads.slots import slot_ranges
from deltalakedb.catalog.loads.totals import live_changes, live_totals
from deltalakedb.catalog.records import HEAP, load_of
from deltalakedb.catalog.tables import heads, import_runs, loads, tables
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing.head import HeadFacts, head_facts
from deltalakedb.importing.request import ImportRequest
from deltalakedb.importing.result import ImportResult
from deltalakedb.importing.segments import base_version, with_readable
from deltalakedb.importing.state import bare_versions, state_tables
from deltalakedb.importing.tasks import Loaded, ParseSpec, read_state
from deltalakedb.log.location import location_hash
from deltalakedb.log.reader import plan_ranges
from deltalakedb.log.segment import LogListing, Segment
from deltalakedb.replay.intervals import commit_times, state_intervals
from deltalakedb.replay.state import RangeState
from deltalakedb.storage.open import open_store

SMALL_LOG_BYTES = 1 << 20
"""Of log that has to be read, up to which a table is small."""
SMALL_ACTIONS = 2_000

Within = Callable[[sa.Connection, Sequence[ImportResult]], None]
"""Called at the end of the transaction that makes the tables visible."""


@dataclass(frozen=True)
class SmallTable:
    """A table's log, read and replayed, that isn't in the catalog yet."""

    request: ImportRequest
    listing: LogListing
    segment: Segment
    head: HeadFacts
    state: RangeState
    history: RangeState | None
    adds: int
    removes: int
    warnings: tuple[str, ...]
    seconds: float


def _counts(states: Sequence[RangeState]) -> tuple[int, int]:
    """Adds and removes, as an import counts them: the files of a checkpoint are adds."""
    adds = removes = 0
    for state in states:
        adds += pc.sum(state.versions.column("num_adds")).as_py() or state.files.num_rows
        removes += pc.sum(state.versions.column("num_removes")).as_py() or 0
    return adds, removes


class _LargeError(Exception):
    pass


def read_small(request: ImportRequest, listing: LogListing) -> SmallTable | None:
    """Read a table's log as an import would; None for one that isn't small, or has gaps.

    Raises what an import raises: MISSING_COMMIT, CORRUPT_COMMIT, UNSUPPORTED_FEATURE, …
    """
    began = time.perf_counter()
    store = open_store(request.store)

    def attempt(segment: Segment) -> tuple[list[RangeState], list[RangeState]]:
        size = sum(sum(c.size for c in r.commits) + _size(r.base) for r in segment.runs)
        if len(segment.runs) != 1 or size > SMALL_LOG_BYTES:
            raise _LargeError
        ranges = plan_ranges(store, segment)
        read = [(r.run, read_state(ParseSpec("", request.store, r, 1, None))) for r in ranges]
        return [s for run, s in read if run >= 0], [s for run, s in read if run < 0]

    try:
        segment, (own, before), warnings = with_readable(request.chosen_mode, listing, attempt)
    except _LargeError:
        return None
    counts = _counts([*own, *before])
    state = reduce(RangeState.merge, own)
    history = reduce(RangeState.merge, before) if before else None
    if state.files.num_rows + state.closings.num_rows > SMALL_ACTIONS:
        return None
    head = head_facts(state_intervals(state.state, []), segment.head)
    if head.unreadable:
        names = ", ".join(head.unreadable)
        warnings.append(f"metadata is imported, rows can't be read here yet: table feature {names}")
    seconds = time.perf_counter() - began
    return SmallTable(
        request, listing, segment, head, state, history, *counts, tuple(warnings), seconds
    )


def _size(base: Any) -> int:
    return 0 if base is None else int(base.size)


@dataclass(frozen=True)
class _Rows:
    """A table's rows, yet without the id of its load, and what it adds up to."""

    tables: dict[str, pa.Table]
    result: ImportResult
    num_files: int
    total_bytes: int
    skipping: str


def put_together(
    catalog: Catalog, url: DatabaseUrl, small: Sequence[SmallTable], within: Within
) -> list[ImportResult]:
    """Make new tables of the catalog, all of them or, on an error, none.

    Raises TABLE_EXISTS when one of them has come meanwhile, or its name has.
    """
    if not small:
        return []
    prepared = [_rows_of(table) for table in small]
    began = time.perf_counter()
    try:
        with catalog.write() as connection:
            keys = _runs(connection, prepared, small)
            writer = writer_of(url, connection.connection.dbapi_connection)
            for name, found in _bulks(prepared, keys).items():
                writer.bulk(name, found)
            _tables(connection, prepared, small, keys)
            results = [p.result for p in prepared]
            within(connection, results)
    except sa.exc.IntegrityError as error:
        raise _exists() from error
    except DeltaLakeError as error:
        if isinstance(error.__context__, sa.exc.IntegrityError):
            raise _exists() from error
        raise
    each = (time.perf_counter() - began) / len(small)
    return [replace(r, seconds=t.seconds + each) for r, t in zip(results, small, strict=True)]


def _exists() -> DeltaLakeError:
    return DeltaLakeError(
        DeltaLakeErrorKind.TABLE_EXISTS,
        "one of these tables, or its name, has come into the catalog meanwhile; import them again",
    )


def _rows_of(table: SmallTable) -> _Rows:
    state, head, segment = table.state, table.head, table.segment
    files = rows.file_rows(state, 0, head.skipping)
    partitions = rows.partition_rows(state)
    loaded = Loaded(
        part=0,
        file_rows=files.num_rows,
        live_files=pc.sum(partitions.column("num_files")).as_py() or 0,
        live_bytes=pc.sum(partitions.column("total_bytes")).as_py() or 0,
        partitions=partitions,
        live_changes=live_changes(state.files),
        slots=slot_ranges(files, len(head.skipping)),
    )
    versions = _versions(table, loaded)
    states = [state] if table.history is None else [state, table.history]
    found = {
        HEAP: files,
        "dl_versions": versions,
        "dl_change_files": rows.with_load(pa.concat_tables([s.changes for s in states]), 0),
        "dl_other_actions": rows.with_load(pa.concat_tables([s.others for s in states]), 0),
        **state_tables(0, head.intervals, [loaded]),
    }
    skipping = [
        {
            **column.to_json(),
            "least": slot.least,
            "greatest": slot.greatest,
            "width": slot.width,
            "missing": slot.missing,
            "indexed": False,
        }
        for column, slot in zip(head.skipping, loaded.slots, strict=True)
    ]
    request = table.request
    result = ImportResult(
        table_id=request.table_id or str(uuid.uuid4()),
        table_name=request.full_name,
        location=request.location,
        run_id=str(uuid.uuid4()),
        status="imported",
        mode=request.chosen_mode,
        from_version=segment.known_since,
        to_version=segment.head,
        checkpoint_version=base_version(segment),
        known_since=segment.known_since,
        versions=versions.num_rows,
        adds=table.adds,
        removes=table.removes,
        live_files=loaded.live_files,
        workers=0,
        seconds=table.seconds,
        warnings=table.warnings,
    )
    return _Rows(
        found, result, loaded.live_files, loaded.live_bytes, orjson.dumps(skipping).decode()
    )


def _versions(table: SmallTable, loaded: Loaded) -> pa.Table:
    """Rows of `dl_versions` with the totals of those that can be read."""
    states = [table.state] if table.history is None else [table.state, table.history]
    known = pa.concat_tables([s.versions for s in states]).sort_by("version")
    names = ("version", "file_time", "in_commit_time")
    commits = list(zip(*[known.column(n).to_pylist() for n in names], strict=True))
    times = dict(
        zip((c[0] for c in commits), commit_times(commits, table.head.intervals), strict=True)
    )
    run = table.segment.runs[0]
    readable = [run.first <= c[0] <= run.last for c in commits]
    found = rows.version_rows(known, 0, list(times.values()), readable)
    bare = bare_versions(0, table.segment, times)
    every = pa.concat_tables([found, bare], promote_options="permissive").sort_by("version")
    wanted = every.filter(every.column("readable")).column("version").to_pylist()
    totals = dict(zip(wanted, live_totals(loaded.live_changes, wanted), strict=True))
    version = every.column("version").to_pylist()
    for place, name in enumerate(("live_files", "live_bytes")):
        values = pa.array([totals[v][place] if v in totals else None for v in version], pa.int64())
        if name in every.column_names:
            every = every.set_column(every.column_names.index(name), name, values)
        else:
            every = every.append_column(name, values)
    return every


def _bulks(prepared: Sequence[_Rows], keys: Sequence[int]) -> dict[str, pa.Table]:
    """The rows of all tables together, by name, with the ids of their loads."""
    gathered: dict[str, list[pa.Table]] = {}
    for each, key in zip(prepared, keys, strict=True):
        for name, found in each.tables.items():
            if found.num_rows:
                load = pa.array(np.full(found.num_rows, load_of(key, heap=True), np.int64))
                place = found.column_names.index("load_id")
                gathered.setdefault(name, []).append(found.set_column(place, "load_id", load))
    joined = {n: pa.concat_tables(t, promote_options="permissive") for n, t in gathered.items()}
    return {
        name: found.select([c for c in found.column_names if found[c].null_count < len(found)])
        for name, found in joined.items()
    }


def _runs(
    connection: sa.Connection, prepared: Sequence[_Rows], small: Sequence[SmallTable]
) -> list[int]:
    """Record the runs, as they will have been; the keys of the new rows, in order."""
    now = now_ms()
    values = []
    for each, table in zip(prepared, small, strict=True):
        result, checkpoints = each.result, table.listing.checkpoints
        values.append(
            {
                "run_id": result.run_id,
                "table_id": result.table_id,
                "table_name": result.table_name,
                "location": result.location,
                "mode": result.mode,
                "status": "succeeded",
                "workers": 0,
                "started_at": now,
                "finished_at": now,
                "from_version": result.from_version,
                "to_version": result.to_version,
                "checkpoint_version": result.checkpoint_version,
                "checkpoint_fingerprint": checkpoints[0].fingerprint if checkpoints else None,
                "versions": result.versions,
                "adds": result.adds,
                "removes": result.removes,
                "live_files": result.live_files,
                "seconds": result.seconds,
            }
        )
    connection.execute(import_runs.insert(), values)
    keys = _keys(connection, import_runs.c.run_id, import_runs.c.run_key, values)
    made = [load_of(key, heap=True) for key in keys]
    # A load of the heap has its run's key, negative (`records.load_of`).
    connection.execute(
        import_runs.update()
        .where(import_runs.c.run_key.in_(keys))
        .values(load_id=-import_runs.c.run_key)
    )
    connection.execute(
        loads.insert(),
        [
            {"load_id": load, "run_key": key, "created_at": now}
            for key, load in zip(keys, made, strict=True)
        ],
    )
    return keys


def _keys(
    connection: sa.Connection,
    name: sa.ColumnElement[str],
    key: sa.ColumnElement[int],
    values: Sequence[dict[str, Any]],
) -> list[int]:
    """The keys that the database gave to new rows, in the order of `values`."""
    column = str(getattr(name, "name", ""))
    wanted = [value[column] for value in values]
    found = connection.execute(sa.select(name, key).where(name.in_(wanted)))
    known = {text: int(number) for text, number in found}
    return [known[text] for text in wanted]


def _tables(
    connection: sa.Connection,
    prepared: Sequence[_Rows],
    small: Sequence[SmallTable],
    runs: Sequence[int],
) -> None:
    now = now_ms()
    values = []
    for each, table in zip(prepared, small, strict=True):
        namespace, name = table.request.named
        values.append(
            {
                "table_id": each.result.table_id,
                "namespace": namespace,
                "name": name,
                "location": table.request.location,
                "location_hash": location_hash(table.request.location),
                "log_location": table.request.store.url,
                "mode": table.request.chosen_mode,
                "skipping": each.skipping,
                "unreadable_features": ",".join(table.head.unreadable),
                "created_at": now,
                "changes_since": each.result.to_version,
            }
        )
    connection.execute(tables.insert(), values)
    keys = _keys(connection, tables.c.table_id, tables.c.table_key, values)
    connection.execute(
        heads.insert(),
        [
            {
                "table_key": key,
                "head_version": each.result.to_version,
                "known_since": each.result.known_since,
                "epoch": 1,
                "authority": "log",
                "live_load": load_of(run, heap=True),
                "num_files": each.num_files,
                "total_bytes": each.total_bytes,
                "updated_at": now,
            }
            for key, run, each in zip(keys, runs, prepared, strict=True)
        ],
    )
    connection.execute(
        mirror.insert(),
        [
            {
                "table_key": key,
                "published_version": each.result.to_version,
                "durable_version": each.result.to_version,
            }
            for key, each in zip(keys, prepared, strict=True)
        ],
    )
