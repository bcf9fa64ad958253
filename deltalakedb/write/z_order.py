"""Rows in the order of a curve that keeps near what is near in several columns, in bounded memory.

A column's values become ranks among its sampled quantiles, nulls first; the bits of the ranks are
interleaved (Morton order). Rows are put aside on disk by ranges of the curve, and each range is
sorted in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import PrimitiveType, StructType
from deltalakedb.write.casts import matched
from deltalakedb.write.layout import Values
from deltalakedb.write.spill import Spill

_BITS = 60
_SAMPLED = 200_000
"""Rows of the sample."""
_UNORDERED = frozenset({"variant", "void"})
_CURVE = "\0curve"


class ZOrder:
    """The columns to order by. Raises SCHEMA_MISMATCH for one that isn't there or has no order,
    INVALID_ARGUMENT for none or a partition column."""

    def __init__(
        self, schema: StructType, partition_columns: Sequence[str], columns: Sequence[str]
    ) -> None:
        if not columns:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT, "z_order takes at least one column"
            )
        names = [field.name for field in schema.fields]
        self.columns: list[str] = []
        for given in columns:
            place = matched(names, given)
            if place is None:
                raise DeltaLakeError(
                    DeltaLakeErrorKind.SCHEMA_MISMATCH,
                    f"there is no column {given} to order by; choose some of {', '.join(names)}",
                    column=given,
                )
            field = schema.fields[place]
            if not isinstance(field.type, PrimitiveType) or field.type.name in _UNORDERED:
                raise DeltaLakeError(
                    DeltaLakeErrorKind.SCHEMA_MISMATCH,
                    f"column {field.name} has no order to go by; choose a column of a primitive "
                    "type",
                    column=field.name,
                )
            if field.name in partition_columns or field.name in self.columns:
                raise DeltaLakeError(
                    DeltaLakeErrorKind.INVALID_ARGUMENT,
                    f"column {field.name} is a partition column, whose rows are together already, "
                    "or is named twice; leave it out",
                    column=field.name,
                )
            self.columns.append(field.name)

    def sampled(self, batches: Iterable[pa.RecordBatch]) -> Curve:
        """The curve of rows; `batches` have the columns alone, and are read once."""
        kept: list[pa.RecordBatch] = []
        held, step, total, size = 0, 1, 0, 0
        for batch in batches:
            total += batch.num_rows
            size += batch.nbytes
            part = batch.take(pa.array(np.arange(0, batch.num_rows, step)))
            kept.append(part)
            held += part.num_rows
            if held > _SAMPLED:
                # Every other row of what there is, and of all that comes.
                step *= 2
                kept = [b.take(pa.array(np.arange(0, b.num_rows, 2))) for b in kept]
                held = sum(b.num_rows for b in kept)
        bits = _BITS // len(self.columns)
        if not kept:
            return Curve(tuple(self.columns), (), bits, np.array([], np.int64))
        sample = pa.Table.from_batches(kept).combine_chunks()
        steps = tuple(_steps(sample.column(name), bits) for name in self.columns)
        curve = Curve(tuple(self.columns), steps, bits, np.array([], np.int64))
        keys = np.sort(np.concatenate([curve.keys(b) for b in sample.to_batches()]))
        return Curve(tuple(self.columns), steps, bits, keys)


def _steps(column: pa.ChunkedArray, bits: int) -> pa.Array:
    """Distinct values, ascending, at most as many as the ranks have room for."""
    values = pc.unique(column.combine_chunks()).drop_null()
    if pa.types.is_floating(values.type):
        values = values.filter(pc.invert(pc.is_nan(values)))
    values = values.take(pc.sort_indices(values))
    most = (1 << min(bits, 16)) - 2
    if len(values) > most:
        values = values.take(pa.array(np.linspace(0, len(values) - 1, most).astype(np.int64)))
    return values


@dataclass(frozen=True)
class Curve:
    """Where rows are on the curve: `steps` are the quantiles of each column, `sample` keys of rows,
    ascending."""

    columns: tuple[str, ...]
    steps: tuple[pa.Array, ...]
    bits: int
    sample: npt.NDArray[np.int64]

    def keys(self, rows: pa.RecordBatch) -> npt.NDArray[np.int64]:
        """Each row's place."""
        found = np.zeros(rows.num_rows, np.int64)
        count = len(self.columns)
        for number, (name, steps) in enumerate(zip(self.columns, self.steps, strict=True)):
            width = max(int(len(steps) + 1).bit_length(), 1)
            # Ranks take the upper bits, so that columns of few values weigh as much as others.
            ranks = _ranks(rows.column(name), steps) << (min(self.bits, 16) - min(width, 16))
            for bit in range(min(self.bits, 16)):
                found |= ((ranks >> bit) & 1) << (bit * count + count - 1 - number)
        return found

    def sorted(self, batches: Iterable[pa.RecordBatch], memory: int) -> Iterator[pa.RecordBatch]:
        """The rows in the order of the curve; about `memory` bytes of them are held at a time."""
        held: list[pa.RecordBatch] = []
        size = 0
        spill: Spill | None = None
        cuts = np.array([], np.int64)
        try:
            for batch in batches:
                held.append(batch.append_column(_CURVE, pa.array(self.keys(batch))))
                size += batch.nbytes
                if size > memory // 2:
                    if spill is None:
                        spill = Spill()
                        cuts = self._cuts()
                    _put_aside(spill, held, cuts)
                    held, size = [], 0
            if spill is None:
                yield from _in_order(held)
                return
            if held:
                _put_aside(spill, held, cuts)
                held = []
            for number in range(len(cuts) + 1):
                yield from _in_order(list(spill.take((str(number),))))
        finally:
            if spill is not None:
                spill.close()

    def _cuts(self) -> npt.NDArray[np.int64]:
        """Bounds of ranges that hold about as many rows each."""
        if not len(self.sample):
            return self.sample
        places = np.linspace(0, len(self.sample) - 1, 66).astype(np.int64)[1:-1]
        return np.unique(self.sample[places])


