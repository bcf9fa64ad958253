"""What callers hand over to be written, as a stream of Arrow batches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import pyarrow as pa

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.write.casts import converted, matched, mismatches
from deltalakedb.write.schema import schema_of

ROWS_AT_A_TIME = 131_072
"""Rows of a batch that are converted at a time: an input may come as one batch of a gigabyte."""


def batches_of(data: Any) -> pa.RecordBatchReader:
    """The data as a stream, read as it is consumed.

    Takes what has the Arrow C stream interface (pyarrow, Polars, DuckDB, pandas 3), pandas data
    frames, pyarrow datasets and scanners, a record batch, and iterables of those or of record
    batches; these have the first one's columns, in any order. An index of a pandas data frame is a
    column when it has a name. Raises INVALID_ARGUMENT for anything else.
    """
    if isinstance(data, pa.RecordBatchReader):
        return data
    if isinstance(data, pa.Table):
        # Not by the C interface, where a name ends at its first NUL.
        return data.to_reader()
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(data, pandas.DataFrame):
        named = all(name is not None for name in data.index.names)
        return _of_arrow(
            data, lambda frame: pa.Table.from_pandas(frame, preserve_index=named).to_reader()
        )
    polars = sys.modules.get("polars")
    if polars is not None and isinstance(data, polars.DataFrame) and polars.Object in data.dtypes:
        # Arrow would get the objects' addresses.
        raise _refused(data, "a column holds Python objects; give it a type of Polars' own")
    if hasattr(data, "__arrow_c_stream__"):
        return _of_arrow(data, pa.RecordBatchReader.from_stream)
    if hasattr(data, "__arrow_c_array__"):
        batch = _of_arrow(data, pa.record_batch)
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


def _of_arrow(data: Any, taken: Callable[[Any], Any]) -> Any:
    try:
        return taken(data)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise _refused(
            data, f"Arrow can't take it ({error}); give a table or data frame"
        ) from error


def _of_many(data: Iterable[Any]) -> pa.RecordBatchReader:
    pieces = _pieces(data)
    first = next(pieces, None)
    if first is None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            "there is no batch to write, so the columns are unknown; give an empty table instead",
        )
    rest = (_like(first.schema, piece) for piece in pieces)
    return pa.RecordBatchReader.from_batches(first.schema, chain([first], rest))


def _like(schema: pa.Schema, piece: pa.RecordBatch) -> pa.RecordBatch:
    """A later batch as the first: its columns found by name, its values cast as a table's are.

    Arrow would take them by their places. SCHEMA_MISMATCH for other columns, or types that aren't
    written to the first batch's.
    """
    if piece.schema.equals(schema):
        return piece
    places = [matched(piece.schema.names, name) for name in schema.names]
    if None in places or len(set(places)) < piece.num_columns:
        raise _unlike(
            f"it has the columns {', '.join(piece.schema.names)}, the first batch has "
            f"{', '.join(schema.names)}"
        )
    columns = [
        _cast(piece.column(place), field) for place, field in zip(places, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _cast(column: pa.Array, field: pa.Field) -> pa.Array:
    if column.type == field.type:
        return column
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), field.type)
    if pa.types.is_null(field.type):
        raise _unlike(f"column {field.name} is {column.type}, and of nulls alone in the first")
    target = schema_of(pa.schema([field])).fields[0].type
    wrong = next(mismatches(column.type, target, (field.name,)), None)
    if wrong is not None:
        raise _unlike(wrong)
    try:
        return converted(column, target, (field.name,)).cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise _unlike(f"column {field.name} is {column.type}: {error}") from error


def _unlike(why: str) -> DeltaLakeError:
    return DeltaLakeError(
        DeltaLakeErrorKind.SCHEMA_MISMATCH,
        f"a batch differs from the first: {why}; give batches of one schema",
    )


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
