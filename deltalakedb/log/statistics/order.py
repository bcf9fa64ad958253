"""Order-preserving 64-bit keys: any orderable Delta value as an integer that SQL can compare.

Each type has one monotone map K from its values to int64: a <= b implies K(a) <= K(b).

| type | K |
|---|---|
| byte, short, integer, long | the number |
| boolean | 0, 1 |
| date | days since 1970-01-01 |
| timestamp, timestamp_ntz | microseconds since 1970-01-01 00:00 (UTC; local) |
| decimal(p <= 18, s) | the number times 10^s |
| float, double, decimal(p > 18, s) | IEEE total order of the nearest float32 / double, -0.0 = 0.0 |
| string | the first 8 bytes of UTF-8, big-endian, shifted to signed order |

A file keeps `lo = key_of(minimum)`, rounded down, and `hi = key_of(maximum, upper=True)`, rounded
up, so that lo <= K(v) <= hi for every non-null value v in it, truncated statistics included. What
is unknown is lo = NEG_INF, hi = POS_INF, and a column without any value is lo = POS_INF,
hi = NEG_INF (so hi - lo means nothing when either is infinite).

How a comparison is written in SQL, x being the literal and `b = bounds_for(op, x, type)`:

    lo <= b.lo_max and hi >= b.hi_min        (leave out the side that is None)

| SQL | lo_max | hi_min |
|---|---|---|
| c = x | K(x) | K(x) |
| c < x | K(x) - 1, or K(x) where K is not exact at x | - |
| c <= x | K(x) | - |
| c > x | - | K(x) + 1, or K(x) where K is not exact at x |
| c >= x | - | K(x) |
| c IN (x, ...) | greatest K(x) | least K(x); or OR together the bounds of each = |

These are necessary conditions: a file that fails holds no matching row, one that passes may hold
none. They answer predicates that null fails. `IS NULL`, `IS NOT NULL`, `<=>`, `<>` and NOT of any
comparison have no bound here: decide them by nullCount and the residual statistics.
PROTOCOL.md, "Per-file Statistics".
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from deltalakedb.log.schema import decimal_parameters
from deltalakedb.record import record

NEG_INF = -(2**63)
POS_INF = 2**63 - 1

TRUNCATED_MICROS = 1000
"""Maxima of timestamps are cut down to milliseconds: the true one is less than this away."""
CUT_OFFSET_MICROS = 60_000_000
"""Spark writes a zone's offset without its seconds, which local times had until they were
standardised: a minimum or maximum of then may be less than this away, on either side."""
STANDARD_TIME_YEAR = 1973
"""From here on no zone's offset has seconds."""

_INTEGERS = frozenset({"byte", "short", "integer", "long"})
_EXACT_DIGITS = 18
_LOSSY_INTEGER = 2**53
_ROUNDED_BITS = 51
_ROUNDED_STEPS = 8
"""delta-rs writes minima and maxima of decimals as doubles, rounded more than once: their keys may
lie beside those of the values, relatively so much (2^-51), or so many doubles."""
_SIGN = 1 << 63
_EPOCH = datetime(1970, 1, 1)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
# A year later, so that literals just after it find minima that were written too late.
_STANDARD_TIME = (datetime(STANDARD_TIME_YEAR + 1, 1, 1) - _EPOCH) // timedelta(microseconds=1)

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIMESTAMP = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?P<hour>[0-9]{2})(?::(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})"
    r"(?:\.(?P<fraction>[0-9]{1,18}))?)?)?)?"
    r"(?P<zone>Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

Span = tuple[int, int]


@record(frozen=True, slots=True)
class KeyBound:
    """A file may match iff `lo <= lo_max` and `hi >= hi_min`; None leaves that side open."""

    lo_max: int | None = None
    hi_min: int | None = None

    def admits(self, lo: int, hi: int) -> bool:
        return (self.lo_max is None or lo <= self.lo_max) and (
            self.hi_min is None or hi >= self.hi_min
        )


def is_orderable(type: str) -> bool:
    """Whether values of the primitive type have keys."""
    return (
        type in _INTEGERS
        or type in ("float", "double", "boolean", "date", "timestamp", "timestamp_ntz", "string")
        or decimal_parameters(type) is not None
    )


def key_of(value: object, type: str, *, upper: bool) -> int:
    """The key of a statistic: a minimum (`upper=False`) or a maximum (`upper=True`).

    `value` is a Python value or its form in statistics JSON (dates and timestamps as text, "NaN"
    and "Infinity" for floats). None, NaN and values that aren't of the type are unknown: NEG_INF,
    or POS_INF for a maximum.
    """
    span = _span(value, type)
    if span is None:
        return POS_INF if upper else NEG_INF
    if not upper:
        return _clamp(span[0])
    widened = TRUNCATED_MICROS if type in ("timestamp", "timestamp_ntz") else 0
    return _clamp(span[1] + widened)


