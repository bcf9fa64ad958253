"""A table in memory for predicate tests: columns, rows, statistics as written, an oracle.

The oracle evaluates predicates row by row in three-valued logic, with NaN either as Spark has it
(greatest, equal to itself) or as IEEE 754 and Arrow have it (incomparable).
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from deltalakedb.log.schema import PHYSICAL_NAME, PrimitiveType, StructField, StructType
from deltalakedb.predicate.like import like
from deltalakedb.predicate.literal import comparison, membership
from deltalakedb.predicate.names import Columns
from deltalakedb.predicate.tree import (
    And,
    Column,
    ColumnComparison,
    Comparison,
    Expr,
    In,
    IsNotNull,
    IsNull,
    Like,
    Literal,
    Not,
    Or,
    StartsWith,
    Unknown,
)

TYPES = {
    "i": "integer",
    "l": "long",
    "f": "float",
    "d": "double",
    "s": "string",
    "dt": "date",
    "ts": "timestamp",
    "tn": "timestamp_ntz",
    "m": "decimal(10,2)",
    "w": "decimal(30,5)",
    "b": "boolean",
    "n.x": "long",
    "p": "string",
    "q": "integer",
}
PARTITIONS = ("p", "q")


def _field(name: str, type: Any) -> StructField:
    return StructField(name, type, True, {PHYSICAL_NAME: f"col-{name}"})


SCHEMA = StructType(
    (
        *(_field(n, PrimitiveType(t)) for n, t in TYPES.items() if "." not in n),
        _field("n", StructType((_field("x", PrimitiveType("long")),))),
    )
)
COLUMNS = Columns(SCHEMA)
BY_NAME = {name: COLUMNS.find(name.split(".")) for name in TYPES}

_TEXTS = st.one_of(
    st.text("ab%_é\uffff\U0001f600", max_size=4),
    st.builds(
        lambda stem, tail: stem + tail,
        st.sampled_from(["x" * 31, "x" * 32, "\U0010ffff" * 32]),
        st.text("ab\uffff\U0001f600\U0010ffff", max_size=3),
    ),
)
_TIMES = st.builds(
    lambda second, micro: datetime(2024, 1, 1, 0, 0, second, micro),
    st.integers(0, 2),
    st.sampled_from([0, 1, 999, 1000, 1999, 999_999]),
)
_DOUBLES = st.sampled_from(
    [-math.inf, -2.5, -0.0, 0.0, 0.1, 0.5, 1.0, 2.0**53, 1e300, math.inf, math.nan]
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(-3, 3) | st.sampled_from([-(2**31), 2**31 - 1]),
    "long": st.integers(-3, 3) | st.sampled_from([-(2**63), 2**53 + 1, 2**63 - 1]),
    "float": st.sampled_from([0.0, 0.5, float(pa.scalar(0.1, pa.float32()).as_py()), math.nan]),
    "double": _DOUBLES,
    "string": _TEXTS,
    "date": st.builds(date, st.just(2024), st.just(1), st.integers(1, 5)),
    "timestamp": _TIMES.map(lambda t: t.replace(tzinfo=UTC)),
    "timestamp_ntz": _TIMES,
    "decimal(10,2)": st.integers(-300, 300).map(lambda n: Decimal(n).scaleb(-2)),
    "decimal(30,5)": st.sampled_from(
        [Decimal(n).scaleb(-5) for n in (10**29, 10**29 + 1, 10**29 + 2, -(10**29) - 1, 5, 0)]
    ),
    "boolean": st.booleans(),
}
# What people write in predicates: also values that the column can't hold.
LITERALS = VALUES | {
    "integer": VALUES["integer"] | st.sampled_from([2.5, Decimal("-0.5"), 2**40, math.nan, "2"]),
    "long": VALUES["long"] | st.sampled_from([-0.5, 1e30, -math.inf]),
    "float": VALUES["float"] | st.sampled_from([0.1, 1e300, -1e-60, 16_777_217]),
    "date": VALUES["date"] | VALUES["timestamp_ntz"] | st.just("2024-01-03"),
    "timestamp": VALUES["timestamp"] | st.just("2024-01-01T01:00:00.0019995+01:00"),
    "decimal(10,2)": VALUES["decimal(10,2)"] | st.sampled_from([Decimal("1.005"), 0.5, 2, 10**12]),
}
OPERATORS = ["=", "!=", "<", "<=", ">", ">="]


def comparisons(names: Sequence[str]) -> st.SearchStrategy[Expr]:
    return st.sampled_from(names).flatmap(
        lambda name: st.builds(
            comparison,
            st.just(BY_NAME[name]),
            st.sampled_from(OPERATORS),
            LITERALS[TYPES[name]],
        )
    )


def tests_of_columns(names: Sequence[str], *, unknown: bool) -> st.SearchStrategy[Expr]:
    """Every kind of leaf."""
    columns = st.sampled_from(names).map(BY_NAME.__getitem__)
    texts = [n for n in names if TYPES[n] == "string"]
    kinds = [
        comparisons(names),
        columns.flatmap(
            lambda c: st.builds(membership, st.just(c), st.lists(LITERALS[c.type], max_size=20))
        ),
        columns.map(IsNull),
        columns.map(IsNotNull),
        st.sampled_from([Literal(True), Literal(False), Literal(None)]),
    ]
    if texts:
        patterns = st.lists(st.sampled_from(["a", "b", "%", "_", "é", r"\%", "x" * 31]), max_size=4)
        kinds.append(
            st.builds(
                like,
                st.sampled_from(texts).map(BY_NAME.__getitem__),
                patterns.map("".join),
                ignore_case=st.booleans(),
            )
        )
    if unknown:
        kinds.append(st.just(Unknown()))
    if {"i", "l"} <= set(names):
        kinds.append(st.just(ColumnComparison(BY_NAME["i"], "<", BY_NAME["l"])))
    return st.one_of(kinds)


def predicates(names: Sequence[str], *, unknown: bool) -> st.SearchStrategy[Expr]:
    return st.recursive(
        tests_of_columns(names, unknown=unknown),
        lambda inner: st.one_of(
            inner.map(Not),
            st.lists(inner, min_size=1, max_size=3).map(lambda c: And(tuple(c))),
            st.lists(inner, min_size=1, max_size=3).map(lambda c: Or(tuple(c))),
        ),
        max_leaves=6,
    )


Row = dict[str, Any]


def rows(names: Sequence[str]) -> st.SearchStrategy[Row]:
    """Rows with values in the columns of these names, and null in the others."""
    nulls = dict.fromkeys(TYPES)
    drawn = st.fixed_dictionaries({n: st.none() | VALUES[TYPES[n]] for n in names})
    return drawn.map(lambda row: nulls | row)


@dataclass(frozen=True)
class Writer:
    """How a writer makes statistics."""

    nan_is_greatest: bool
    tie_breaker: bool
    left_out: frozenset[tuple[str, str]]
    """(kind, column) pairs that it doesn't write."""
    bounds: str
    """The value of tightBounds: true, false, or empty for none."""


