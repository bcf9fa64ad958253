"""Minimum and maximum of a column in statistics, as values that can be compared with literals.

PROTOCOL.md, "Per-file Statistics": text is cut off, timestamps are cut down to milliseconds, wide
bounds are bounds all the same. The minimum read here is never above the least value in the file,
the maximum never below the greatest; None says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, NamedTuple

from deltalakedb.log.schema import decimal_parameters
from deltalakedb.log.statistics.order import (
    CUT_OFFSET_MICROS,
    NEG_INF,
    POS_INF,
    STANDARD_TIME_YEAR,
    is_orderable,
    key_of,
)
from deltalakedb.predicate.tree import Column

_INTEGERS = frozenset({"byte", "short", "integer", "long"})
_KEYED = frozenset({"float", "double", "boolean", "date", "timestamp", "timestamp_ntz"})
_PREFIX_CHARACTERS = 32
_DOUBLE_DIGITS = 15
_WRITTEN_DIGITS = 17
_EXACT_POWERS = 22  # greater powers of ten are no doubles
_FEW_ROUNDINGS = Decimal(2.0**-51)
_MANY_ROUNDINGS = Decimal(2.0**-48)
_CLAMPED = (Decimal(2**63 - 1), Decimal(-(2**63)))
_WIDE = Context(prec=120)
_LOCAL_MEAN_TIME = re.compile(r"[+-][0-9]{2}:?(?!00|15|30|45)[0-9]{2}$")
_TIE_BREAKERS = ("\ufffd", "\uffff", "\U0010ffff")

Bound = Callable[[Any], Any]


class Order(NamedTuple):
    """How one type's literals and statistics are made comparable; results are of one type."""

    literal: Callable[[Any], Any]
    least: Bound
    greatest: Bound


def order_of(column: Column) -> Order | None:
    """None for a column whose minima and maxima can't be used.

    Times, floats and truths are compared by their keys, which are exact for them; numbers and text
    as they are.
    """
    type = column.type
    if type == "double" and column.was_float:
        # 0.1 stands for itself in a new file, and for the nearest 32-bit number in an old one.
        return Order(
            lambda value: key_of(value, "double", upper=False),
            lambda value: _of_either(value, False, min),
            lambda value: _of_either(value, True, max),
        )
    if type in _INTEGERS:
        return Order(_same, _integer, _integer)
    if parameters := decimal_parameters(type):
        if not needs_exact_numbers(type):
            return Order(_same, _short_decimal, _short_decimal)
        scale = parameters[1]
        return Order(
            _same,
            lambda value: _long_decimal(value, scale, ROUND_CEILING),
            lambda value: _long_decimal(value, scale, ROUND_FLOOR),
        )
    if type == "string":
        return Order(_same, _text, _text_upper)
    if type == "timestamp":
        return Order(
            lambda value: key_of(value, type, upper=False),
            lambda value: _instant(value, False),
            lambda value: _instant(value, True),
        )
    if type in _KEYED and is_orderable(type):
        return Order(
            lambda value: key_of(value, type, upper=False),
            lambda value: _keyed(value, type, False),
            lambda value: _keyed(value, type, True),
        )
    return None


def _of_either(value: Any, upper: bool, choose: Callable[[int, int], int]) -> int | None:
    wide, narrow = _keyed(value, "double", upper), _keyed(value, "float", upper)
    return None if wide is None or narrow is None else choose(wide, narrow)


def _same(value: Any) -> Any:
    return value


def _integer(value: Any) -> Any:
    # A column that was once of another type has statistics of that; whole numbers are as good.
    if type(value) is int:
        return value
    return value if isinstance(value, Decimal) and value.is_finite() else None


def needs_exact_numbers(type: str) -> bool:
    """Whether statistics of the type have more digits than a double tells apart.

    With up to 15, the shortest text of the double is the number that was written.
    """
    parameters = decimal_parameters(type)
    return parameters is not None and parameters[0] > _DOUBLE_DIGITS


def _short_decimal(value: Any) -> Any:
    return _decimal(repr(value) if type(value) is float else value)


def _long_decimal(value: Any, scale: int, inwards: str) -> Any:
    """A bound that may be a double (delta-rs writes decimals so), which is near the true one.

    The true one is a multiple of the type's smallest step, so only long numbers become less sharp.
    """
    found = _decimal(value)
    if not found or (scale <= _EXACT_POWERS and found.adjusted() + scale < _DOUBLE_DIGITS):
        return found
    if scale == 0 and found in _CLAMPED:
        return None
    if not (_is_short_double(found) or (scale == 0 and type(value) is int and _fits(found))):
        return found
    slack = abs(found) * (_FEW_ROUNDINGS if scale <= _EXACT_POWERS else _MANY_ROUNDINGS)
    near = _WIDE.subtract(found, slack) if inwards == ROUND_CEILING else _WIDE.add(found, slack)
    return near.quantize(Decimal(1).scaleb(-scale), rounding=inwards, context=_WIDE)


def _is_short_double(number: Decimal) -> bool:
    """Whether it is written as a double is: the least digits that tell it from its neighbours."""
    return (
        len(number.as_tuple().digits) <= _WRITTEN_DIGITS and Decimal(repr(float(number))) == number
    )


def _fits(whole: Decimal) -> bool:
    """Whether it is a double and a 64-bit number: delta-rs writes whole decimals as that."""
    return _CLAMPED[1] <= whole <= _CLAMPED[0] and Decimal(float(whole)) == whole


def _decimal(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = Decimal(value)
        except InvalidOperation:
            return None
    found = _integer(value)
    return Decimal(found) if type(found) is int else found


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _text_upper(value: Any) -> str | None:
    """A text that no value exceeds: long maxima, with a tie-breaker or without, are prefixes."""
    if not isinstance(value, str):
        return None
    if value.endswith(_TIE_BREAKERS):
        return _successor(value[:-1])
    return value if len(value) < _PREFIX_CHARACTERS else _successor(value)


class _Below(str):
    """A text that all values stay below, where a plain one may be a value itself."""

    __slots__ = ()

    def __ge__(self, other: str) -> bool:
        return self > other


def _successor(prefix: str) -> str | None:
    """The least text above all that begin with the prefix; None when there is none."""
    stem = prefix.rstrip("\U0010ffff")
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    return _Below(stem[:-1] + chr(0xE000 if following == 0xD800 else following))


@lru_cache(maxsize=1 << 15)
def _cached_key(value: object, kind: str, type: str, upper: bool) -> int:
    # Equal values of different kinds (1, 1.0, True) have keys of their own.
    return key_of(value, type, upper=upper)


def _instant(value: Any, upper: bool) -> int | None:
    """A bound whose zone had seconds in its offset then, which the text doesn't say."""
    key = _keyed(value, "timestamp", upper)
    early = isinstance(value, str) and value[:4] < str(STANDARD_TIME_YEAR)
    if key is None or not early or not _LOCAL_MEAN_TIME.search(value):
        return key
    return key + CUT_OFFSET_MICROS if upper else key - CUT_OFFSET_MICROS


def _keyed(value: Any, type: str, upper: bool) -> int | None:
    if not isinstance(value, str | bool | int | float | Decimal):
        return None
    key = _cached_key(value, value.__class__.__name__, type, upper)
    return None if key == (POS_INF if upper else NEG_INF) else key