def bounds_for(op: str, value: object, type: str) -> KeyBound:
    """The necessary condition on (lo, hi) of `column op value`; see the table above.

    `op` is one of = < <= > >= in (whose value is an iterable). The bound is open on both sides
    when the value can't be compared with the type by keys (None and NaN included), so nothing is
    pruned then.
    """
    if op == "in":
        return _any_of([bounds_for("=", v, type) for v in _iterable(value)])
    if op not in ("=", "<", "<=", ">", ">="):
        return KeyBound()
    literal = _literal(value, type)
    if literal is None:
        return KeyBound()
    below = {"=": literal.le, "<=": literal.le, "<": literal.lt}.get(op)
    above = {"=": literal.ge, ">=": literal.ge, ">": literal.gt}.get(op)
    return KeyBound(
        None if below is None else _clamp(below), None if above is None else _clamp(above)
    )


def _any_of(bounds: list[KeyBound]) -> KeyBound:
    lows = [b.lo_max for b in bounds if b.lo_max is not None]
    highs = [b.hi_min for b in bounds if b.hi_min is not None]
    if not bounds or len(lows) < len(bounds) or len(highs) < len(bounds):
        return KeyBound()
    return KeyBound(max(lows), min(highs))


def _iterable(value: object) -> list[object]:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]


def _clamp(key: int) -> int:
    return min(max(key, NEG_INF), POS_INF)


@record(frozen=True, slots=True)
class _Literal:
    """Greatest `lo` of a file that may hold a value <= or < x, least `hi` for >= or > x."""

    le: int
    lt: int
    ge: int
    gt: int

    def spread(self, by: int) -> _Literal:
        """The same for keys that may lie so far beside those of the values."""
        return _Literal(self.le + by, self.lt + by, self.ge - by, self.gt - by)


def _literal(value: object, type: str) -> _Literal | None:
    if type == "string":
        return _string_literal(value)
    if type in ("float", "double") or _is_wide(type):
        return _float_literal(value, type)
    if isinstance(value, float) and not value.is_integer():
        lossy = decimal_parameters(type) is not None
    else:
        lossy = isinstance(value, float) and abs(value) >= _LOSSY_INTEGER
    if lossy and isinstance(value, float):
        return _lossy_literal(value, type)
    span = _span(value, type)
    if span is None:
        return None
    floor, ceiling = span
    found = _Literal(le=floor, lt=ceiling - 1, ge=ceiling, gt=floor + 1)
    if type == "timestamp" and floor < _STANDARD_TIME:
        return found.spread(CUT_OFFSET_MICROS)
    if decimal_parameters(type) is None:
        return found
    return found.spread(max(abs(floor), abs(ceiling)) >> _ROUNDED_BITS)


def _lossy_literal(value: float, type: str) -> _Literal | None:
    """Engines compare the column as double with a double, where neighbours fall together."""
    if not math.isfinite(value):
        return None
    from fractions import Fraction

    _, scale = decimal_parameters(type) or (0, 0)
    scaled = Fraction(value) * 10**scale
    spread = abs(scaled) / 2**52
    high, low = math.floor(scaled + spread), math.ceil(scaled - spread)
    return _Literal(le=high, lt=high, ge=low, gt=low)


def _string_literal(value: object) -> _Literal | None:
    data = _utf8(value)
    if data is None:
        return None
    key = _prefix(data, b"\0")
    # A text that fills no more than the key is the least one with that key, but for NULs.
    least = len(data) <= 8 and not data.endswith(b"\0")
    return _Literal(le=key, lt=key - 1 if least else key, ge=key, gt=key)


def _float_literal(value: object, type: str) -> _Literal | None:
    number = _number(value)
    if number is None:
        return None
    nearest = _to_double(number)
    if math.isnan(nearest):
        return None
    double = _float_key(nearest)
    single = _float_key(_to_float32(nearest)) if type == "float" else double
    low, high = min(single, double), max(single, double)
    exact = low == high and not _is_wide(type) and nearest == number
    step = 1 if exact else 0
    found = _Literal(le=high, lt=high - step, ge=low, gt=low + step)
    return _wide_literal(found, type) if _is_wide(type) else found


def _wide_literal(found: _Literal, type: str) -> _Literal:
    near = found.spread(_ROUNDED_STEPS)
    if not type.replace(" ", "").endswith(",0)"):
        return near
    # Of whole decimals the same writer keeps what fits 64 bits.
    most, least = _float_key(2.0**63), _float_key(-(2.0**63))
    return _Literal(
        max(near.le, least), max(near.lt, least), min(near.ge, most), min(near.gt, most)
    )