def writers(names: Sequence[str]) -> st.SearchStrategy[Writer]:
    pairs = [(k, n) for k in ("minValues", "maxValues", "nullCount") for n in names]
    return st.builds(
        Writer,
        st.booleans(),
        st.booleans(),
        st.just(frozenset()) | st.frozensets(st.sampled_from(pairs), max_size=2),
        st.sampled_from(["true", ""]),
    )


@dataclass(frozen=True)
class File:
    """`rows` are those that deletion vectors left; statistics count the `physical` ones too."""

    rows: list[Row]
    physical: list[Row]
    writer: Writer | None

    @property
    def statistics(self) -> str | None:
        if self.writer is None:
            return None
        return statistics_text(self.physical, self.writer, deleted=self.rows != self.physical)


@st.composite
def files(draw: st.DrawFn, names: Sequence[str] = tuple(TYPES)) -> File:
    physical = draw(st.lists(rows(names), min_size=1, max_size=3))
    partition = {name: physical[0][name] or None for name in PARTITIONS}
    physical = [row | partition for row in physical]
    left = physical[: draw(st.integers(0, len(physical)))] if draw(st.booleans()) else physical
    written = st.integers(0, 4).flatmap(lambda n: writers(names) if n else st.none())
    return File(left, physical, draw(written))


def partition_text(file: File) -> str:
    row = file.physical[0]
    return json.dumps(
        {f"col-{n}": None if row[n] is None else str(row[n]) for n in PARTITIONS},
        ensure_ascii=False,
    )


def extremes(values: list[Any], writer: Writer) -> tuple[Any, Any]:
    """Minimum and maximum of non-null values; None where there is nothing to say."""
    if values and isinstance(values[0], float) and not writer.nan_is_greatest:
        values = [v for v in values if not math.isnan(v)]
    if not values:
        return None, None
    ordered = sorted(values, key=lambda v: (v != v, 0 if v != v else v))
    return ordered[0], ordered[-1]


