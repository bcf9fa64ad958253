"""Rows by their values."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

import pyarrow as pa

_DIGEST_BYTES = 16


def row_digests(rows: pa.RecordBatch) -> Iterator[bytes]:
    """Of each row's values: equal ones for rows of equal values only, column by column."""
    columns = [column.cast(_plain(column.type)).to_pylist() for column in rows.columns]
    for values in zip(*columns, strict=True):
        yield blake2b(repr(values).encode(), digest_size=_DIGEST_BYTES).digest()


def _plain(kind: pa.DataType) -> pa.DataType:
    """With times as numbers: Python's have no year 10000."""
    if pa.types.is_timestamp(kind):
        return pa.int64()
    if pa.types.is_date32(kind):
        return pa.int32()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_plain(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_plain(kind.value_type)))
    if pa.types.is_map(kind):
        return pa.map_(_plain(kind.key_type), _plain(kind.item_type))
    return kind
