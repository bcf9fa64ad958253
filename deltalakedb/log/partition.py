"""Partition values: one canonical text per tuple, its id, and typed values.

PROTOCOL.md, "Partition Value Serialization". In the log every value is a string or null, keyed by
the physical column name; an empty string stands for null whatever the type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import orjson
import xxhash

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import decimal_parameters

if TYPE_CHECKING:
    import pyarrow as pa

PartitionValue = str | int | float | bool | Decimal | date | datetime | bytes | None

_INTEGER = re.compile(r"[+-]?[0-9]+")
_INTEGER_BITS = {"byte": 8, "short": 16, "integer": 32, "long": 64}
# Java writes years of more than four digits, and those before 0, with a sign.
_DATE = re.compile(r"([+-]?[0-9]{4,7})-([0-9]{1,2})-([0-9]{1,2})")
_TIMESTAMP = re.compile(
    r"(?P<date>[+-]?[0-9]{4,7}-[0-9]{1,2}-[0-9]{1,2})"
    r"(?:[T ](?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{1,2})(?::(?P<second>[0-9]{1,2})"
    r"(?:\.(?P<fraction>[0-9]{1,9}))?)?)?"
    r"(?P<zone>[Zz]|[+-][0-9]{2}:?(?:[0-9]{2})?)?"
)
_ESCAPED_BYTE = re.compile(r"\\u00([0-9A-Fa-f]{2})")
_EXACT = Context(prec=80, traps=[InvalidOperation, Inexact])
_TEXTS = frozenset({str, type(None)})
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DAY_MICROS = 86_400_000_000
_EPOCH = date(1970, 1, 1)
_NUMBERS = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}
_NUMBER_NAMES = {python: name for name, python in _NUMBERS.items()}


def partition_values_text(values: Mapping[str, str | None]) -> str:
    """Canonical JSON of `{physical name: value}`: sorted keys, no spaces, `""` written as null.

    TypeError for a value that is no text (PROTOCOL.md has Map[String, String]).
    """
    if not _TEXTS.issuperset(map(type, values.values())):
        raise TypeError("partition values are strings or null")
    return orjson.dumps(
        {k: v or None for k, v in values.items()}, option=orjson.OPT_SORT_KEYS
    ).decode()


def partition_id(text: str) -> int:
    """The signed 64-bit xxh3 of a canonical text: the same on every worker, without a lookup."""
    unsigned = xxhash.xxh3_64_intdigest(text.encode())
    return unsigned - 2**64 if unsigned >= 2**63 else unsigned


class PartitionTexts:
    """Canonical text and id of partition values, each distinct tuple computed once."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str | None, ...], tuple[str, int]] = {}
        self._columns: tuple[str, ...] = ()
        self._rows: dict[Any, tuple[str, int]] = {}

    def of(self, values: Mapping[str, str | None] | None) -> tuple[str, int]:
        key = (*values, *values.values()) if values else ()
        found = self._seen.get(key)
        if found is None:
            text = partition_values_text(values or {})
            found = self._seen[key] = (text, partition_id(text))
        return found

    def of_all(self, many: list[Mapping[str, str | None] | None]) -> list[tuple[str, int]]:
        """`of` each. Where all have the same columns, in C but for tuples not met before."""
        first = many[0]
        if not first or set(map(len, filter(None, many))) != {len(first)} or not all(many):
            return [self.of(values) for values in many]
        if tuple(first) != self._columns:
            self._columns, self._rows = tuple(first), {}
        pick: Callable[[Any], Any] = itemgetter(*self._columns)
        try:
            rows = list(map(pick, many))
        except KeyError:
            return [self.of(values) for values in many]
        known = self._rows
        found = list(map(known.get, rows))
        if None in found:
            for place, row in enumerate(rows):
                if row not in known:
                    known[row] = self.of(many[place])
            found = [known[row] for row in rows]
        return found  # type: ignore[return-value]  # no None is left


def parse_partition_value(text: str | None, type: str) -> PartitionValue:
    """The Python value of a partition value of Delta primitive type `type`.

    int for byte … long, float, Decimal with the type's scale, date, aware datetime in UTC for
    timestamp (text without a zone is taken as UTC), naive datetime for timestamp_ntz, bytes for
    binary, else str. Raises INVALID_LOG when the text is no value of that type, or when it is a
    date outside the years 1 to 9999 that Python has (`partition_scalar` knows the others).
    """
    if text is None or text == "":
        return None
    try:
        found = _parse(text, type)
        return _python_date(found, type) if type in DATES else found
    except (ValueError, ArithmeticError) as error:
        raise _no_value(text, type) from error


def partition_scalar(text: str | None, type: str, kind: pa.DataType) -> pa.Scalar:
    """The Arrow value of a partition value of Delta primitive type `type`, whose Arrow type it is.

    Dates may have any year that Arrow has. Raises INVALID_LOG when the text is no such value.
    """
    import pyarrow as pa

    try:
        if text is None or text == "":
            return pa.scalar(None, kind)
        value = _parse(text, type)
        if type in DATES:
            number = pa.int32() if type == "date" else pa.int64()
            return pa.scalar(value, number).cast(kind)
        return pa.scalar(value, kind)
    except (ValueError, ArithmeticError, pa.ArrowException) as error:
        raise _no_value(str(text), type) from error


