"""What callers hand over to be written, as a stream of Arrow batches."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import pyarrow as pa

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

ROWS_AT_A_TIME = 131_072
"""Rows of a batch that are converted at a time: an input may come as one batch of a gigabyte."""


def batches_of(data: Any) -> pa.RecordBatchReader:
    """The data as a stream, read as it is consumed.

    Takes what has the Arrow C stream interface (pyarrow, Polars, DuckDB, pandas 3), pandas data
    frames, pyarrow datasets and scanners, a record batch, and iterables of those or of record
    batches. An index of a pandas data frame is a column when it has a name. Raises
    INVALID_ARGUMENT for anything else.
    """
    if isinstance(data, pa.RecordBatchReader):
        return data
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(data, pandas.DataFrame):
        named = all(name is not None for name in data.index.names)
        return pa.Table.from_pandas(data, preserve_index=named).to_reader()
    if hasattr(data, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(data)
    if hasattr(data, "__arrow_c_array__"):
        batch = pa.record_batch(data)
        return pa.RecordBatchReader.from_batches(batch.schema, [batch])
    if hasattr(data, "scanner"):
        return data.scanner().to_reader()
    if hasattr(data, "to_reader"):
        return data.to_reader()
    if hasattr(data, "collect_schema"):
        raise _refused(data, "it is lazy; call collect() on it first")
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes, dict)):
        return _of_many(data)
    raise _refused(data, "give an Arrow table or a data frame")


def _of_many(data: Iterable[Any]) -> pa.RecordBatchReader:
    pieces = _pieces(data)
    first = next(pieces, None)
    if first is None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            "there is no batch to write, so the columns are unknown; give an empty table instead",
        )
    return pa.RecordBatchReader.from_batches(first.schema, chain([first], pieces))


def _pieces(data: Iterable[Any]) -> Iterator[pa.RecordBatch]:
    for each in data:
        if isinstance(each, pa.RecordBatch):
            yield each
        elif hasattr(each, "__arrow_c_stream__") or hasattr(each, "__arrow_c_array__"):
            yield from batches_of(each)
        else:
            raise _refused(each, "give record batches")


def _refused(data: Any, advice: str) -> DeltaLakeError:
    return DeltaLakeError(
        DeltaLakeErrorKind.INVALID_ARGUMENT,
        f"a {type(data).__name__} can't be written: {advice}",
        type=type(data).__name__,
    )


def slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch in pieces of at most `ROWS_AT_A_TIME` rows."""
    if batch.num_rows <= ROWS_AT_A_TIME:
        yield batch
        return
    for start in range(0, batch.num_rows, ROWS_AT_A_TIME):
        yield batch.slice(start, ROWS_AT_A_TIME)
