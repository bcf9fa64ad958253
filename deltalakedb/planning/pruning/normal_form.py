"""The part of a predicate that pruning looks at: AND and OR over simple tests, NOT pushed inside.

`necessary` gives a predicate that is TRUE for every row that the original selects. Negation in
three-valued logic: `NOT a < 1` is `a >= 1` (NULL stays NULL), NOT over AND and OR by De Morgan,
which SQL's logic obeys; nothing is ever concluded from a test that merely isn't TRUE.

NaN: Spark holds it greater than every number and equal to itself, IEEE and Arrow hold it
incomparable (so that `NOT x < 1` selects it), and most writers leave it out of minima and maxima.
A file may match under either reading, so every floating point test that one of them answers with
TRUE for NaN becomes `test OR x = NaN`; but beside a test in the same AND that no NaN passes, as in
`x > 1 AND x < 2`, that alternative goes away again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from deltalakedb.predicate.tree import (
    FALSE,
    FLOATS,
    OPPOSITE,
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
    Or,
    StartsWith,
    Unknown,
    conjunction,
    disjunction,
)


def necessary(expr: Expr) -> Expr:
    """A condition that every selected row meets, made of Literal TRUE and FALSE, And, Or,
    Comparison, In, StartsWith, Like, IsNull, IsNotNull and Not of In, StartsWith and Like.

    Comparison with NaN (by = only) stands for "is NaN".
    """
    return _necessary(expr, negated=False)


def is_whole(expr: Expr) -> bool:
    """Whether `necessary` says all that a predicate says, so that no row need be asked.

    Not so for two columns compared, for what isn't understood, for collated text, for letters of
    either case, and where it is NaN or its order that decides, which each engine has of its own.
    """
    return _is_whole(expr, negated=False)


def _is_whole(expr: Expr, *, negated: bool) -> bool:
    match expr:
        case And(children) | Or(children):
            return all(_is_whole(child, negated=negated) for child in children)
        case Not(child):
            return _is_whole(child, negated=not negated)
        case Literal() | IsNull() | IsNotNull():
            return True
        case ColumnComparison() | Unknown() | Like(ignore_case=True):
            return False
        case Comparison(column, op) if negated and column.type in FLOATS and op in (">", ">="):
            return False  # NaN is above every number, and `necessary` lets it pass
        case _:
            return not expr.column.collated and not is_nan_test(expr)


def is_nan_test(expr: Expr) -> bool:
    """Whether an expression compares with NaN."""
    return isinstance(expr, Comparison) and _is_nan(expr.value)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _necessary(expr: Expr, *, negated: bool) -> Expr:
    match expr:
        case Literal(value):
            return TRUE if value is not None and value != negated else FALSE
        case Not(child):
            return _necessary(child, negated=not negated)
        case And(children) | Or(children):
            parts = [_necessary(child, negated=negated) for child in children]
            return _all_of(parts) if isinstance(expr, And) != negated else disjunction(parts)
        case Unknown(implies):
            return TRUE if negated else _necessary(implies, negated=False)
        case ColumnComparison(left, _, right):
            return conjunction([IsNotNull(left), IsNotNull(right)])
        case IsNull(column):
            return IsNotNull(column) if negated else expr
        case IsNotNull(column):
            return IsNull(column) if negated else expr
        case Comparison() | In() | StartsWith() | Like():
            # Collated text has an order of its own: only that it isn't NULL is known.
            return IsNotNull(expr.column) if expr.column.collated else _test(expr, negated)


def _test(expr: Comparison | In | StartsWith | Like, negated: bool) -> Expr:
    column = expr.column
    if isinstance(expr, Comparison):
        if _is_nan(expr.value):
            return IsNotNull(column) if negated else expr
        op = OPPOSITE[expr.op] if negated else expr.op
        found: Expr = Comparison(column, op, expr.value)
        nan_passes = expr.op not in ("=", "<", "<=") or negated
        # x != v is true for NaN, so its negation isn't.
        if expr.op == "!=" and negated:
            nan_passes = False
    elif isinstance(expr, In) and not expr.values:
        return IsNotNull(column) if negated else FALSE
    else:
        found, nan_passes = (Not(expr) if negated else expr), negated
    if column.type in FLOATS and nan_passes:
        return disjunction([found, Comparison(column, "=", math.nan)])
    return found


def _all_of(parts: Iterable[Expr]) -> Expr:
    """AND, where one part's refusal of NaN holds for the others too."""
    found = conjunction(parts)
    if not isinstance(found, And):
        return found
    ordered = {c for child in found.children for c in _without_nan(child)}
    if not ordered:
        return found
    return conjunction(_nan_refused(child, ordered) for child in found.children)


def _without_nan(expr: Expr) -> set[Column]:
    """Floating point columns that aren't NaN in any row that passes."""
    match expr:
        case Comparison(column, _, value) if not _is_nan(value):
            return {column} if column.type in FLOATS else set()
        case In(column):
            return {column} if column.type in FLOATS else set()
        case Or(children):
            return set.intersection(*(_without_nan(child) for child in children))
        case And(children):
            return set.union(*(_without_nan(child) for child in children))
        case _:
            return set()


def _nan_refused(expr: Expr, columns: set[Column]) -> Expr:
    match expr:
        case And(children):
            return conjunction(_nan_refused(child, columns) for child in children)
        case Or(children):
            return disjunction(_nan_refused(child, columns) for child in children)
        case Comparison(column, _, value) if column in columns and _is_nan(value):
            return FALSE
        case _:
            return expr
