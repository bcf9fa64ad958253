"""The distinct values of one partition column, and which of them pass a test.

A test of equality looks the value up, a comparison its place in order; others ask every value.
"""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from deltalakedb.error import DeltaLakeError
from deltalakedb.log.partition import PartitionValue, parse_partition_value
from deltalakedb.planning.pruning.normal_form import is_nan_test
from deltalakedb.predicate.literal import float32
from deltalakedb.predicate.tree import (
    And,
    Comparison,
    Expr,
    In,
    IsNotNull,
    IsNull,
    Like,
    Not,
    Or,
    StartsWith,
    Value,
)

Mask = npt.NDArray[np.bool_]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}


class ColumnValues:
    """The distinct texts of a partition column, read as its type; kept for many tests."""

    def __init__(self, texts: Sequence[str | None], type: str) -> None:
        self._values = [_read(text, type) for text in texts]

    @property
    def readable(self) -> Mask:
        """Which texts are a value of the type, or null."""
        return ~self._unreadable

    def passing(self, condition: Expr) -> Mask:
        """Which values pass a `partition_condition` on this column alone.

        What can't be read as the type equals no value, and passes every other test: the error is
        the reader's to raise.
        """
        try:
            return self._found(condition)
        except TypeError:
            return self._asked(condition)

    def _found(self, condition: Expr) -> Mask:
        """By look-ups; TypeError where values don't compare with a literal."""
        match condition:
            case And(children):
                return np.asarray(np.all([self._found(child) for child in children], axis=0))
            case Or(children):
                return np.asarray(np.any([self._found(child) for child in children], axis=0))
            case Not(child):
                return self._present & (self._unreadable | ~self._found(child))
            case IsNull():
                return ~self._present | self._unreadable
            case IsNotNull():
                return self._present
            case Comparison() if not is_nan_test(condition):
                return self._compared(condition.op, condition.value)
            case In(_, literals):
                return self._among(literals)
        return self._asked(condition)

    def _compared(self, op: str, literal: Value) -> Mask:
        if op == "=":
            return self._among((literal,))
        if op == "!=":
            return self._present & ~self._among((literal,))
        values, places = self._in_order
        first = bisect.bisect_left(values, literal)
        last = bisect.bisect_right(values, literal)
        span = {
            "<": slice(None, first),
            "<=": slice(None, last),
            ">": slice(last, None),
            ">=": slice(first, None),
        }[op]
        mask = self._unreadable.copy()
        mask[places[span]] = True
        return mask

    def _among(self, literals: Sequence[Value]) -> Mask:
        mask = np.zeros(len(self._values), np.bool_)
        for literal in literals:
            mask[self._places.get(literal, [])] = True
        return mask

    def _asked(self, condition: Expr) -> Mask:
        passes = _value_test(condition)

        def answer(value: Any) -> bool:
            try:
                return passes(value)
            except TypeError:
                return True

        return np.fromiter(map(answer, self._values), np.bool_, len(self._values))

    @cached_property
    def _present(self) -> Mask:
        return np.fromiter((v is not None for v in self._values), np.bool_, len(self._values))

    @cached_property
    def _unreadable(self) -> Mask:
        return np.fromiter((v is _NO_VALUE for v in self._values), np.bool_, len(self._values))

    @cached_property
    def _places(self) -> dict[Any, list[int]]:
        """Where each value is: two texts may mean the same."""
        places: dict[Any, list[int]] = {}
        for place, value in enumerate(self._values):
            if value is not None and value is not _NO_VALUE:
                places.setdefault(value, []).append(place)
        return places

    @cached_property
    def _in_order(self) -> tuple[list[Any], npt.NDArray[np.intp]]:
        """The values that have an order (not NaN), ascending, and where they are."""
        places = [
            place
            for place, value in enumerate(self._values)
            if value is not None and value is not _NO_VALUE and value == value
        ]
        places.sort(key=self._values.__getitem__)
        return [self._values[place] for place in places], np.array(places, np.intp)


def _read(text: str | None, type: str) -> Any:
    try:
        return _value(text, type)
    except DeltaLakeError:
        return _NO_VALUE


def _value(text: str | None, type: str) -> PartitionValue:
    if type == "string":
        return text or None
    value = parse_partition_value(text, type)
    # The text of a 32-bit float is the shortest one that gives it back, not its exact value.
    return float32(value) if type == "float" and isinstance(value, float) else value


class _NoValue:
    """What a text stands for that is no value of its column's type."""

    def __eq__(self, _: object) -> bool:
        return False

    def __ne__(self, _: object) -> bool:
        return True

    def _true(self, _: object) -> bool:
        return True

    __lt__ = __le__ = __gt__ = __ge__ = _true
    __hash__ = object.__hash__


_NO_VALUE: Any = _NoValue()


def _value_test(expr: Expr) -> Callable[[PartitionValue], bool]:
    match expr:
        case And(children):
            tests = [_value_test(child) for child in children]
            return lambda value: all(test(value) for test in tests)
        case Or(children):
            tests = [_value_test(child) for child in children]
            return lambda value: any(test(value) for test in tests)
        case IsNull():
            return lambda value: value is None or value is _NO_VALUE
        case IsNotNull():
            return lambda value: value is not None
        case Comparison() if is_nan_test(expr):
            return lambda value: isinstance(value, float) and math.isnan(value)
        case Comparison(_, op, literal):
            compare = _COMPARE[op]
            return lambda value: value is not None and compare(value, literal)
        case In(_, literals):
            members = frozenset(literals)
            return lambda value: value is not None and value in members
        case StartsWith(_, prefix):
            return lambda value: isinstance(value, str) and value.startswith(prefix)
        case Like(_, pattern, ignore_case):
            matches = like_pattern(pattern, ignore_case).fullmatch
            return lambda value: isinstance(value, str) and matches(value) is not None
        case Not(child):
            inner = _value_test(child)
            return lambda value: value is not None and (value is _NO_VALUE or not inner(value))
    raise AssertionError(expr)


def like_pattern(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    """A LIKE pattern (escape character backslash) as a regular expression for full matches."""
    pieces = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    text = "".join(wild.get(piece) or re.escape(piece[-1]) for piece in pieces)
    return re.compile(text, re.DOTALL | (re.IGNORECASE if ignore_case else 0))
