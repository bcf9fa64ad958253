"""Partition predicates, decided on the partition values themselves.

PROTOCOL.md, "Partition Value Serialization". A tuple passes unless its values alone keep the
predicate from being TRUE. What a tuple leaves open is a question for the other columns: of
`p = 1 OR x > 5` nothing for p = 1, and `x > 5` for every other p.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from deltalakedb.catalog.records import TextTest
from deltalakedb.error import DeltaLakeError
from deltalakedb.log.partition import PartitionValue, parse_partition_value
from deltalakedb.planning.pruning.normal_form import is_nan_test, necessary
from deltalakedb.predicate.literal import float32
from deltalakedb.predicate.tree import (
    TRUE,
    And,
    Column,
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
    Value,
    columns_of,
    conjunction,
    disjunction,
)

_FEW_VALUES = 16
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}


def partition_condition(expr: Expr, partition_columns: Collection[str]) -> Expr | None:
    """What the predicate asks of the partition columns (logical names) alone.

    In the normal form of `normal_form.necessary`; None when it asks nothing.
    """
    found = _reduced(necessary(expr), set(partition_columns))
    return None if found == TRUE else found


def text_tests(condition: Expr) -> list[TextTest]:
    """What a `partition_condition` asks of the canonical text of the tuples that pass it.

    For a database that is to send few of many tuples: only equality of text and of dates, where
    it holds whatever else does. A date that isn't written the usual way passes.
    """
    found = []
    for leaf in condition.children if isinstance(condition, And) else (condition,):
        match leaf:
            case Comparison(column, "=", value):
                values: tuple[Value, ...] = (value,)
            case In(column, values):
                pass
            case _:
                continue
        if column.collated or not 0 < len(values) <= _FEW_VALUES:
            continue
        name = f"%{_like(orjson.dumps(column.physical[0]))}:"
        words = [value for value in values if isinstance(value, str) and _storable(value)]
        if column.type == "string" and len(words) == len(values):
            found.append(TextTest(tuple(f"{name}{_like(orjson.dumps(word))}%" for word in words)))
        days = [value.isoformat() for value in values if type(value) is date]
        if column.type == "date" and len(days) == len(values):
            like = tuple(f'{name}"{day}"%' for day in days)
            found.append(TextTest(like, f'{name}"____-__-__"%'))
    return found


def _storable(text: str) -> bool:
    """Whether a database can hold it: no half of a surrogate pair, and not what stands for null."""
    return bool(text) and not any("\ud800" <= character <= "\udfff" for character in text)


def _like(text: bytes) -> str:
    """A text as a LIKE pattern that it alone is like."""
    return re.sub(r"[!%_]", r"!\g<0>", text.decode())


class PartitionTuples:
    """Partition tuples by columns: a test is made once for each distinct value.

    A column is taken apart when it is first asked for; 2 microseconds a tuple, then nothing.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """`texts` are canonical JSON, `{physical name: text or null}`, as in `dl_partitions`."""
        self._texts = texts
        self._tuples: list[dict[str, str | None]] | None = None
        self._columns: dict[str, tuple[list[str | None], npt.NDArray[np.intp]]] = {}

    def filtered(self, condition: Expr) -> npt.NDArray[np.bool_]:
        """Which tuples pass a `partition_condition`.

        A value that can't be read as its column's type equals no value, and passes every other
        test: the error is the reader's to raise.
        """
        columns = columns_of(condition)
        if len(columns) == 1:
            return self._answers(condition, *columns)
        passes: npt.NDArray[np.bool_]
        match condition:
            case And(children):
                passes = np.all([self.filtered(child) for child in children], axis=0)
            case Or(children):
                passes = np.any([self.filtered(child) for child in children], axis=0)
            case _:
                passes = np.full(len(self._texts), condition == TRUE)
        return passes

    def residuals(
        self, expr: Expr, partition_columns: Collection[str]
    ) -> tuple[list[Expr], npt.NDArray[np.intp]]:
        """What each tuple leaves to the other columns: the distinct predicates, which is whose.

        They are the predicate without its partition tests, for `key_condition` and
        `statistics_filter`: FALSE where no row of the partition is selected, TRUE where its files
        need no further look. There are as many as combinations of answers occur, mostly two.
        """
        condition = necessary(expr)
        leaves = list(dict.fromkeys(_partition_leaves(condition, set(partition_columns))))
        answers = np.zeros((len(self._texts), len(leaves)), np.bool_)
        for number, leaf in enumerate(leaves):
            answers[:, number] = self.filtered(leaf)
        combinations, which = np.unique(answers, axis=0, return_inverse=True)
        found: dict[Expr, int] = {}
        places = [
            found.setdefault(_answered(condition, dict(zip(leaves, row, strict=True))), len(found))
            for row in combinations.tolist()
        ]
        return list(found), np.array(places, np.intp)[which.reshape(-1)]

    def _answers(self, condition: Expr, column: Column) -> npt.NDArray[np.bool_]:
        """Those of a condition on one column alone."""
        texts, codes = self._coded(column.physical[0])
        passes = _value_test(condition)

        def answer(text: str | None) -> bool:
            try:
                return passes(_value(text, column.type))
            except DeltaLakeError:
                return passes(_NO_VALUE)
            except TypeError:
                return True

        return np.fromiter(map(answer, texts), np.bool_, len(texts))[codes]

    def _coded(self, name: str) -> tuple[list[str | None], npt.NDArray[np.intp]]:
        """The distinct texts of a column, and which of them each tuple has."""
        found = self._columns.get(name)
        if found is None:
            if self._tuples is None:
                self._tuples = list(map(orjson.loads, self._texts))
            column = [t.get(name) for t in self._tuples]
            values = list(dict.fromkeys(column))
            number = {value: code for code, value in enumerate(values)}
            codes = np.array(list(map(number.__getitem__, column)), dtype=np.intp)
            found = self._columns[name] = (values, codes)
        return found


def _partition_leaves(expr: Expr, partition_columns: set[str]) -> Iterator[Expr]:
    match expr:
        case And(children) | Or(children):
            for child in children:
                yield from _partition_leaves(child, partition_columns)
        case Literal():
            return
        case _ if _concerns(expr, partition_columns):
            yield expr


def _answered(expr: Expr, answers: Mapping[Expr, bool]) -> Expr:
    match expr:
        case And(children):
            return conjunction(_answered(child, answers) for child in children)
        case Or(children):
            return disjunction(_answered(child, answers) for child in children)
        case _ if expr in answers:
            return Literal(answers[expr])
        case _:
            return expr


def _column(leaf: Expr) -> Column:
    """The column of a test of the normal form."""
    match leaf:
        case Not(child):
            return _column(child)
        case Comparison() | In() | IsNull() | IsNotNull() | StartsWith() | Like():
            return leaf.column
    raise AssertionError(leaf)


def _reduced(expr: Expr, partition_columns: set[str]) -> Expr:
    match expr:
        case And(children):
            return conjunction(_reduced(child, partition_columns) for child in children)
        case Or(children):
            return disjunction(_reduced(child, partition_columns) for child in children)
        case Literal():
            return expr
    return expr if _concerns(expr, partition_columns) else TRUE


def _concerns(leaf: Expr, partition_columns: set[str]) -> bool:
    path = _column(leaf).path
    return len(path) == 1 and path[0] in partition_columns


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


def among(values: npt.NDArray[np.int64], ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which of the partition ids `values` are among `ids`."""
    if len(ids) == 1:
        return np.asarray(values == ids[0])
    return np.isin(values, ids)
