"""A predicate as a `pyarrow.compute.Expression`, which filters rows exactly.

By logical names. NULL stays NULL under NOT, AND and OR (Arrow's Kleene logic), and NaN is greater
than every number and equals itself, as in Spark. What came as an Arrow expression goes back as it
came, with Arrow's own rules.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import PrimitiveType, arrow_type
from deltalakedb.predicate.tree import (
    FLOATS,
    TRUE,
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
    Operator,
    Or,
    StartsWith,
    Unknown,
    conjunction,
)

_OPERATORS: dict[Operator, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FEW = 4
_MOST = 2000
"""Arrow walks a chain of conditions by recursion, and ends the process when the stack does."""


def to_arrow_expression(expr: Expr) -> pc.Expression:
    """The expression that is true for exactly the rows that the predicate selects.

    Raises UNSUPPORTED_FEATURE for a test of collated text, and INVALID_PREDICATE for a part that
    was never understood and has no expression of its own.
    """
    match expr:
        case Literal(value):
            return pc.scalar(pa.scalar(value, pa.bool_()))
        case And(children):
            return _join(operator.and_, children, empty=True)
        case Or(children):
            return _join(operator.or_, _equalities_joined(children), empty=False)
        case Not(child):
            return ~to_arrow_expression(child)
        case Unknown(_, source):
            return _source(source)
        case IsNull(column):
            return _field(column).is_null()
        case IsNotNull(column):
            return _field(column).is_valid()
        case ColumnComparison(left, op, right):
            return _columns(_ordered(left), op, _ordered(right), left, right)
        case Comparison(column, op, value):
            return _comparison(column, _ordered(column), op, value)
        case In(column):
            return _membership(expr, _ordered(column))
        case StartsWith(column, prefix):
            return pc.starts_with(_ordered(column), prefix)
        case Like(column, pattern, ignore_case):
            return pc.match_like(_ordered(column), pattern, ignore_case=ignore_case)


class RowCondition(Protocol):
    """A condition that Arrow has no expression for (`engine.expression.Expression`); it pickles."""

    @property
    def sql(self) -> str: ...
    @property
    def columns(self) -> tuple[str, ...]:
        """The top-level columns that it looks at."""

    def filter(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows for which it is TRUE."""


@dataclass(frozen=True, eq=False)
class RowFilter:
    """Which rows are wanted: those that satisfy `arrow`, and then all `conditions`. Picklable.

    `test` is what `arrow` says, as a tree; None where it came as an Arrow expression.
    """

    arrow: pc.Expression | None = None
    conditions: tuple[RowCondition, ...] = ()
    test: Expr | None = None

    def __bool__(self) -> bool:
        return self.arrow is not None or bool(self.conditions)


ALL_ROWS = RowFilter()


def row_filter(expr: Expr | None) -> RowFilter:
    """The filter of a predicate; what only the engine understands comes last.

    So a condition is asked of those rows alone that satisfy the others. Errors as
    `to_arrow_expression`; INVALID_PREDICATE too where such a part is below a NOT or an OR that was
    put around it by hand.
    """
    if expr is None:
        return ALL_ROWS
    parts = expr.children if isinstance(expr, And) else (expr,)
    conditions = tuple(found for part in parts if (found := _condition(part)) is not None)
    rest = conjunction(part for part in parts if _condition(part) is None)
    if rest == TRUE:
        return RowFilter(None, conditions)
    return RowFilter(to_arrow_expression(rest), conditions, rest if _is_told(rest) else None)


def _is_told(expr: Expr) -> bool:
    """Whether no part of it is but an expression of Arrow's."""
    match expr:
        case And(children) | Or(children):
            return all(map(_is_told, children))
        case Not(child):
            return _is_told(child)
        case _:
            return not isinstance(expr, Unknown)


def _condition(expr: Expr) -> RowCondition | None:
    source = expr.source if isinstance(expr, Unknown) else None
    if source is None or isinstance(source, pc.Expression):
        return None
    return cast(RowCondition, source)


