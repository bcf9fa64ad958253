"""Planning: from a predicate to the files that may match, each step on what the last one left.

Partitions (exact), pruning keys (integers, in SQL or over the cached file list), statistics
(what the keys can't say). No step loses a file that could match.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa

from deltalakedb.catalog.reading.catalog import LightCatalog, PartitionRow, PartitionSet
from deltalakedb.catalog.reading.proof import (
    check_complete,
    proven,
    proven_batches,
    proven_rows,
)
from deltalakedb.catalog.reading.queries import file_schema, live_predicate, totals_at
from deltalakedb.catalog.records import TableRow, load_files_name
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.columns import array_of, column_of, numbers_of, table_of
from deltalakedb.log.keys import NEG_INF, SkippingColumn
from deltalakedb.planning.pruning.keys import (
    KeyAnd,
    KeyExpr,
    KeyOr,
    SlotBound,
    evaluate_keys,
    key_condition,
)
from deltalakedb.planning.pruning.partitions import PartitionTuples, partition_condition, text_tests
from deltalakedb.planning.pruning.statistics import statistics_filter
from deltalakedb.predicate.tree import FALSE, TRUE, Expr, columns_of

PLAN_COLUMNS = (
    "path",
    "size",
    "partition_values",
    "modification_time",
    "num_records",
    "dv_id",
    "dv",
    "stats",
    "base_row_id",
    "default_row_commit_version",
)
"""Columns of a plan: those of FileRows (`log.rows`); paths are raw, as in the log."""

ROWS_AT_ONCE = 20_000
"""Up to here a result is fetched row by row; more is streamed in bulk."""
_IDS_IN_SQL = 10_000


@dataclass(frozen=True)
class Slot:
    """A pruning slot of a table: which column, and what its keys are like."""

    number: int
    column: SkippingColumn
    width: int
    missing: int
    indexed: bool


def slots_of(table: TableRow) -> tuple[Slot, ...]:
    """The slots that `dl_tables.skipping` describes."""
    return tuple(
        Slot(n, SkippingColumn.from_json(d), d["width"], d["missing"], d["indexed"])
        for n, d in enumerate(json.loads(table.skipping))
    )


@dataclass(frozen=True)
class Step:
    """What a step of planning left: `files` (None: not counted there), how, in how many ms."""

    name: str
    files: int | None
    detail: str
    milliseconds: float


@dataclass
class Plan:
    """The files that may match, and how they were found."""

    files: pa.Table
    steps: list[Step] = field(default_factory=list)
    partitions: int | None = None
    """How many the load has; None: nobody looked."""


@dataclass(frozen=True)
class PlanRequest:
    """One question: which files of `version` may hold rows that satisfy `predicate`."""

    table: TableRow
    version: int
    partition_columns: tuple[str, ...]
    predicate: Expr | None
    columns: tuple[str, ...]


@dataclass(frozen=True)
class _Group:
    """Partitions with one question left to their files.

    `predicate` None: none, all their files match; `partitions` None: all there are.
    """

    predicate: Expr | None
    partitions: list[PartitionRow] | None


def plan(catalog: LightCatalog, request: PlanRequest, cached: pa.Table | None = None) -> Plan:
    """Answer a request from SQL, or from `cached`: the live file list of that very version."""
    started = time.perf_counter()
    partitions = _partitions(catalog, request)
    groups = _groups(request, partitions)
    left, detail = _left(request, partitions, groups)
    at_head = request.version == request.table.head_version
    steps = [Step("partitions", left if at_head else None, detail, _since(started))]

    slots = slots_of(request.table)
    columns = _columns(request)
    pieces, how = [table_of([], file_schema(columns))], "nothing to look up"
    looked = ruled = 0
    milliseconds = [0.0, 0.0]
    for group in groups:
        started = time.perf_counter()
        condition = None
        if group.predicate is not None:
            condition = key_condition(group.predicate, [s.column for s in slots])
        if cached is not None:
            found, how = _from_cache(cached, group.partitions, condition, columns)
        else:
            found, how = _from_sql(catalog, request, group, condition, slots, columns)
        looked += found.num_rows
        milliseconds[0] += _since(started)
        if group.predicate is not None and found.num_rows:
            started = time.perf_counter()
            mask = statistics_filter(group.predicate, found.column("stats"))
            ruled += int(len(mask) - np.count_nonzero(mask))
            found = found if mask.all() else found.filter(array_of(mask))
            milliseconds[1] += _since(started)
        pieces.append(found)
    steps.append(Step("keys", looked, how, milliseconds[0]))
    if any(g.predicate is not None for g in groups):
        detail = f"{ruled:,} ruled out by min, max and null counts"
        steps.append(Step("statistics", looked - ruled, detail, milliseconds[1]))
    files = pa.concat_tables(pieces)
    if request.predicate is None and cached is None:
        expected = totals_at(catalog, request.table, request.version)
        check_complete(files, request.table, request.version, expected)
    if "partition_values" in request.columns:
        texts = _spelled(catalog, request, files, partitions)
        files = files.append_column("partition_values", texts)
    total = None if partitions is None else partitions.total
    return Plan(files.select(request.columns), steps, total)


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


_tuples: WeakKeyDictionary[PartitionSet, PartitionTuples] = WeakKeyDictionary()
"""Tuples taken apart, as long as the catalog keeps them."""


def _partitions(catalog: LightCatalog, request: PlanRequest) -> PartitionSet | None:
    """Those that may pass, where the predicate is about them; all, where all files are told."""
    table, version = request.table, request.version
    if request.predicate is None:
        return catalog.partitions(table, version)
    condition = partition_condition(request.predicate, request.partition_columns)
    if condition is not None:
        return catalog.partitions(table, version, text_tests(condition))
    if _mentions_partitions(request):
        return catalog.partitions(table, version)
    return catalog.kept_partitions(table.live_load, version)


def _asks_partitions(request: PlanRequest) -> bool:
    assert request.predicate is not None
    condition = partition_condition(request.predicate, request.partition_columns)
    return condition is not None or _mentions_partitions(request)


def _left(
    request: PlanRequest, partitions: PartitionSet | None, groups: Sequence[_Group]
) -> tuple[int, str]:
    """How many files the partitions leave at the head, and what to tell of it."""
    if partitions is None:
        return request.table.num_files, "all partitions"
    chosen = [partitions.rows if g.partitions is None else g.partitions for g in groups]
    kept = sum(map(len, chosen))
    counted = sum(p.num_files for rows in chosen for p in rows)
    return counted, f"{kept:,} of {partitions.total:,} partitions"


def _groups(request: PlanRequest, partitions: PartitionSet | None) -> list[_Group]:
    """Partitions that may match, by what the predicate still asks of their files."""
    if request.predicate is None or partitions is None or not _asks_partitions(request):
        return [_Group(request.predicate, None)]
    tuples = _tuples.get(partitions)
    if tuples is None:
        tuples = _tuples[partitions] = PartitionTuples(partitions.texts)
    left, which = tuples.residuals(request.predicate, request.partition_columns)
    groups = []
    for number, predicate in enumerate(left):
        places = np.flatnonzero(which == number)
        if predicate == FALSE or not len(places):
            continue
        everywhere = len(places) == partitions.total
        rows = None if everywhere else [partitions.rows[place] for place in places]
        groups.append(_Group(None if predicate == TRUE else predicate, rows))
    return groups


def _mentions_partitions(request: PlanRequest) -> bool:
    """Whether a partition column occurs, be it where it excludes no partition by itself."""
    assert request.predicate is not None
    partitioned = {(name,) for name in request.partition_columns}
    return any(column.path in partitioned for column in columns_of(request.predicate))


def _columns(request: PlanRequest) -> tuple[str, ...]:
    """What to fetch: the wanted columns, the partition's id, statistics for the residual."""
    wanted = [c for c in request.columns if c != "partition_values"]
    needed = ["partition_id", *(["stats"] if request.predicate is not None else [])]
    return tuple(wanted + [c for c in needed if c not in wanted])


