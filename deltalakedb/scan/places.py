"""The rows of a data file that a condition chooses, with their places among its physical rows.

A condition leaves few rows: which of them are live is asked afterwards, and columns that are asked
again and again are kept decoded (`scan.kept`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.log.plain_arrow import plain_batch
from deltalakedb.predicate.mask import bounds_of, mask, may_hold
from deltalakedb.scan import kept
from deltalakedb.scan.columns import Convert
from deltalakedb.scan.file import (
    ROW_INDEX,
    DataFile,
    ReadPlan,
    columns_in,
    deleted_of,
    errors_named,
    opened,
    row_groups_of,
    runs,
    stored_batches,
    table_batch,
)

_COUNTED = 1 << 17


def read_places(file: DataFile, plan: ReadPlan) -> Iterator[pa.RecordBatch]:
    """`read_file` for a plan with a predicate and ROW_INDEX."""
    with errors_named(file, plan):
        key = kept.key_of(file.filesystem, file.arrow_path, _what(plan))
        decoded = kept.find(key)
        if decoded is not None:
            deleted = deleted_of(file, plan, decoded.num_rows)
            held = ((batch, batch.num_rows) for batch in decoded.batches)
            yield from _chosen(held, 0, file, plan, decoded.found, deleted, decoded.bounds)
            return
        with file.filesystem.open_input_file(file.arrow_path) as source:
            footer, parquet = opened(source)
            found = columns_in(parquet, plan)
            metadata = parquet.metadata
            deleted = deleted_of(file, plan, metadata.num_rows)
            again = bool(found) and kept.was_asked(key) and metadata.num_rows <= kept.MOST_ROWS
            every = range(metadata.num_row_groups)
            groups = every if again else row_groups_of(footer, parquet, file, plan, found)
            if plan.tally is not None:
                plan.tally.note(footer, metadata, groups, {name for name, _ in found.values()})
            keeping = kept.Keeping() if again else None
            for start, rows, run in runs(metadata, groups):
                parts = stored_batches(parquet, run, rows, plan, found)
                if keeping is not None:
                    parts = keeping.noting(parts)
                yield from _chosen(parts, start, file, plan, found, deleted)
            if keeping is not None:
                kept.keep(key, metadata.num_rows, found, keeping)


def _what(plan: ReadPlan) -> kept.Key:
    """Which of a file's columns are read, and as what."""
    fields = [field for field in plan.needed if not plan.schema.is_partition(field)]
    columns = tuple((f.name, f.physical_name, f.field_id, str(f.arrow)) for f in fields)
    return (columns, plan.schema.mode, plan.batch_size)


def _chosen(
    parts: Iterable[kept.Stored],
    start: int,
    file: DataFile,
    plan: ReadPlan,
    found: Mapping[str, tuple[str, Convert]],
    deleted: npt.NDArray[np.int64] | None,
    bounds: dict[int, Mapping[str, tuple[Any, Any]]] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Of batches that begin at row `start` of the file; `bounds` takes what their columns hold."""
    whole = replace(plan, predicate=None, output=plan.needed)
    for number, (stored, length) in enumerate(parts):
        if plan.test is None:
            batch = table_batch(stored, length, file, plan, found, _counted(length))
            places = batch.column(batch.num_columns - 1).to_numpy()
            batch = batch.remove_column(batch.num_columns - 1)
        else:
            if bounds is not None and not may_hold(plan.test, bounds.get(number, {})):
                start += length
                continue
            batch = table_batch(stored, length, file, whole, found, None)
            if bounds is not None and number not in bounds:
                bounds[number] = _bounds(batch, found)
            passing = mask(plan.test, batch)
            if not passing.true_count:
                start += length
                continue
            chosen = pc.indices_nonzero(passing)
            places = chosen.to_numpy().astype(np.int64)
            batch = batch.select(range(len(plan.output))).take(chosen)
        batch = batch.append_column(ROW_INDEX, pa.array(places + start))
        start += length
        batch = _live(batch, deleted)
        if batch.num_rows:
            yield batch


def _bounds(batch: pa.RecordBatch, names: Iterable[str]) -> dict[str, tuple[Any, Any]]:
    """Of a batch's columns that its file has."""
    known = ((name, bounds_of(batch.column(name))) for name in names)
    return {name: each for name, each in known if each is not None}


@cache
def _count() -> pa.Int64Array:
    return pa.array(np.arange(_COUNTED, dtype=np.int64))


def _counted(length: int) -> pa.Int64Array:
    """0, 1, 2 …"""
    if length <= _COUNTED:
        return _count().slice(0, length)
    return pa.array(np.arange(length, dtype=np.int64))


def _live(batch: pa.RecordBatch, deleted: npt.NDArray[np.int64] | None) -> pa.RecordBatch:
    """The rows whose places, the last column, the vector doesn't name."""
    places = batch.column(batch.num_columns - 1).to_numpy()
    if deleted is None or not len(places) or not len(deleted):
        return batch
    at = np.minimum(np.searchsorted(deleted, places), len(deleted) - 1)
    live = deleted[at] != places
    return batch if live.all() else plain_batch(batch).filter(pa.array(live))