def _is_wide(type: str) -> bool:
    found = decimal_parameters(type)
    return found is not None and found[0] > _EXACT_DIGITS


def _span(value: object, type: str) -> Span | None:
    """(greatest key not above the value, least key not below it); None for what has no key."""
    if value is None:
        return None
    if type == "string":
        return _string_span(value)
    if type in _INTEGERS:
        return _scaled_span(value, 0)
    if type in ("float", "double"):
        return _float_span(value, single=type == "float")
    if type == "boolean":
        return (int(value), int(value)) if isinstance(value, bool) else None
    if type == "date":
        return _date_span(value)
    if type in ("timestamp", "timestamp_ntz"):
        return _timestamp_span(value, zoned=type == "timestamp")
    found = decimal_parameters(type)
    if found is None:
        return None
    precision, scale = found
    return _float_span(value) if precision > _EXACT_DIGITS else _scaled_span(value, scale)


def _number(value: object) -> int | float | Decimal | None:
    if isinstance(value, str):
        return _SPECIAL.get(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return value


def _scaled_span(value: object, scale: int) -> Span | None:
    number = _number(value)
    if number is None:
        return None
    if isinstance(number, int):
        return number * 10**scale, number * 10**scale
    if not math.isfinite(number):
        return None
    from fractions import Fraction

    scaled = Fraction(number) * 10**scale
    return math.floor(scaled), math.ceil(scaled)


def _float_span(value: object, *, single: bool = False) -> Span | None:
    number = _number(value)
    if number is None:
        return None
    nearest = _to_double(number)
    if math.isnan(nearest):
        return None
    key = _float_key(_to_float32(nearest) if single else nearest)
    return key, key


def _to_double(number: int | float | Decimal) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _to_float32(number: float) -> float:
    try:
        (single,) = struct.unpack("<f", struct.pack("<f", number))
    except OverflowError:
        return math.copysign(math.inf, number)
    return float(single)


def _float_key(number: float) -> int:
    """IEEE total order: negative numbers run backwards, so their magnitude bits are flipped."""
    (bits,) = struct.unpack("<q", struct.pack("<d", number + 0.0))
    return int(bits) if bits >= 0 else int(bits) ^ POS_INF


def _string_span(value: object) -> Span | None:
    data = _utf8(value)
    if data is None:
        return None
    # A maximum may be cut off without a tie-breaker: every continuation of it must stay below.
    # The empty text is nothing that was cut off.
    return _prefix(data, b"\0"), _prefix(data, b"\xff" if data else b"\0")


def _utf8(value: object) -> bytes | None:
    try:
        return value.encode() if isinstance(value, str) else None
    except UnicodeEncodeError:
        return None


def _prefix(data: bytes, padding: bytes) -> int:
    return int.from_bytes(data[:8].ljust(8, padding), "big") - _SIGN


def _date_span(value: object) -> Span | None:
    if isinstance(value, datetime):
        micros = _micros(value)
        day = 86_400_000_000
        return micros // day, -(-micros // day)
    if isinstance(value, str):
        if not _DATE.fullmatch(value):
            return None
        try:
            value = date.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, date):
        return None
    days = value.toordinal() - _EPOCH_DAY
    return days, days


def _timestamp_span(value: object, *, zoned: bool) -> Span | None:
    if isinstance(value, datetime):
        micros = _micros(value)
        return micros, micros
    if isinstance(value, date):
        micros = (value.toordinal() - _EPOCH_DAY) * 86_400_000_000
        return micros, micros
    return _timestamp_text_span(value, zoned=zoned) if isinstance(value, str) else None


def _micros(value: datetime) -> int:
    if value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return (value - _EPOCH) // timedelta(microseconds=1)


def _timestamp_text_span(text: str, *, zoned: bool) -> Span | None:
    """An instant needs its zone: without one it is unknown. A local time may carry a stray Z."""
    found = _TIMESTAMP.fullmatch(text)
    if not found:
        return None
    zone = found["zone"]
    if (zone is None) if zoned else (zone not in (None, "Z")):
        return None
    fraction = (found["fraction"] or "").ljust(6, "0")
    try:
        day = date.fromisoformat(found["day"])
        clock = (int(found["hour"] or 0), int(found["minute"] or 0), int(found["second"] or 0))
        local = datetime(day.year, day.month, day.day, *clock, int(fraction[:6]))
    except ValueError:
        return None
    micros = _micros(local) - _offset_micros(zone)
    return micros, micros + (1 if int(fraction[6:] or 0) else 0)


def _offset_micros(zone: str | None) -> int:
    if zone is None or zone == "Z":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return (-minutes if zone[0] == "-" else minutes) * 60_000_000
