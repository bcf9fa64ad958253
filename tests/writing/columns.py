"""Columns of every type with the values that writers get wrong, and a model of a table's rows."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

UTC = datetime.UTC
KEY = "n"
Row = dict[str, Any]

# Characters that paths, URIs, Hive's escapes, JSON or UTF-16 treat in a way of their own.
ODD = "aA zé%/\\:=?#&+'\"<>|*{}[]^~`!@$,;\x01\n\t\x7f\u2028\uffff\U0001f600\U0010ffff"
TEXTS = st.one_of(
    st.text(ODD, max_size=4),
    st.sampled_from(["", "__HIVE_DEFAULT_PARTITION__", "null", ".", "..", "%41", "a" * 300]),
    st.builds(
        lambda length, tail: "x" * length + tail,
        st.sampled_from([30, 31, 32, 33]),
        st.text("x\U0001f600\U0010ffff\x7f", max_size=3),
    ),
)
_MOMENTS = st.sampled_from(
    [
        datetime.datetime(1, 1, 1),
        datetime.datetime(1969, 12, 31, 23, 59, 59, 999_999),
        datetime.datetime(1582, 10, 5, 1, 2, 3, 4),
        datetime.datetime(2024, 2, 29, 12, 0, 0, 999),
        datetime.datetime(2024, 2, 29, 12, 0, 0, 123_456),
        datetime.datetime(9999, 12, 31, 23, 59, 59, 999_999),
    ]
)


def _whole(bits: int) -> st.SearchStrategy[int]:
    most = 2 ** (bits - 1)
    return st.sampled_from([-most, most - 1, 0, -1]) | st.integers(-5, 5)


def _decimals(digits: int, scale: int) -> st.SearchStrategy[Decimal]:
    most = 10**digits - 1
    units = st.sampled_from([most, -most, 0, 1]) | st.integers(-most, most)
    # Not scaleb: it rounds to the context's 28 digits.
    return units.map(lambda n: Decimal((int(n < 0), tuple(int(d) for d in str(abs(n))), -scale)))


_DOUBLES = st.sampled_from(
    [math.nan, math.inf, -math.inf, -0.0, 0.0, 0.1, 1e300, -5e-324, 2.0**53, 1.5]
)
_FLOATS = st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 0.0, 0.25, 3.4028234663852886e38])


@dataclass(frozen=True)
class Kind:
    """A type in Arrow's words, values of it, and whether it orders as Python does."""

    type: pa.DataType
    values: st.SearchStrategy[Any]
    partition: bool = True


RENAMED = " (ä)"
"""What a column is called more that was renamed once."""


class _Kinds(dict[str, Kind]):
    def __missing__(self, name: str) -> Kind:
        if not name.endswith(RENAMED):
            raise KeyError(name)
        return self[name.removesuffix(RENAMED)]


KINDS: dict[str, Kind] = _Kinds(
    {
        "s": Kind(pa.string(), TEXTS),
        "i8": Kind(pa.int8(), _whole(8)),
        "i16": Kind(pa.int16(), _whole(16)),
        "i32": Kind(pa.int32(), _whole(32)),
        "i64": Kind(pa.int64(), _whole(64)),
        "f": Kind(pa.float32(), _FLOATS),
        "d": Kind(pa.float64(), _DOUBLES),
        "b": Kind(pa.bool_(), st.booleans()),
        "dec": Kind(pa.decimal128(38, 9), _decimals(38, 9)),
        "small": Kind(pa.decimal128(9, 2), _decimals(9, 2)),
        "day": Kind(pa.date32(), _MOMENTS.map(datetime.datetime.date)),
        "t": Kind(pa.timestamp("us", "UTC"), _MOMENTS.map(lambda m: m.replace(tzinfo=UTC))),
        "z": Kind(pa.timestamp("us"), _MOMENTS),
        "raw": Kind(pa.binary(), st.binary(max_size=3), partition=False),
        "l": Kind(
            pa.list_(pa.int64()), st.lists(st.none() | _whole(64), max_size=2), partition=False
        ),
        "m": Kind(
            pa.map_(pa.string(), pa.float64()),
            st.dictionaries(TEXTS, st.none() | _DOUBLES, max_size=2).map(lambda d: list(d.items())),
            partition=False,
        ),
        "st": Kind(
            pa.struct([("x", pa.int64()), ("y z", pa.list_(pa.struct([("q", pa.string())])))]),
            st.fixed_dictionaries(
                {
                    "x": st.none() | _whole(64),
                    "y z": st.none()
                    | st.lists(
                        st.none() | st.fixed_dictionaries({"q": st.none() | TEXTS}), max_size=2
                    ),
                }
            ),
            partition=False,
        ),
    }
)
PARTITIONS = [name for name, kind in KINDS.items() if kind.partition]


def schema_of(columns: Sequence[str]) -> pa.Schema:
    return pa.schema(
        [(KEY, pa.int64()), *((name, KINDS[name].type) for name in columns if name != KEY)]
    )


def comparable(value: Any) -> Any:
    """A value in a form in which NaN equals itself and -0.0 isn't 0.0; fields in one order."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Mapping):
        return {name: comparable(inner) for name, inner in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [comparable(inner) for inner in value]
    return value


def rows_of(table: pa.Table) -> list[Row]:
    """What a reader has found, ordered by the key."""
    return sorted((comparable(row) for row in table.to_pylist()), key=lambda row: row[KEY])


def _order(value: Any) -> Any:
    # Spark's: NaN is the greatest, the zeros are equal, text goes by its UTF-8 bytes.
    if isinstance(value, float):
        return (math.isnan(value), 0.0 if math.isnan(value) else value)
    return value.encode() if isinstance(value, str) else value


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
}


@dataclass(frozen=True)
class Condition:
    """`column operator value`, or `column IS NULL` with the operator `null`."""

    column: str
    operator: str
    value: Any = None

    def holds(self, row: Row) -> bool:
        found = row.get(self.column)
        if self.operator == "null":
            return found is None
        if found is None:
            return False
        return OPERATORS[self.operator](_order(found), _order(self.value))

    @property
    def tuples(self) -> list[tuple[str, str, Any]]:
        """In delta-rs's form, which takes values of every type."""
        if self.operator == "null":
            return [(self.column, "=", None)]
        return [(self.column, self.operator, self.value)]

    @property
    def sql(self) -> str:
        """In the words that others and ours share; for texts and whole numbers."""
        if self.operator == "null":
            return f"{self.column} IS NULL"
        value = self.value
        text = "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
        return f"{self.column} {self.operator} {text}"


@dataclass
class Model:
    """What a table has to hold: its columns, its rows, and those of each version."""

    columns: list[str]
    partition_by: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    versions: dict[int, tuple[tuple[str, ...], tuple[Row, ...]]] = field(default_factory=dict)

    def stored(self, row: Row) -> Row:
        """A row as it comes back: an empty text in a partition column is null in Delta."""
        found = dict.fromkeys(self.columns) | row
        return found | {p: None for p in self.partition_by if found[p] == ""}

    def partition(self, row: Row) -> tuple[Any, ...]:
        return tuple(comparable(row[name]) for name in self.partition_by)

    def committed(self, version: int) -> None:
        self.versions[version] = (tuple(self.columns), tuple(self.rows))

    def at(self, version: int) -> list[Row]:
        """The rows of a version, as `rows_of` gives them."""
        columns, rows = self.versions[version]
        found = [comparable({name: row.get(name) for name in columns}) for row in rows]
        return sorted(found, key=lambda row: row[KEY])