def _from_sql(
    catalog: LightCatalog,
    request: PlanRequest,
    group: _Group,
    condition: KeyExpr | None,
    slots: Sequence[Slot],
    columns: tuple[str, ...],
) -> tuple[pa.Table, str]:
    matching = group.partitions
    total = request.table.num_files
    counted = total if matching is None else sum(p.num_files for p in matching)
    where = [live_predicate(request.table, request.version)]
    used = "scan"
    filtered_later = matching is not None and len(matching) > _IDS_IN_SQL
    if matching is not None and not filtered_later:
        listed = ", ".join(str(p.partition_id) for p in matching)
        where.append(f"partition_id IN ({listed})")
        used = "index on (partition_id, removed_version)"
    bounded = False
    if condition is not None:
        text, bounded = key_sql(condition, slots)
        where.append(text)
        if bounded:
            used = f"index on {_slot_names(condition, slots)}" + (
                " or " + used if matching is not None else ""
            )
    sql = (
        f"SELECT {', '.join(columns)} FROM {load_files_name(request.table.live_load)} "
        f"WHERE {' AND '.join(where)}"
    )
    few = bounded or condition is not None
    found = _fetch(catalog, request, sql, columns, few=few, counted=counted)
    if filtered_later:
        assert matching is not None
        ids = np.array([p.partition_id for p in matching], dtype=np.int64)
        found = found.filter(array_of(_among(numbers_of(found.column("partition_id")), ids)))
    return found, f"SQL, {used}"


def _fetch(
    catalog: LightCatalog,
    request: PlanRequest,
    sql: str,
    columns: tuple[str, ...],
    *,
    few: bool,
    counted: int,
) -> pa.Table:
    schema = file_schema(columns)
    table, version = request.table, request.version
    if few or counted <= ROWS_AT_ONCE:
        names = ", ".join(columns)
        some = f"SELECT {names} FROM ({sql} LIMIT {ROWS_AT_ONCE + 1}) a"
        key = columns.index("partition_id")
        rows = proven_rows(catalog.reader, table, version, columns, some, key=key)
        if len(rows) <= ROWS_AT_ONCE:
            return table_of(rows, schema)
    dialect = catalog.reader.dialect
    with dialect.errors():
        batches = dialect.stream(proven(table, version, columns, sql), schema)
        proven_ones = proven_batches(batches, table, version, "partition_id")
        return pa.Table.from_batches(list(proven_ones), schema)


