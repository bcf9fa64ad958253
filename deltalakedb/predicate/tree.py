"""Predicates as values: what a WHERE clause, DNF tuples or an Arrow expression say about rows.

A predicate is TRUE, FALSE or NULL for a row (SQL's three-valued logic); only TRUE selects it.
Floating point values are ordered as in Spark: NaN equals NaN and is greater than every number.
Literals have been coerced to the type of their column (see `literal`), so nothing here converts:

| Delta type | Python value |
|---|---|
| byte, short, integer, long | int |
| float, double | float (exactly representable in the type; never -0.0) |
| decimal(p,s) | Decimal |
| string, char, varchar | str |
| binary | bytes |
| boolean | bool |
| date | date |
| timestamp | datetime in UTC, aware |
| timestamp_ntz | datetime, naive |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field
from datetime import date, datetime
from decimal import Decimal
from typing import Literal as OneOf

from deltalakedb.record import record

Value = bool | int | float | Decimal | str | bytes | date | datetime
Operator = OneOf["=", "!=", "<", "<=", ">", ">="]

OPPOSITE: dict[Operator, Operator] = {
    "=": "!=",
    "!=": "=",
    "<": ">=",
    ">=": "<",
    ">": "<=",
    "<=": ">",
}
"""`NOT (c op v)` is `c OPPOSITE[op] v`: both are NULL for a NULL."""

FLOATS = frozenset({"float", "double"})


@record(frozen=True, slots=True)
class Column:
    """A column of the table: logical and physical names from the root, and its Delta type.

    `type` is "string" for char and varchar, and "struct", "array" or "map" for nested columns,
    about which only IS [NOT] NULL can be asked. `collated` text isn't ordered by its bytes.
    `was_float` marks a double that was widened from float: its older statistics are shortest texts
    of 32-bit numbers, which aren't the numbers that the files hold.
    """

    path: tuple[str, ...]
    physical: tuple[str, ...]
    type: str
    collated: bool = False
    was_float: bool = False

    def __str__(self) -> str:
        return ".".join(self.path)


@record(frozen=True, slots=True)
class Literal:
    """A constant: TRUE, FALSE or NULL (None)."""

    value: bool | None


@record(frozen=True, slots=True)
class Comparison:
    """`column op value`. NaN is compared by `=` only; `comparison` rewrites the other operators."""

    column: Column
    op: Operator
    value: Value


@record(frozen=True, slots=True)
class In:
    """`column IN (values)`, ascending, distinct, neither NULL nor NaN; FALSE when empty.

    It is NULL for a NULL column, also when empty.
    """

    column: Column
    values: tuple[Value, ...]


@record(frozen=True, slots=True)
class IsNull:
    """`column IS NULL`."""

    column: Column


@record(frozen=True, slots=True)
class IsNotNull:
    """`column IS NOT NULL`."""

    column: Column


@record(frozen=True, slots=True)
class StartsWith:
    """`column LIKE 'prefix%'`."""

    column: Column
    prefix: str


@record(frozen=True, slots=True)
class Like:
    """`column LIKE pattern`: % any text, _ one character; after a backslash they are plain."""

    column: Column
    pattern: str
    ignore_case: bool = False


@record(frozen=True, slots=True)
class ColumnComparison:
    """`left op right` of two columns."""

    left: Column
    op: Operator
    right: Column


@record(frozen=True, slots=True)
class And:
    """TRUE when empty."""

    children: tuple[Expr, ...]


@record(frozen=True, slots=True)
class Or:
    """FALSE when empty."""

    children: tuple[Expr, ...]


@record(frozen=True, slots=True)
class Not:
    """`NOT child`: unknown stays unknown."""

    child: Expr


@record(frozen=True, slots=True)
class Unknown:
    """What isn't fully understood: pruning knows only that it implies `implies`.

    `source`, where there is one, filters rows exactly: a `pyarrow.compute.Expression`, or a
    `row_filter.RowCondition` of what only the engine evaluates.
    """

    implies: Expr = Literal(True)
    source: object | None = field(default=None, compare=False)


Expr = (
    Literal
    | Comparison
    | In
    | IsNull
    | IsNotNull
    | StartsWith
    | Like
    | ColumnComparison
    | And
    | Or
    | Not
    | Unknown
)

TRUE = Literal(True)
FALSE = Literal(False)
NULL = Literal(None)


def conjunction(parts: Iterable[Expr]) -> Expr:
    """AND of the parts, flat, without TRUE; FALSE when a part is FALSE."""
    children: list[Expr] = []
    for part in parts:
        if part == FALSE:
            return FALSE
        if isinstance(part, And):
            children += part.children
        elif part != TRUE:
            children.append(part)
    if not children:
        return TRUE
    return children[0] if len(children) == 1 else And(tuple(children))


def disjunction(parts: Iterable[Expr]) -> Expr:
    """OR of the parts, flat, without FALSE; TRUE when a part is TRUE."""
    children: list[Expr] = []
    for part in parts:
        if part == TRUE:
            return TRUE
        if isinstance(part, Or):
            children += part.children
        elif part != FALSE:
            children.append(part)
    if not children:
        return FALSE
    return children[0] if len(children) == 1 else Or(tuple(children))


def never(column: Column) -> Expr:
    """FALSE, or NULL for a NULL column."""
    return In(column, ())


def unless_null(column: Column) -> Expr:
    """TRUE, or NULL for a NULL column."""
    return Not(In(column, ()))


def is_exact(expr: Expr) -> bool:
    """Whether all of the predicate is understood."""
    match expr:
        case And(children) | Or(children):
            return all(map(is_exact, children))
        case Not(child):
            return is_exact(child)
        case _:
            return not isinstance(expr, Unknown)


def columns_of(expr: Expr) -> frozenset[Column]:
    """The columns that the predicate mentions, also those of what an Unknown implies.

    An Unknown with a source may depend on more columns than these.
    """
    return frozenset(_columns(expr))


def _columns(expr: Expr) -> Iterator[Column]:
    match expr:
        case And(children) | Or(children):
            for child in children:
                yield from _columns(child)
        case Not(child):
            yield from _columns(child)
        case Unknown(implies):
            yield from _columns(implies)
        case ColumnComparison(left, _, right):
            yield left
            yield right
        case Literal():
            return
        case _:
            yield expr.column
