"""Literals coerced to the type of their column; comparisons rewritten where that isn't exact.

`i < 2.5` on an integer column is `i <= 2`, `i = 2.5` is never true: so every value that pruning and
row filters see is one that the column can hold, and nothing is compared after rounding. A literal
becomes the greatest value of the type that isn't above it and the least that isn't below.
"""

from __future__ import annotations

import math
import re
import struct
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import decimal_parameters
from deltalakedb.predicate.tree import (
    FLOATS,
    Column,
    Comparison,
    Expr,
    In,
    Not,
    Operator,
    Value,
    disjunction,
    never,
    unless_null,
)
from deltalakedb.record import record

_BITS = {"byte": 8, "short": 16, "integer": 32, "long": 64}
_TIMES = frozenset({"timestamp", "timestamp_ntz"})
_WIDE = Context(prec=120, Emax=999_999, Emin=-999_999)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?")
_SPECIAL = re.compile(r"(?i)[+-]?(?:nan|inf(?:inity)?)")
_TIME = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})"
    r"(?:[T ](?:(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{1,2})"
    r"(?::(?P<second>[0-9]{1,2})(?:\.(?P<fraction>[0-9]{1,9}))?)?)?)?"
    r"\s*(?P<zone>[Zz]|UTC|GMT|[+-][0-9]{1,2}(?::?[0-9]{2})?)?"
)


@record(frozen=True, slots=True)
class Coerced:
    """`floor <= literal <= ceiling`, nearest in the column's type; None beyond its range.

    Both are the literal when the type can hold it.
    """

    floor: Value | None
    ceiling: Value | None

    @property
    def exact(self) -> bool:
        return self.floor is not None and self.floor == self.ceiling


def comparison(column: Column, op: Operator, value: object) -> Expr:
    """`column op value` for a Python value that isn't None.

    Raises INVALID_PREDICATE when the column's type can't be compared with it.
    """
    if _is_nan(value := as_type(value, column)):
        return _nan_comparison(column, op)
    coerced = coerce(value, column)
    if coerced.exact and coerced.floor is not None:
        return Comparison(column, op, coerced.floor)
    if op == "=":
        return never(column)
    if op == "!=":
        return unless_null(column)
    if op in ("<", "<="):
        if coerced.floor is None:
            return never(column)
        return Comparison(column, "<=", coerced.floor)
    if coerced.ceiling is None:
        return never(column)
    return Comparison(column, ">=", coerced.ceiling)


def membership(column: Column, values: list[object]) -> Expr:
    """`column IN (values)` for Python values of which none is None; errors as `comparison`."""
    found: dict[Value, None] = {}
    nan = False
    for value in values:
        if _is_nan(value := as_type(value, column)):
            nan = nan or column.type in FLOATS
            continue
        coerced = coerce(value, column)
        if coerced.exact and coerced.floor is not None:
            found[coerced.floor] = None
    members: Expr = In(column, tuple(sorted(found)))
    if not nan:
        return members
    is_nan = Comparison(column, "=", math.nan)
    return disjunction([members, is_nan]) if found else is_nan


def _nan_comparison(column: Column, op: Operator) -> Expr:
    """NaN is above every number; only a floating point column has one."""
    if column.type not in FLOATS:
        return unless_null(column) if op in ("<", "<=", "!=") else never(column)
    is_nan = Comparison(column, "=", math.nan)
    if op in ("=", ">="):
        return is_nan
    if op in ("!=", "<"):
        return Not(is_nan)
    return unless_null(column) if op == "<=" else never(column)


def _is_nan(value: object) -> bool:
    return (isinstance(value, float) and math.isnan(value)) or (
        isinstance(value, Decimal) and value.is_nan()
    )


def as_type(value: object, column: Column) -> object:
    """Text as the number, time or truth that it spells, where the column is of such a type."""
    if not isinstance(value, str):
        return value
    type, text = column.type, value.strip()
    if type == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if type in _BITS or type in FLOATS or decimal_parameters(type):
        if _SPECIAL.fullmatch(text):
            return float(text)
        if _NUMBER.fullmatch(text):
            return Decimal(text)
    return value


def coerce(value: object, column: Column) -> Coerced:
    """The values of the column's type around a literal; INVALID_PREDICATE when it has none."""
    type = column.type
    found: Coerced | None = None
    if type == "boolean":
        found = Coerced(value, value) if isinstance(value, bool) else None
    elif type in _BITS:
        found = _integer(value, _BITS[type])
    elif type in FLOATS:
        found = _floating(value, single=type == "float")
    elif parameters := decimal_parameters(type):
        found = _decimal(value, *parameters)
    elif type == "string":
        found = Coerced(value, value) if isinstance(value, str) else None
    elif type == "binary":
        data = value.encode() if isinstance(value, str) else value
        found = Coerced(data, data) if isinstance(data, bytes) else None
    elif type == "date":
        found = _date(value)
    elif type in _TIMES:
        found = _timestamp(value, column)
    if found is None:
        raise _mismatch(value, column)
    return found


def _mismatch(value: object, column: Column) -> DeltaLakeError:
    if column.type in ("struct", "array", "map", "variant"):
        advice = "only IS NULL and IS NOT NULL can be asked of it"
        if column.type == "struct":
            advice = f"compare one of its fields, as in {column}.field, or ask {column} IS NULL"
    elif column.type == "string":
        advice = "write the value as text in single quotes"
    elif column.type in ("date", *_TIMES):
        advice = "write it like '2024-01-31'"
        if column.type != "date":
            advice += " or '2024-01-31 12:30:00'"
        if column.type == "timestamp_ntz":
            advice += ", without a time zone, as the column has none"
    else:
        advice = f"write a value of type {column.type}"
    return DeltaLakeError(
        DeltaLakeErrorKind.INVALID_PREDICATE,
        f"{value!r} can't be compared with column {column} of type {column.type}; {advice}",
        column=str(column),
        type=column.type,
    )