def _slot_names(condition: KeyExpr, slots: Sequence[Slot]) -> str:
    used = sorted(s for s in slots_used(condition) if slots[s].indexed)
    return ", ".join(".".join(slots[s].column.path) for s in used)


def key_sql(condition: KeyExpr, slots: Sequence[Slot]) -> tuple[str, bool]:
    """A key condition as SQL over lo and hi; and whether an index bounds what it looks at.

    Where a slot is indexed and no file is wider than `width`, `hi >= x` implies `lo >= x - width`:
    that is what makes the btree on `lo` find the few files around a point.
    """
    if isinstance(condition, SlotBound):
        slot = slots[condition.slot]
        low, high = f"lo{slot.number}", f"hi{slot.number}"
        parts = []
        if condition.lo_max is not None:
            parts.append(f"{low} <= {condition.lo_max}")
        bounded = False
        if condition.hi_min is not None:
            parts.append(f"{high} >= {condition.hi_min}")
            least = condition.hi_min - slot.width
            if slot.indexed and least > NEG_INF:
                bounded = condition.lo_max is not None
                if slot.missing:
                    parts.append(f"({low} >= {least} OR {low} = {NEG_INF})")
                else:
                    parts.append(f"{low} >= {least}")
        return " AND ".join(parts) or "1 = 1", bounded
    found = [key_sql(child, slots) for child in condition.children]
    if isinstance(condition, KeyAnd):
        return " AND ".join(text for text, _ in found), any(bounded for _, bounded in found)
    either = " OR ".join(f"({text})" for text, _ in found)
    return f"({either or '1 = 0'})", all(bounded for _, bounded in found)


def slots_used(condition: KeyExpr) -> set[int]:
    """The slots that a condition looks at."""
    if isinstance(condition, SlotBound):
        return {condition.slot}
    assert isinstance(condition, KeyAnd | KeyOr)
    return {slot for child in condition.children for slot in slots_used(child)}


def _from_cache(
    cached: pa.Table,
    matching: list[PartitionRow] | None,
    condition: KeyExpr | None,
    columns: tuple[str, ...],
) -> tuple[pa.Table, str]:
    """Batch by batch, so that what is looked at stays mapped and what is copied is small."""
    if matching is None and condition is None:
        return cached.select(columns), "cached file list"
    used = sorted(slots_used(condition)) if condition is not None else []
    ids = np.array(sorted(p.partition_id for p in matching or ()), dtype=np.int64)
    pieces = []
    for batch in cached.to_batches():
        mask = np.ones(batch.num_rows, dtype=bool)
        if matching is not None:
            mask &= _among(numbers_of(batch.column("partition_id")), ids)
        if condition is not None:
            lo: list[Any] = [None] * (used[-1] + 1 if used else 0)
            hi = list(lo)
            for slot in used:
                lo[slot], hi[slot] = (
                    numbers_of(batch.column(f"lo{slot}")),
                    numbers_of(batch.column(f"hi{slot}")),
                )
            mask &= evaluate_keys(condition, lo, hi)
        rows = np.flatnonzero(mask)
        if len(rows):
            pieces.append(batch.select(columns).take(array_of(rows)))
    how = "cached file list" + (", vectorised keys" if condition is not None else "")
    return pa.Table.from_batches(pieces, file_schema(columns)), how


Ints = np.ndarray[Any, np.dtype[np.int64]]


def _among(values: Ints, ids: Ints) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if len(ids) == 1:
        return np.asarray(values == ids[0])
    return np.isin(values, ids)


def _spelled(
    catalog: LightCatalog, request: PlanRequest, files: pa.Table, partitions: PartitionSet | None
) -> pa.Array:
    """The partition values of each file; `partitions` has those of all of them."""
    ids = files.column("partition_id")
    table, version = request.table, request.version
    if not len(ids):
        return column_of([], pa.string())
    try:
        if partitions is None and len(ids) <= _IDS_IN_SQL:
            each = ids.to_pylist()
            texts = catalog.partition_texts(table, version, set(each))
            return column_of([texts[i] for i in each], pa.string())
        return _texts(ids, partitions or catalog.partitions(table, version))
    except KeyError:
        raise DeltaLakeError(
            DeltaLakeErrorKind.DATABASE_ERROR,
            "files refer to partitions that the catalog doesn't have; run `dl diff`, then import "
            "the table anew with --rebuild",
        ) from None


def _texts(ids: pa.ChunkedArray, partitions: PartitionSet) -> pa.Array:
    place_of, texts = partitions.place_of, partitions.texts
    if len(ids) <= ROWS_AT_ONCE:
        return column_of([texts[place_of[i]] for i in ids.to_pylist()], pa.string())
    distinct, codes = np.unique(numbers_of(ids), return_inverse=True)
    spelled = column_of([texts[place_of[i]] for i in distinct.tolist()], pa.string())
    return spelled.take(array_of(codes))
