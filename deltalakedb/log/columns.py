"""Arrow columns from Python values, without `pyarrow.array`.

That function looks for pandas as soon as it is given a list: 50 MB and 0.2 s that a process which
plans a query needs for nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

Numbers = np.ndarray[Any, np.dtype[Any]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

_FORMATS = {pa.int64(): "=q", pa.int32(): "=i", pa.float64(): "=d", pa.bool_(): "=?"}
_TOO_LONG = "a column of 2 GiB of text is not one Arrow array"
_NUMBERS = {pa.int64(): np.int64, pa.int32(): np.int32, pa.float64(): np.float64}


def column_of(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Values (None for null) as an array of `kind`: int64, int32, float64, bool or string."""
    if len(values) == 1:
        return _single(values[0], kind)
    missing = None
    nulls = values.count(None)
    if nulls == len(values):
        return pa.nulls(len(values), kind)
    text = kind == pa.string()
    if nulls:
        missing = np.fromiter((v is None for v in values), np.bool_, len(values))
        nothing: Any = "" if text else 0
        values = [nothing if v is None else v for v in values]
    if text:
        return _strings(values, missing)
    dtype = np.bool_ if kind == pa.bool_() else _NUMBERS[kind]
    return array_of(np.array(values, dtype=dtype), missing)


def _single(value: Any, kind: pa.DataType) -> pa.Array:
    """An array of one value, without numpy: rows of one file are made again and again."""
    if value is None:
        return pa.nulls(1, kind)
    if kind == pa.string():
        data = value.encode()
        if len(data) >= 2**31:
            raise ValueError(_TOO_LONG)
        offsets = pa.py_buffer(struct.pack("=ii", 0, len(data)))
        return pa.StringArray.from_buffers(1, offsets, pa.py_buffer(data), None, 0)
    number = int(value) if pa.types.is_integer(kind) else value
    data = struct.pack(_FORMATS[kind], number)
    return pa.Array.from_buffers(kind, 1, [None, pa.py_buffer(data)], 0)


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


def _strings(values: Sequence[str], missing: Bools | None) -> pa.Array:
    text = "".join(values)
    # A character of ASCII is a byte, so that lengths are known already.
    pieces: Sequence[str | bytes] = values if text.isascii() else [v.encode() for v in values]
    offsets = np.zeros(len(pieces) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, pieces), np.int64, len(pieces)), out=offsets[1:])
    if offsets[-1] >= 2**31:
        raise ValueError(_TOO_LONG)
    return pa.StringArray.from_buffers(
        len(pieces),
        pa.py_buffer(offsets.astype(np.int32)),
        pa.py_buffer(text.encode()),
        None if missing is None else _validity(missing),
        0 if missing is None else int(missing.sum()),
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
