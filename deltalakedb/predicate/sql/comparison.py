"""Comparisons of SQL operands: which side is the column, constants folded, NULL as SQL has it."""

from __future__ import annotations

from typing import Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import decimal_parameters
from deltalakedb.predicate.literal import comparison
from deltalakedb.predicate.names import Columns
from deltalakedb.predicate.sql.operands import Constant, Name, Operand
from deltalakedb.predicate.sql.values import NUMBERS
from deltalakedb.predicate.tree import (
    NULL,
    Column,
    ColumnComparison,
    Expr,
    IsNotNull,
    IsNull,
    Literal,
    Operator,
    conjunction,
    disjunction,
)

_MIRRORED: dict[Operator, Operator] = {
    "=": "=",
    "!=": "!=",
    "<": ">",
    ">": "<",
    "<=": ">=",
    ">=": "<=",
}
_COMPARED = frozenset({"string", "binary", "boolean", "date", "timestamp", "timestamp_ntz"})


def compare(left: Operand, op: Operator, right: Operand, columns: Columns) -> Expr:
    """`left op right`; INVALID_PREDICATE for what can't be compared."""
    left, right = _sides(left, right, columns)
    if isinstance(left, Name):
        column = columns.find(left.path)
        if isinstance(right, Name):
            return _compare_columns(column, op, columns.find(right.path))
        return NULL if right.value is None else comparison(column, op, right.value)
    if isinstance(right, Name):
        return compare(right, _MIRRORED[op], left, columns)
    return _fold(left.value, op, right.value)


def not_distinct(left: Operand, right: Operand, columns: Columns) -> Expr:
    """`left <=> right`: equality for which NULL is a value, so never NULL itself."""
    left, right = _sides(left, right, columns)
    if isinstance(left, Constant):
        left, right = right, left
    if isinstance(left, Constant):
        assert isinstance(right, Constant)
        if left.value is None or right.value is None:
            return Literal(left.value is right.value)
        return _fold(left.value, "=", right.value)
    column = columns.find(left.path)
    if isinstance(right, Constant):
        if right.value is None:
            return IsNull(column)
        return conjunction([IsNotNull(column), comparison(column, "=", right.value)])
    other = columns.find(right.path)
    same = [IsNotNull(column), IsNotNull(other), _compare_columns(column, "=", other)]
    return disjunction([conjunction([IsNull(column), IsNull(other)]), conjunction(same)])


def _sides(left: Operand, right: Operand, columns: Columns) -> tuple[Operand, Operand]:
    """Of two names, one in double quotes may be a value instead: the right one always is."""
    if isinstance(left, Name) and isinstance(right, Name):
        if right.text is not None:
            return left, Constant(right.text)
        if left.text is not None and not columns.has(left.path):
            return Constant(left.text), right
    return left, right


def _compare_columns(left: Column, op: Operator, right: Column) -> Expr:
    if _family(left) is None or _family(left) != _family(right):
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_PREDICATE,
            f"columns {left} of type {left.type} and {right} of type {right.type} can't be "
            "compared; compare columns of like types",
            columns=[str(left), str(right)],
        )
    return ColumnComparison(left, op, right)


def _family(column: Column) -> str | None:
    """What columns of the type can be compared with; None for nothing."""
    if column.type in NUMBERS or decimal_parameters(column.type):
        return "number"
    return column.type if column.type in _COMPARED else None


def _fold(left: Any, op: Operator, right: Any) -> Expr:
    """A comparison of two constants, like 1 = 1."""
    if left is None or right is None:
        return NULL
    if op in (">", ">="):
        left, right = right, left
    try:
        less, same = left < right, left == right
    except TypeError as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_PREDICATE,
            f"the values {left!r} and {right!r} can't be compared; compare a column with a value",
        ) from error
    if op in ("=", "!="):
        return Literal(same == (op == "="))
    return Literal(less or (same and op in ("<=", ">=")))
