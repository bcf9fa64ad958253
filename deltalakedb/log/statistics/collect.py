"""Statistics of a data file, gathered from its rows while they are written.

PROTOCOL.md, "Per-file Statistics". They are taken from the rows and not from the Parquet footer,
which has no minimum beside a NaN and none of long values.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.log.schema import (
    Leaf,
    PrimitiveType,
    StructType,
    decimal_parameters,
    is_string,
    iter_leaves,
)
from deltalakedb.log.statistics.skipping import indexed_leaves

STRING_PREFIX_LENGTH = "delta.dataSkippingStringPrefixLength"
_DEFAULT_PREFIX = 32
_WHOLE = frozenset({"byte", "short", "integer", "long"})
_FRACTIONS = frozenset({"float", "double"})
_TIMES = frozenset({"timestamp", "timestamp_ntz"})
_EPOCH = datetime(1970, 1, 1)
_FIRST_DAY = (date(1, 1, 1) - date(1970, 1, 1)).days
_LAST_DAY = (date(9999, 12, 31) - date(1970, 1, 1)).days
_DAY_MICROS = 86_400_000_000
_FEW_ROWS = 64
_ASCII_TIE, _LAST_CHARACTER = "\x7f", "\U0010ffff"


def statistics_leaves(
    schema: StructType,
    partition_columns: Sequence[str],
    configuration: Mapping[str, str | None],
    *,
    mapped: bool,
) -> list[Leaf]:
    """The columns that a table's files have statistics of, in schema order.

    `mapped`: whether column mapping is on, so that statistics have physical names.
    """
    partitions = set(partition_columns)
    leaves = [x for x in iter_leaves(schema, mapped=mapped) if x.path[0] not in partitions]
    wanted = {leaf.path for leaf in indexed_leaves(leaves, configuration)}
    return [leaf for leaf in leaves if leaf.path in wanted]


def string_prefix_length(configuration: Mapping[str, str | None]) -> int:
    """Characters that are kept of text bounds; 32 unless the table says otherwise."""
    text = configuration.get(STRING_PREFIX_LENGTH)
    try:
        found = _DEFAULT_PREFIX if text is None else int(text)
    except ValueError:
        return _DEFAULT_PREFIX
    return found if found > 0 else _DEFAULT_PREFIX


@dataclass(frozen=True)
class ColumnPlan:
    """A column whose statistics are gathered, the same for all files of a table.

    `top` is its top-level column, `inside` the places within that; `type` is the name of its
    primitive type, "" for others. Texts are cut to `prefix` characters. `bounded`: it has bounds;
    `direct`: few of its values are compared in Python, as Arrow would do it.
    """

    top: str
    inside: tuple[int, ...]
    physical: tuple[str, ...]
    type: str
    prefix: int
    bounded: bool
    direct: bool

    @classmethod
    def of(cls, schema: StructType, leaf: Leaf, prefix: int = _DEFAULT_PREFIX) -> ColumnPlan:
        """The plan of a leaf of `statistics_leaves`."""
        type = leaf.type.name if isinstance(leaf.type, PrimitiveType) else ""
        direct = type in _WHOLE or is_string(type)
        bounded = (
            direct
            or type in _TIMES
            or type in _FRACTIONS
            or type == "date"
            or decimal_parameters(type) is not None
        )
        inside = tuple(_indices(schema, leaf.path))
        return cls(leaf.path[0], inside, leaf.physical, type, prefix, bounded, direct)


class StatisticsCollector:
    """Collects the statistics of one file from its batches.

    Batches have the table's columns by logical name, of the Arrow types of
    `log.schema.arrow_schema`; partition columns may be missing.
    """

    def __init__(self, plans: Sequence[ColumnPlan]) -> None:
        self.num_records = 0
        self._columns = [_Column(plan) for plan in plans]

    def add(self, batch: pa.RecordBatch | pa.Table) -> None:
        self.num_records += batch.num_rows
        for column in self._columns:
            plan = column.plan
            array = batch.column(plan.top)
            if plan.inside:
                array = pc.struct_field(array, indices=plan.inside)
            column.add(array)

    def text(self, *, tight_bounds: bool | None = None) -> str:
        """The JSON of `add.stats`. `tight_bounds` is written for tables with deletion vectors.

        What JSON can't say (NaN, infinities) and what has no order has no bound.
        """
        low: dict[str, Any] = {}
        high: dict[str, Any] = {}
        nulls: dict[str, Any] = {}
        for column in self._columns:
            physical = column.plan.physical
            _put(nulls, physical, column.nulls)
            if (least := column.least()) is not None:
                _put(low, physical, least)
            if (greatest := column.greatest()) is not None:
                _put(high, physical, greatest)
        found: dict[str, Any] = {
            "numRecords": self.num_records,
            "minValues": low,
            "maxValues": high,
            "nullCount": nulls,
        }
        if tight_bounds is not None:
            found["tightBounds"] = tight_bounds
        return orjson.dumps(found).decode()


def loosened(stats: str | None, num_records: int) -> str:
    """The statistics of a file some of whose rows a deletion vector takes away.

    Bounds and null counts stay, as those of the physical rows; `numRecords` (physical rows, as
    the caller read them) is kept or set, since a file with a vector must have it.
    """
    # Fractions as Decimal: one of a decimal column may have more digits than a double.
    found: dict[str, Any] = json.loads(stats, parse_float=Decimal) if stats else {}
    if found.get("numRecords") is None:
        found["numRecords"] = num_records
    found["tightBounds"] = False
    return orjson.dumps(found, default=_number).decode()


def _number(value: Any) -> orjson.Fragment:
    return orjson.Fragment(str(value))


def _indices(schema: StructType, path: tuple[str, ...]) -> list[int]:
    """Places, inside the top-level column, of the structs' members that lead to a leaf."""
    found: list[int] = []
    struct = schema
    for parent, name in pairwise(path):
        inside = next(f.type for f in struct.fields if f.name == parent)
        assert isinstance(inside, StructType)
        struct = inside
        found.append(next(i for i, f in enumerate(struct.fields) if f.name == name))
    return found


