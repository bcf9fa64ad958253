"""Arrow columns from Python values, without `pyarrow.array`.

That function looks for pandas as soon as it is given a list: 50 MB and 0.2 s that a process which
plans a query needs for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

Numbers = np.ndarray[Any, np.dtype[Any]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

_NUMBERS = {pa.int64(): np.int64, pa.int32(): np.int32, pa.float64(): np.float64}


def column_of(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Values (None for null) as an array of `kind`: int64, int32, float64, bool or string."""
    missing = np.fromiter((v is None for v in values), np.bool_, len(values))
    if kind == pa.string():
        return _strings(values, missing)
    filled = [0 if v is None else v for v in values] if missing.any() else values
    dtype = np.bool_ if kind == pa.bool_() else _NUMBERS[kind]
    return array_of(np.array(filled, dtype=dtype), missing)


def array_of(values: Numbers, missing: Bools | None = None) -> pa.Array:
    """A numpy array of int64, int32, float64 or bool as Arrow; null where `missing`."""
    kind, count = pa.from_numpy_dtype(values.dtype), len(values)
    if kind == pa.bool_():
        values = np.packbits(values, bitorder="little")
    nulls = 0 if missing is None else int(missing.sum())
    validity = _validity(missing) if missing is not None and nulls else None
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, count, [validity, data], nulls)


def _validity(missing: Bools) -> pa.Buffer:
    return pa.py_buffer(np.packbits(~missing, bitorder="little"))


def _strings(values: Sequence[Any], missing: Bools) -> pa.Array:
    encoded = [b"" if v is None else v.encode() for v in values]
    offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=offsets[1:])
    if offsets[-1] >= 2**31:
        raise ValueError("a column of 2 GiB of text is not one Arrow array")
    nulls = int(missing.sum())
    return pa.StringArray.from_buffers(
        len(encoded),
        pa.py_buffer(offsets.astype(np.int32)),
        pa.py_buffer(b"".join(encoded)),
        _validity(missing) if nulls else None,
        nulls,
    )


def numbers_of(column: pa.Array | pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.int64]]:
    """An int64 column without nulls as numpy; without a copy where it is one chunk."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    found = [
        np.frombuffer(chunk.buffers()[1], dtype=np.int64, count=len(chunk), offset=8 * chunk.offset)
        for chunk in chunks
        if len(chunk)
    ]
    if len(found) == 1:
        return found[0]
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def table_of(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    """Rows of a small query result as a table."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    return pa.Table.from_arrays(
        [column_of(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
    )


def table_of_dicts(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """The same of rows by name."""
    names = schema.names
    return table_of([[row[name] for name in names] for row in rows], schema)