DATES = frozenset({"date", "timestamp", "timestamp_ntz"})
"""Types whose values are days, or microseconds, since 1970."""


def _no_value(text: str, type: str) -> DeltaLakeError:
    return DeltaLakeError(
        DeltaLakeErrorKind.INVALID_LOG,
        f"partition value {text!r} is no {type}; the add action that holds it was written "
        "wrongly, rewrite that file",
        value=text,
        type=type,
    )


def _python_date(number: Any, type: str) -> date | datetime:
    if type == "date":
        return _EPOCH + timedelta(days=number)
    zone = UTC if type == "timestamp" else None
    return datetime(1970, 1, 1, tzinfo=zone) + timedelta(microseconds=number)


def partition_value_text(value: Any) -> str | None:
    """The text of a partition value, as `add.partitionValues` holds it.

    `value` is as `parse_partition_value` gives it. Instants are ISO 8601 in UTC with six digits;
    empty text is null (PROTOCOL.md, Partition Value Serialization). Bytes are UTF-8 where they
    are that and nothing in them looks like an escape, else `\\u00XX` each, as delta-rs writes.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.isoformat(" ", "microseconds")
        return value.astimezone(UTC).replace(tzinfo=None).isoformat("T", "microseconds") + "Z"
    if isinstance(value, float):
        return _NUMBER_NAMES.get(repr(value), repr(value))
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return _binary_text(value)
    return value.isoformat() if isinstance(value, date) else str(value)


def _binary_text(value: bytes) -> str | None:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = ""
    if not text or _ESCAPED_BYTE.search(text):
        text = "".join(f"\\u{byte:04X}" for byte in value)
    return text or None


def _parse(text: str, type: str) -> PartitionValue:
    """The value; of a date its number, days or microseconds since 1970."""
    if type in _INTEGER_BITS:
        return _integer(text.strip(), _INTEGER_BITS[type])
    if type in ("float", "double"):
        return float(_NUMBERS.get(text, _without_underscore(text)))
    if type == "boolean":
        lowered = text.strip().lower()
        if lowered not in ("true", "false"):
            raise ValueError(text)
        return lowered == "true"
    if type == "date":
        return _days(text)
    if type in DATES:
        return _micros(text, zoned=type == "timestamp")
    if type.startswith("decimal"):
        return _decimal(text, type)
    if type == "binary":
        return _binary(text)
    return text


def _without_underscore(text: str) -> str:
    """Python takes 1_000 for a number, and nobody else does."""
    if "_" in text:
        raise ValueError(text)
    return text


def _integer(text: str, bits: int) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    value = int(text)
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise ValueError(text)
    return value


def _decimal(text: str, type: str) -> Decimal:
    """With the type's scale. What has more digits than the type is none of its values."""
    value = Decimal(_without_underscore(text.strip()))
    precision, scale = decimal_parameters(type) or (38, 0)
    if not value.is_finite():
        raise ValueError(text)
    value = value.quantize(Decimal(1).scaleb(-scale), context=_EXACT)
    if len(value.as_tuple().digits) > precision:
        raise ValueError(text)
    return value


def _days(text: str) -> int:
    # Spark writes a date partition of a column that was once a timestamp with a midnight time.
    found = _DATE.match(text.strip())
    if not found or text.strip()[found.end() : found.end() + 1] not in ("", " ", "T"):
        raise ValueError(text)
    year, month, day = int(found[1]), int(found[2]), int(found[3])
    if not 1 <= month <= 12 or not 1 <= day <= _days_of(year, month):
        raise ValueError(text)
    # Whole cycles of 400 years bring the year to where Python has dates.
    cycles, within = divmod(year - 1, 400)
    days = date(within + 1, month, day).toordinal() + cycles * 146_097
    return days - _EPOCH.toordinal()


def _days_of(year: int, month: int) -> int:
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _MONTH_DAYS[month - 1] + leap


def _micros(text: str, *, zoned: bool) -> int:
    found = _TIMESTAMP.fullmatch(text.strip())
    if not found:
        raise ValueError(text)
    hour, minute, second = (int(found[name] or 0) for name in ("hour", "minute", "second"))
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(text)
    seconds = hour * 3600 + minute * 60 + second
    micros = int((found["fraction"] or "0").ljust(6, "0")[:6])
    value = _days(found["date"]) * _DAY_MICROS + seconds * 1_000_000 + micros
    if zoned:
        value -= _offset(found["zone"]) // timedelta(microseconds=1)
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(text)
    return value


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone in "Zz":
        return timedelta()
    digits = zone[1:].replace(":", "").ljust(4, "0")
    shift = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -shift if zone[0] == "-" else shift


def _binary(text: str) -> bytes:
    """Literal `\\u00XX` escapes (delta-rs) stand for one byte each; other text is UTF-8 (Spark)."""
    out = bytearray()
    position = 0
    for found in _ESCAPED_BYTE.finditer(text):
        out += text[position : found.start()].encode()
        out.append(int(found[1], 16))
        position = found.end()
    return bytes(out + text[position:].encode())
