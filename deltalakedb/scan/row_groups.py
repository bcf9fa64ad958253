"""What the statistics in a data file's footer promise of its row groups.

Read by `log.parquet_footer`: pyarrow ends the process when it is asked for those of a damaged file.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.log.parquet_footer import ColumnBounds, column_bounds
from deltalakedb.scan.columns import Convert

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_UNITS = {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}


class LeafColumn(NamedTuple):
    """A primitive column of the table that a file holds at top level."""

    name: str
    leaf: int
    """Which of the file's leaf columns it is."""
    found: pa.DataType
    """Its type in the file."""
    convert: Convert
    wanted: pa.DataType
    """Its type in the table."""


def row_group_guarantees(
    footer: bytes, parquet: pq.ParquetFile, columns: Sequence[LeafColumn]
) -> list[pc.Expression | None]:
    """A guarantee of each row group, or None where its statistics promise nothing.

    `footer`: the file's, of `footer_of`. Floating point columns promise nothing: NaN is outside
    their bounds.
    """
    ordered = [column for column in columns if not pa.types.is_floating(column.wanted)]
    nothing: list[pc.Expression | None] = [None] * parquet.metadata.num_row_groups
    if not ordered:
        return nothing
    try:
        bounds = column_bounds(footer, [column.leaf for column in ordered])
    except ValueError:
        return nothing  # reading the rows finds out what is wrong
    if len(bounds) != len(nothing):
        return nothing
    return [_guarantee(group, ordered, parquet.schema) for group in bounds]


def _guarantee(
    group: Mapping[int, ColumnBounds], columns: Sequence[LeafColumn], schema: pq.ParquetSchema
) -> pc.Expression | None:
    guarantee: pc.Expression | None = None
    for column in columns:
        bounds = group.get(column.leaf)
        term = None if bounds is None else _promise(bounds, column, schema)
        if term is not None:
            guarantee = term if guarantee is None else guarantee & term
    return guarantee


def _promise(
    bounds: ColumnBounds, column: LeafColumn, schema: pq.ParquetSchema
) -> pc.Expression | None:
    field = pc.field(column.name)
    if bounds.nulls and bounds.nulls == bounds.values:
        return field.is_null()
    if bounds.low is None or bounds.high is None:
        return None
    try:
        ends = _decoded([bounds.low, bounds.high], column.found, schema.column(column.leaf))
        if ends is None:
            return None
        low, high = column.convert(ends)
    except (pa.ArrowException, TypeError, ValueError, OverflowError, struct.error):
        return None  # bounds of an unusual encoding: read the rows instead
    if not (low.is_valid and high.is_valid):
        return None
    at_least, at_most = field >= low, field <= high
    if bounds.nulls == 0:
        return at_least & at_most
    return (at_least | field.is_null()) & (at_most | field.is_null())


def _decoded(values: list[bytes], found: pa.DataType, stored: pq.ColumnSchema) -> pa.Array | None:
    """Bounds as values of the type that Arrow reads the column as; None for types without."""
    if pa.types.is_dictionary(found):
        plain = _decoded(values, found.value_type, stored)
        return None if plain is None else plain.dictionary_encode().cast(found)
    types, physical = pa.types, stored.physical_type
    if physical == "BOOLEAN":
        return pa.array([value != b"\0" for value in values], found)
    if physical in ("INT32", "INT64"):
        letter = "i" if physical == "INT32" else "q"
        if types.is_unsigned_integer(found):
            letter = letter.upper()
        numbers = [struct.unpack(f"<{letter}", value)[0] for value in values]
        if types.is_integer(found):
            return pa.array(numbers, found)
        if types.is_date(found):
            return pa.array(numbers, pa.int32()).cast(pa.date32()).cast(found)
        if types.is_timestamp(found):
            unit = _UNITS.get(json.loads(stored.logical_type.to_json()).get("timeUnit"))
            if unit is None:
                return None
            return pa.array(numbers, pa.int64()).cast(pa.timestamp(unit, found.tz)).cast(found)
        return _decimals(numbers, found) if types.is_decimal(found) else None
    if physical in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"):
        if types.is_decimal(found):
            return _decimals([int.from_bytes(v, "big", signed=True) for v in values], found)
        if types.is_string(found) or types.is_large_string(found) or types.is_string_view(found):
            return pa.array([value.decode() for value in values], found)
        if not isinstance(found, pa.BaseExtensionType):
            return pa.array(values, found)
    return None


def _decimals(unscaled: list[int], found: pa.DataType) -> pa.Array:
    exact = [Decimal((n < 0, tuple(map(int, str(abs(n)))), -found.scale)) for n in unscaled]
    return pa.array(exact, found)