def cut(value: Any, writer: Writer, *, upper: bool) -> Any:
    """A minimum or maximum as it is written: text and times are cut off."""
    if isinstance(value, str) and len(value) > 32:
        if not upper or not writer.tie_breaker:
            return value[:32]
        return value[:32] + ("\uffff" if value[32] < "\uffff" else "\U0010ffff")
    if isinstance(value, datetime):
        return value.replace(microsecond=value.microsecond // 1000 * 1000)
    return value


def statistics_text(physical: list[Row], writer: Writer, *, deleted: bool) -> str:
    kinds: dict[str, list[str]] = {"minValues": [], "maxValues": [], "nullCount": []}
    nested: dict[str, list[str]] = {kind: [] for kind in kinds}
    for name in TYPES:
        if name in PARTITIONS:
            continue
        values = [row[name] for row in physical if row[name] is not None]
        low, high = extremes(values, writer)
        if TYPES[name] == "float":
            # A writer has 32 bits, whose shortest text is another one than the double's.
            low, high = (v if v is None else np.float32(v) for v in (low, high))
        found = {
            "minValues": _json(cut(low, writer, upper=False)),
            "maxValues": _json(cut(high, writer, upper=True)),
            "nullCount": str(len(physical) - len(values)),
        }
        for kind, text in found.items():
            if text is not None and (kind, name) not in writer.left_out:
                place = nested if "." in name else kinds
                place[kind].append(f"{json.dumps('col-' + name.rpartition('.')[2])}:{text}")
    for kind, members in nested.items():
        kinds[kind].append(f'"col-n":{{{",".join(members)}}}')
    parts = [f'"numRecords":{len(physical)}']
    if deleted or writer.bounds:
        parts.append(f'"tightBounds":{"false" if deleted else writer.bounds}')
    parts += [f'"{kind}":{{{",".join(members)}}}' for kind, members in kinds.items()]
    return f"{{{','.join(parts)}}}"


def _json(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, np.float32) and math.isfinite(value):
        return str(value)
    if isinstance(value, float | np.float32) and not math.isfinite(value):
        return '"NaN"' if math.isnan(value) else f'"{"-" * (value < 0)}Infinity"'
    if isinstance(value, datetime):
        text = value.replace(tzinfo=None).isoformat(timespec="milliseconds")
        return f'"{text}{"Z" if value.tzinfo else ""}"'
    if isinstance(value, date):
        return f'"{value.isoformat()}"'
    if isinstance(value, Decimal):
        return str(value) if "E" not in str(value) else f"{value:f}"
    return json.dumps(value, ensure_ascii=False)


_COMPARE = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def selects(expr: Expr, row: Row, *, ieee: bool) -> bool:
    return evaluate(expr, row, ieee=ieee) is True


def evaluate(expr: Expr, row: Row, *, ieee: bool) -> bool | None:
    """TRUE, FALSE or NULL. An Unknown is TRUE, and so is its negation."""
    match expr:
        case Literal(value):
            return value
        case Unknown():
            return True
        case Not(Unknown()):
            return True
        case Not(child):
            found = evaluate(child, row, ieee=ieee)
            return None if found is None else not found
        case And(children):
            parts = [evaluate(child, row, ieee=ieee) for child in children]
            return False if False in parts else None if None in parts else True
        case Or(children):
            parts = [evaluate(child, row, ieee=ieee) for child in children]
            return True if True in parts else None if None in parts else False
        case IsNull(column):
            return _get(row, column) is None
        case IsNotNull(column):
            return _get(row, column) is not None
        case ColumnComparison(left, op, right):
            first, second = _get(row, left), _get(row, right)
            return None if None in (first, second) else _COMPARE[op](first, second)
    value = _get(row, expr.column)
    if value is None:
        return None
    match expr:
        case Comparison(_, op, literal):
            return _ordered(value, op, literal, ieee=ieee)
        case In(_, literals):
            return value in literals
        case StartsWith(_, prefix):
            return value.startswith(prefix)
        case Like(_, pattern, ignore_case):
            text = "".join(
                {"%": ".*", "_": "."}.get(p) or re.escape(p[-1])
                for p in re.findall(r"\\.|.", pattern, re.DOTALL)
            )
            flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
            return re.fullmatch(text, value, flags) is not None
    raise AssertionError(expr)


def _get(row: Row, column: Column) -> Any:
    return row[".".join(column.path)]


def _ordered(value: Any, op: str, literal: Any, *, ieee: bool) -> bool:
    if ieee or not isinstance(value, float):
        return _COMPARE[op](value, literal)

    def rank(number: float) -> tuple[bool, float]:
        return math.isnan(number), 0.0 if math.isnan(number) else number

    return _COMPARE[op](rank(value), rank(literal))