def _finite_number(value: object) -> int | Decimal | None:
    """The number; floats by their shortest decimal text, as people write them."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | Decimal):
        return value
    return Decimal(repr(value)) if isinstance(value, float) and math.isfinite(value) else None


def _infinite(value: object) -> bool:
    return isinstance(value, float | Decimal) and not math.isfinite(value)


def _integer(value: object, bits: int) -> Coerced | None:
    least, greatest = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if _infinite(value):
        return Coerced(greatest, None) if value > 0 else Coerced(None, least)  # type: ignore[operator]
    number = _finite_number(value)
    if number is None:
        return None
    if number > greatest:
        return Coerced(greatest, None)
    if number < least:
        return Coerced(None, least)
    return Coerced(math.floor(number), math.ceil(number))


def _floating(value: object, *, single: bool) -> Coerced | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        # Adding zero turns -0.0, which equals 0.0 everywhere, into 0.0.
        double = float(value) + 0.0
    except OverflowError:
        double = math.inf if value > 0 else -math.inf
    if not single:
        return Coerced(double, double)
    nearest = float32(double)
    if nearest == double:
        return Coerced(nearest, nearest)
    other = _float32_neighbour(nearest, up=nearest < double)
    return Coerced(min(nearest, other), max(nearest, other))


def float32(number: float) -> float:
    """The nearest 32-bit float."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", number))[0]) + 0.0
    except OverflowError:
        return math.copysign(math.inf, number)


def _float32_neighbour(number: float, *, up: bool) -> float:
    if number == 0:
        tiny = float(struct.unpack("<f", struct.pack("<i", 1))[0])
        return tiny if up else -tiny
    (bits,) = struct.unpack("<i", struct.pack("<f", number))
    bits += 1 if up == (number > 0) else -1
    return float(struct.unpack("<f", struct.pack("<i", bits))[0]) + 0.0


def _decimal(value: object, precision: int, scale: int) -> Coerced | None:
    greatest = Decimal(10**precision - 1).scaleb(-scale, context=_WIDE)
    least = greatest.copy_negate()  # a minus sign rounds to 28 digits
    if _infinite(value):
        return Coerced(greatest, None) if value > 0 else Coerced(None, least)  # type: ignore[operator]
    found = _finite_number(value)
    if found is None:
        return None
    number = Decimal(found)
    if number > greatest:
        return Coerced(greatest, None)
    if number < least:
        return Coerced(None, least)
    quantum = Decimal(1).scaleb(-scale)
    return Coerced(
        number.quantize(quantum, rounding=ROUND_FLOOR, context=_WIDE),
        number.quantize(quantum, rounding=ROUND_CEILING, context=_WIDE),
    )


def _date(value: object) -> Coerced | None:
    if isinstance(value, str):
        found = parse_time(value)
        # A date has no time of day: only midnight can be meant for one.
        if found is None or found[0].time() != datetime.min.time() or found[0].tzinfo or found[1]:
            return None
        value = found[0].date()
    if isinstance(value, datetime):
        value = _in_utc(value).replace(tzinfo=None)
        day = value.date()
        if value.time() == datetime.min.time():
            return Coerced(day, day)
        return Coerced(day, None if day == date.max else day + timedelta(days=1))
    return Coerced(value, value) if isinstance(value, date) else None


def _timestamp(value: object, column: Column) -> Coerced | None:
    local = column.type == "timestamp_ntz"
    beyond = 0
    if isinstance(value, str):
        found = parse_time(value)
        if found is None:
            return None
        value, beyond = found
    beyond = beyond or getattr(value, "nanosecond", 0)
    if not isinstance(value, date):
        return None
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if local and value.tzinfo is not None:
        return None
    floor = datetime(*value.timetuple()[:6], value.microsecond) if local else _in_utc(value)
    if not beyond:
        return Coerced(floor, floor)
    last = floor.replace(tzinfo=None) == datetime.max
    return Coerced(floor, None if last else floor + timedelta(microseconds=1))


def _in_utc(value: datetime) -> datetime:
    """The instant; a time without a zone is one in UTC."""
    if value.tzinfo is not None:
        value = value.astimezone(UTC)
    # Subclasses (pandas.Timestamp) become plain datetimes.
    return datetime(*value.timetuple()[:6], value.microsecond, UTC)


def parse_time(text: str) -> tuple[datetime, int] | None:
    """A date or timestamp text as in Spark, aware if it has a zone, and nanoseconds beyond.

    None when it is neither.
    """
    found = _TIME.fullmatch(text.strip())
    if not found:
        return None
    fraction = (found["fraction"] or "").ljust(9, "0")
    try:
        year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
        value = datetime(year, month, day, hour, minute, second, int(fraction[:6]))
        if found["zone"]:
            value = (value - _offset(found["zone"])).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return value, int(fraction[6:])


def _offset(zone: str) -> timedelta:
    if zone[0] not in "+-":
        return timedelta()
    hours, _, minutes = zone[1:].partition(":")
    if len(hours) > 2:
        hours, minutes = hours[:2], hours[2:]
    shift = timedelta(hours=int(hours), minutes=int(minutes or 0))
    return -shift if zone[0] == "-" else shift