def _join(
    join: Callable[[Any, Any], Any], children: tuple[Expr, ...], *, empty: bool
) -> pc.Expression:
    if not children:
        return pc.scalar(empty)
    if len(children) > _MOST:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_PREDICATE,
            f"the predicate joins {len(children):,} conditions by AND or OR, and Arrow can't "
            f"filter rows by more than {_MOST:,}; ask for many values of a column by IN",
        )
    return functools.reduce(join, map(to_arrow_expression, children))


def _equalities_joined(children: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """Of many alternatives those that ask one column for a value as one list of values."""
    if len(children) <= _FEW:
        return children
    values: dict[Column, set[Any]] = {}
    others: list[Expr] = []
    for child in children:
        if isinstance(child, In) and child.values:
            values.setdefault(child.column, set()).update(child.values)
        elif isinstance(child, Comparison) and child.op == "=" and child.value == child.value:
            values.setdefault(child.column, set()).add(child.value)
        else:
            others.append(child)
    return (*others, *(In(column, tuple(sorted(found))) for column, found in values.items()))


def _source(source: object) -> pc.Expression:
    if not isinstance(source, pc.Expression):
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_PREDICATE,
            "a part of the predicate was not understood, so rows can't be filtered by it; "
            "pass the whole predicate as one pyarrow expression or as SQL",
        )
    return source


def _field(column: Column) -> pc.Expression:
    return pc.field(*column.path)


def _ordered(column: Column) -> pc.Expression:
    """The field of a column whose values are compared by their bytes."""
    if column.collated:
        raise DeltaLakeError(
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
            f"column {column} has a collation, by which rows can't be compared here; only "
            "IS [NOT] NULL can be asked of it",
            column=str(column),
        )
    return _field(column)


def _literal(value: object, column: Column) -> pa.Scalar:
    return pa.scalar(value, arrow_type(PrimitiveType(column.type), str(column)))


def _comparison(column: Column, field: pc.Expression, op: Operator, value: Any) -> pc.Expression:
    if isinstance(value, float) and math.isnan(value):
        return pc.is_nan(field)
    found = _OPERATORS[op](field, _literal(value, column))
    # IEEE's NaN passes != already.
    return found | pc.is_nan(field) if column.type in FLOATS and op in (">", ">=") else found


def _membership(test: In, field: pc.Expression) -> pc.Expression:
    column = test.column
    if 0 < len(test.values) <= _FEW:
        equals = [field == _literal(value, column) for value in test.values]
        return functools.reduce(operator.or_, equals)
    never = _never(field, column)
    if not test.values:
        return never
    # is_in tells -0.0 from 0.0, and answers false for null, where SQL has NULL.
    values = [*test.values, -0.0] if column.type in FLOATS and 0.0 in test.values else test.values
    members = pa.array(values, arrow_type(PrimitiveType(column.type), str(column)))
    return field.isin(members) | never


def _never(field: pc.Expression, column: Column) -> pc.Expression:
    """False, or null for a null."""
    if column.type in FLOATS:
        return pc.is_nan(field) & ~pc.is_nan(field)
    return field != field


def _columns(
    left: pc.Expression, op: Operator, right: pc.Expression, first: Column, second: Column
) -> pc.Expression:
    if first.type not in FLOATS and second.type not in FLOATS:
        return _OPERATORS[op](left, right)
    if op in ("!=", ">=", ">"):
        if op == "!=":
            return ~_columns(left, "=", right, first, second)
        return _columns(right, "<=" if op == ">=" else "<", left, second, first)
    left_nan, right_nan = _nan(left, first), _nan(right, second)
    if first.type != second.type:
        # As doubles, as in Spark; Arrow would take floats, and refuse what one rounds.
        left, right = (side.cast(pa.float64(), safe=False) for side in (left, right))
    equal = (left == right) | (left_nan & right_nan)
    less = (left < right) | (right_nan & ~left_nan)
    if op == "=":
        return equal
    return less if op == "<" else less | equal


def _nan(field: pc.Expression, column: Column) -> pc.Expression:
    return pc.is_nan(field) if column.type in FLOATS else _never(field, column)