def _put(into: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    *above, last = path
    for name in above:
        into = into.setdefault(name, {})
    into[last] = value


class _Column:
    def __init__(self, plan: ColumnPlan) -> None:
        self.plan = plan
        self.nulls = 0
        self._least: Any = None
        self._greatest: Any = None
        self._nan = False

    def add(self, array: pa.Array | pa.ChunkedArray) -> None:
        nulls = array.null_count
        self.nulls += nulls
        if not self.plan.bounded or nulls == len(array):
            return
        low, high = self._bounds(array)
        if low is None:
            return
        if self._least is None or low < self._least:
            self._least = low
        if self._greatest is None or high > self._greatest:
            self._greatest = high

    def _bounds(self, array: pa.Array | pa.ChunkedArray) -> tuple[Any, Any]:
        """Least and greatest value, NaN left out and noted; None where there is no other."""
        few = len(array) <= _FEW_ROWS
        if few and self.plan.direct:
            # A call of Arrow's costs more than some comparisons; texts have the same order.
            values = [value for value in array.to_pylist() if value is not None]
            return min(values), max(values)
        if self.plan.type in _FRACTIONS:
            if few:
                numbers = [value for value in array.to_pylist() if value is not None]
                known = [value for value in numbers if value == value]
                self._nan = self._nan or len(known) < len(numbers)
                return (min(known), max(known)) if known else (None, None)
            if pc.any(pc.is_nan(array)).as_py():
                self._nan = True
                array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
        found = pc.min_max(array)
        return _plain(found["min"]), _plain(found["max"])

    def least(self) -> Any:
        """The lower bound as JSON has it; None when there is none."""
        value = self._least
        if value is None:
            return None
        if self.plan.type in _FRACTIONS:
            return (-0.0 if value == 0 else value) if math.isfinite(value) else None
        if is_string(self.plan.type):
            return value[: self.plan.prefix]
        return self._shown(value)

    def greatest(self) -> Any:
        """The upper bound; Spark orders NaN above all, so beside a NaN there is none."""
        value = self._greatest
        if value is None or self._nan:
            return None
        if self.plan.type in _FRACTIONS:
            return (0.0 if value == 0 else value) if math.isfinite(value) else None
        if is_string(self.plan.type):
            return _upper_text(value, self.plan.prefix)
        return self._shown(value)

    def _shown(self, value: Any) -> Any:
        if self.plan.type in _TIMES:
            return _time_text(value, "Z" if self.plan.type == "timestamp" else "")
        if self.plan.type == "date":
            if not _FIRST_DAY <= value <= _LAST_DAY:
                return None
            return (date(1970, 1, 1) + timedelta(days=value)).isoformat()
        if isinstance(value, Decimal):
            return orjson.Fragment(format(value, "f"))
        return value


def _plain(scalar: pa.Scalar) -> Any:
    """Dates as days, timestamps as microseconds: Python's own have years 1 to 9999 alone."""
    if pa.types.is_temporal(scalar.type):
        return scalar.value
    return scalar.as_py()


def _time_text(micros: int, zone: str) -> str | None:
    """Cut down to milliseconds, as Spark does; None beyond the years that text can have."""
    if not _FIRST_DAY * _DAY_MICROS <= micros < (_LAST_DAY + 1) * _DAY_MICROS:
        return None
    moment = _EPOCH + timedelta(milliseconds=micros // 1000)
    return moment.isoformat(timespec="milliseconds") + zone


def _upper_text(text: str, prefix: int) -> str | None:
    """A short text that is not below `text`: its beginning and a character that decides."""
    if len(text) <= prefix:
        return text
    end = prefix
    while end < len(text) and text[end] == _LAST_CHARACTER:
        end += 1
    if end == len(text) or end > 2 * prefix:
        return None
    return text[:end] + (_ASCII_TIE if text[end] < _ASCII_TIE else _LAST_CHARACTER)
