"""Planning: from a predicate to the files that may match, each step on what the last one left.

Partitions (exact), pruning keys (integers, in SQL or over the cached file list), statistics
(what the keys can't say). No step loses a file that could match.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa

from deltalakedb.catalog.reading.catalog import LightCatalog, PartitionSet
from deltalakedb.catalog.reading.proof import check_complete
from deltalakedb.catalog.reading.queries import file_schema, totals_at
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.columns import array_of, column_of, numbers_of, table_of
from deltalakedb.planning.from_sql import few_from_sql, from_sql
from deltalakedb.planning.pruning.partitions import PartitionTuples, partition_condition, text_tests
from deltalakedb.planning.request import (
    IDS_IN_SQL,
    ROWS_AT_ONCE,
    PartitionGroup,
    Plan,
    PlanRequest,
    Step,
)
from deltalakedb.predicate.tree import TRUE, Expr, columns_of

if TYPE_CHECKING:
    from deltalakedb.planning.key_sql import KeyQuestion


def plan(
    catalog: LightCatalog, request: PlanRequest, cached: Callable[[], pa.Table | None] | None = None
) -> Plan:
    """Answer a request from SQL, or from the list that `cached` has of that very version.

    What few files of many are asked for is asked of SQL, which is faster there.
    """
    started = time.perf_counter()
    partitions, asked = _partitions(catalog, request)
    groups, readable = [PartitionGroup(request.predicate, None)], True
    if asked and partitions is not None:
        groups, readable = _groups(request, partitions)
    left, detail = _left(request, partitions, groups)
    at_head = request.version == request.table.head_version
    steps = [Step("partitions", left if at_head else None, detail, _since(started))]

    columns = _columns(request)
    pieces: list[pa.Table] = []
    how = "nothing to look up"
    looked = ruled = 0
    milliseconds = [0.0, 0.0]
    listed: pa.Table | None = None
    many = request.table.num_files > ROWS_AT_ONCE
    for group in groups:
        started = time.perf_counter()
        keys = None
        fetched = columns
        if group.predicate is not None:
            keys = _keys(request, group.predicate)
            fetched = tuple(dict.fromkeys((*columns, "stats")))
        answer = None
        if many and (cached is not None or listed is not None):
            answer = few_from_sql(catalog, request, group, keys, fetched)
        if answer is None:
            if cached is not None:
                listed, cached = cached(), None
            if listed is not None:
                from deltalakedb.planning.from_cache import from_cache

                condition = None if keys is None else keys.condition
                answer = from_cache(listed, group.partitions, condition, fetched)
            else:
                answer = from_sql(catalog, request, group, keys, fetched)
        found, how = answer
        looked += found.num_rows
        milliseconds[0] += _since(started)
        if group.predicate is not None and found.num_rows:
            from deltalakedb.planning.pruning.statistics import statistics_filter

            started = time.perf_counter()
            mask = statistics_filter(group.predicate, found.column("stats"))
            ruled += int(len(mask) - np.count_nonzero(mask))
            found = found if mask.all() else found.filter(array_of(mask))
            milliseconds[1] += _since(started)
        pieces.append(found.select(columns))
    steps.append(Step("keys", looked, how, milliseconds[0]))
    if any(g.predicate is not None for g in groups):
        detail = f"{ruled:,} ruled out by min, max and null counts"
        steps.append(Step("statistics", looked - ruled, detail, milliseconds[1]))
    if not pieces:
        pieces.append(table_of([], file_schema(columns)))
    files = pieces[0] if len(pieces) == 1 else pa.concat_tables(pieces)
    if request.predicate is None and listed is None:
        expected = totals_at(catalog, request.table, request.version)
        check_complete(files, request.table, request.version, expected)
    if "partition_values" in request.columns:
        texts = _spelled(catalog, request, files, partitions)
        files = files.append_column("partition_values", texts)
    total = None if partitions is None else partitions.total
    return Plan(files.select(request.columns), steps, total, readable)


def _keys(request: PlanRequest, predicate: Expr) -> KeyQuestion | None:
    # With its first use: a question about partitions alone needs none of it.
    from deltalakedb.planning.key_sql import key_question, slots_of

    return key_question(predicate, slots_of(request.table.skipping))


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000


_tuples: WeakKeyDictionary[PartitionSet, PartitionTuples] = WeakKeyDictionary()
"""Tuples taken apart, as long as the catalog keeps them."""


def _partitions(catalog: LightCatalog, request: PlanRequest) -> tuple[PartitionSet | None, bool]:
    """Those that may pass, where the predicate is about them; all, where all files are told.

    And whether the predicate asks anything of them.
    """
    table, version = request.table, request.version
    if request.predicate is None:
        return catalog.partitions(table, version), False
    condition = partition_condition(request.predicate, request.partition_columns)
    if condition is not None:
        return catalog.partitions(table, version, text_tests(condition)), True
    if _mentions_partitions(request):
        return catalog.partitions(table, version), True
    return catalog.kept_partitions(table.live_load, version), False


def _left(
    request: PlanRequest, partitions: PartitionSet | None, groups: Sequence[PartitionGroup]
) -> tuple[int, str]:
    """How many files the partitions leave at the head, and what to tell of it."""
    if partitions is None:
        return request.table.num_files, "all partitions"
    kept = sum(len(partitions if g.partitions is None else g.partitions) for g in groups)
    counted = sum(
        partitions.num_files if g.partitions is None else sum(p.num_files for p in g.partitions)
        for g in groups
    )
    return counted, f"{kept:,} of {partitions.total:,} partitions"


def _groups(request: PlanRequest, partitions: PartitionSet) -> tuple[list[PartitionGroup], bool]:
    """Partitions that may match, by what the predicate still asks of their files.

    And whether all values that it asks about can be read.
    """
    assert request.predicate is not None
    tuples = _tuples.get(partitions)
    if tuples is None:
        tuples = _tuples[partitions] = PartitionTuples(partitions.texts)
    groups = []
    for predicate, places in tuples.groups(request.predicate, request.partition_columns):
        everywhere = len(places) == partitions.total
        rows = None if everywhere else [partitions.rows[place] for place in places]
        groups.append(PartitionGroup(None if predicate == TRUE else predicate, rows))
    return groups, bool(tuples.readable(request.predicate, request.partition_columns).all())


def _mentions_partitions(request: PlanRequest) -> bool:
    """Whether a partition column occurs, be it where it excludes no partition by itself."""
    assert request.predicate is not None
    partitioned = {(name,) for name in request.partition_columns}
    return any(column.path in partitioned for column in columns_of(request.predicate))


def _columns(request: PlanRequest) -> tuple[str, ...]:
    """What to fetch: the wanted columns and the partition's id."""
    wanted = (c for c in request.columns if c != "partition_values")
    return tuple(dict.fromkeys((*wanted, "partition_id")))


def _spelled(
    catalog: LightCatalog, request: PlanRequest, files: pa.Table, partitions: PartitionSet | None
) -> pa.Array:
    """The partition values of each file; `partitions` has those of all of them."""
    ids = files.column("partition_id")
    table, version = request.table, request.version
    if not len(ids):
        return column_of([], pa.string())
    try:
        if partitions is None and len(ids) <= IDS_IN_SQL:
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
