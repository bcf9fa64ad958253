"""Partition predicates, decided on the partition values themselves.

PROTOCOL.md, "Partition Value Serialization". A tuple passes unless its values alone keep the
predicate from being TRUE. What a tuple leaves open is a question for the other columns: of
`p = 1 OR x > 5` nothing for p = 1, and `x > 5` for every other p.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property

import numpy as np
import numpy.typing as npt
import orjson

from deltalakedb.catalog.records import TextTest
from deltalakedb.planning.pruning.normal_form import necessary
from deltalakedb.planning.pruning.values import ColumnValues, Mask
from deltalakedb.predicate.tree import (
    FALSE,
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
_SELECTIVE = 8
"""One of how many values at most passes where tuples are looked up and not asked in turn."""

Places = npt.NDArray[np.intp]


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
    """Partition tuples by columns, with an index from values to tuples; kept for many questions.

    A column is taken apart when it is first asked for; 2 microseconds a tuple, then a question
    costs what it finds.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """`texts` are canonical JSON, `{physical name: text or null}`, as in `dl_partitions`."""
        self._texts = texts
        self._tuples: list[dict[str, str | None]] | None = None
        self._columns: dict[tuple[str, str], _PartitionColumn] = {}

    def filtered(self, condition: Expr) -> Mask:
        """Which tuples pass a `partition_condition`.

        A value that can't be read as its column's type equals no value, and passes every other
        test: the error is the reader's to raise.
        """
        passes = np.zeros(len(self._texts), np.bool_)
        passes[self._passing(condition)] = True
        return passes

    def groups(self, expr: Expr, partition_columns: Collection[str]) -> list[tuple[Expr, Places]]:
        """What the tuples that may pass leave to the other columns: each with its tuples' places.

        They are the predicate without its partition tests, for `key_condition` and
        `statistics_filter`: TRUE where the files of the partition need no further look. There are
        as many as combinations of answers occur, mostly one. Tuples of which no row is selected
        are in none.
        """
        columns = set(partition_columns)
        condition = necessary(expr)
        places = self._passing(_reduced(condition, columns))
        which = np.zeros(len(places), np.intp)
        answers: list[tuple[Expr, Mask]] = []
        for leaf in dict.fromkeys(_partition_leaves(condition, columns)):
            passes = self._pass_at(leaf, places)
            answers.append((leaf, passes))
            # Combinations of answers, numbered anew after each: those that occur are few.
            which = which * 2 + passes
            occurs = np.bincount(which) > 0
            which = (np.cumsum(occurs) - 1)[which]
        found: dict[Expr, list[Places]] = {}
        for number in range(int(which.max()) + 1 if len(which) else 0):
            own = np.flatnonzero(which == number)
            row = {leaf: bool(passes[own[0]]) for leaf, passes in answers}
            found.setdefault(_answered(condition, row), []).append(places[own])
        return [
            (rest, own[0] if len(own) == 1 else np.sort(np.concatenate(own)))
            for rest, own in found.items()
            if rest != FALSE
        ]

    def residuals(
        self, expr: Expr, partition_columns: Collection[str]
    ) -> tuple[list[Expr], Places]:
        """`groups` by tuple: the distinct predicates, FALSE among them, and whose is which."""
        left: list[Expr] = [FALSE]
        which = np.zeros(len(self._texts), np.intp)
        for rest, places in self.groups(expr, partition_columns):
            which[places] = len(left)
            left.append(rest)
        return left, which

    def readable(self, expr: Expr, partition_columns: Collection[str]) -> Mask:
        """Which tuples have values of the columns' types wherever the predicate looks at them.

        Others pass tests that no value passes together: their rows have to be asked.
        """
        found = np.ones(len(self._texts), np.bool_)
        for column in columns_of(expr):
            if len(column.path) == 1 and column.path[0] in partition_columns:
                found &= self._column(column).readable()
        return found

    def _passing(self, condition: Expr) -> Places:
        """The places of the tuples that pass, ascending."""
        columns = columns_of(condition)
        if len(columns) == 1:
            return self._column(*columns).places(condition)
        match condition:
            case And(children):
                places = self._passing(children[0])
                for child in children[1:]:
                    places = places[self._pass_at(child, places)]
                return places
            case Or(children):
                return functools.reduce(np.union1d, map(self._passing, children))
        return np.arange(len(self._texts) if condition == TRUE else 0)

    def _pass_at(self, condition: Expr, places: Places) -> Mask:
        """Which of the tuples at these places pass."""
        columns = columns_of(condition)
        if len(columns) == 1:
            return self._column(*columns).pass_at(condition, places)
        match condition:
            case And(children):
                return np.asarray(
                    np.all([self._pass_at(child, places) for child in children], axis=0)
                )
            case Or(children):
                return np.asarray(
                    np.any([self._pass_at(child, places) for child in children], axis=0)
                )
        return np.full(len(places), condition == TRUE)

    def _column(self, column: Column) -> _PartitionColumn:
        name = column.physical[0]
        found = self._columns.get((name, column.type))
        if found is None:
            if self._tuples is None:
                self._tuples = list(map(orjson.loads, self._texts))
            texts = [t.get(name) for t in self._tuples]
            found = self._columns[name, column.type] = _PartitionColumn(texts, column.type)
        return found


class _PartitionColumn:
    """A column's text in each tuple: distinct values, which tuple has which, and the reverse."""

    def __init__(self, texts: Sequence[str | None], type: str) -> None:
        number = {text: code for code, text in enumerate(dict.fromkeys(texts))}
        self._codes = np.fromiter(map(number.__getitem__, texts), np.intp, len(texts))
        self._values = ColumnValues(list(number), type)
        self._last: tuple[Expr, Mask] | None = None

    def _passing(self, condition: Expr) -> Mask:
        """Of the distinct values."""
        last = self._last
        if last is None or last[0] != condition:
            last = self._last = condition, self._values.passing(condition)
        return last[1]

    def places(self, condition: Expr) -> Places:
        passing = self._passing(condition)
        hits = np.flatnonzero(passing)
        if len(hits) * _SELECTIVE > len(passing):
            return np.flatnonzero(passing[self._codes])
        order, starts = self._tuples_of
        own = [order[starts[hit] : starts[hit + 1]] for hit in hits]
        return np.sort(np.concatenate(own)) if own else np.zeros(0, np.intp)

    def pass_at(self, condition: Expr, places: Places) -> Mask:
        return self._passing(condition)[self._codes[places]]

    def readable(self) -> Mask:
        return self._values.readable[self._codes]

    @cached_property
    def _tuples_of(self) -> tuple[Places, Places]:
        """Places of tuples in the order of their values, and where each value's begin."""
        order = np.argsort(self._codes, kind="stable")
        counts = np.bincount(self._codes)
        return order, np.concatenate([[0], np.cumsum(counts)])


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


def among(values: npt.NDArray[np.int64], ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which of the partition ids `values` are among `ids`."""
    if len(ids) == 1:
        return np.asarray(values == ids[0])
    return np.isin(values, ids)