def _put_aside(spill: Spill, held: list[pa.RecordBatch], cuts: npt.NDArray[np.int64]) -> None:
    rows = pa.Table.from_batches(held).combine_chunks()
    ranges = np.searchsorted(cuts, rows.column(_CURVE).to_numpy(), side="right")
    order = np.argsort(ranges, kind="stable")
    arranged = ranges[order]
    starts = np.flatnonzero(np.r_[True, arranged[1:] != arranged[:-1]])
    found: dict[Values, list[pa.RecordBatch]] = {}
    for start, end in zip(starts, np.r_[starts[1:], len(order)], strict=True):
        part = rows.take(pa.array(order[start:end])).combine_chunks()
        found[(str(arranged[start]),)] = part.to_batches()
    spill.put(found, rows.schema)


def _in_order(batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    if not batches:
        return
    rows = pa.Table.from_batches(batches)
    order = np.argsort(rows.column(_CURVE).to_numpy(), kind="stable")
    rows = rows.drop_columns([_CURVE])
    for start in range(0, len(order), 65_536):
        part = rows.take(pa.array(order[start : start + 65_536])).combine_chunks()
        yield from part.to_batches()


def _ranks(column: pa.Array, steps: pa.Array) -> npt.NDArray[np.int64]:
    """0 for null, else one more than the steps that are not above the value; NaN last."""
    encoded = column.dictionary_encode()
    values = encoded.dictionary
    both = pa.concat_arrays([steps, values.cast(steps.type)]) if len(values) else steps
    if pa.types.is_floating(both.type):
        # Beyond all, where Spark orders it.
        order = pc.sort_indices(both, null_placement="at_end").to_numpy()
    else:
        order = pc.sort_indices(both).to_numpy()
    # Equal values follow the steps, which come first: the sort is stable.
    is_step = order < len(steps)
    ranks = np.empty(len(both), np.int64)
    ranks[order] = np.cumsum(is_step)
    of_values = ranks[len(steps) :]
    found = np.zeros(len(column), np.int64)
    valid = np.asarray(column.is_valid())
    indices = encoded.indices.drop_null().to_numpy()
    # A value at the last step or above it has as many steps as there are.
    found[valid] = of_values[indices] + 1 if len(of_values) else 0
    return found
