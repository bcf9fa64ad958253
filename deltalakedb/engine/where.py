"""WHERE expressions beyond the grammar of `predicate.sql`: split into conjuncts, of which planning
takes those that it understands, and the engine evaluates the others on the rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import StructType
from deltalakedb.predicate.names import Columns
from deltalakedb.predicate.parse import parse_predicate
from deltalakedb.predicate.tree import TRUE, Expr, Unknown, conjunction, disjunction

if TYPE_CHECKING:
    from sqlglot import exp

_SPARK = "databricks"


def parse_where(
    predicate: object,
    schema: StructType,
    *,
    mapped: bool = True,
    partition_columns: Collection[str] = (),
    now: datetime | None = None,
) -> Expr:
    """As `predicate.parse.parse_predicate`, and SQL may hold whatever the engine evaluates.

    A conjunct that is left to it is an `Unknown` whose source is an `engine.expression.Expression`
    and which implies what planning understands of it. UNSUPPORTED_FEATURE names what neither does.
    `now` (aware): what current_timestamp() and current_date() say; without it they are refused.
    """
    try:
        return parse_predicate(
            predicate, schema, mapped=mapped, partition_columns=partition_columns
        )
    except DeltaLakeError as error:
        if not isinstance(predicate, str) or error.kind is not DeltaLakeErrorKind.INVALID_PREDICATE:
            raise
        import re

        where = re.compile(r"\s*where\b", re.IGNORECASE)
        return _parse(where.sub("", predicate, count=1), Columns(schema, mapped), now, error)


def _parse(sql: str, columns: Columns, now: datetime | None, error: DeltaLakeError) -> Expr:
    from deltalakedb.engine.syntax import parse

    try:
        tree = parse(sql)
    except DeltaLakeError as other:
        # The own grammar's messages show the place.
        raise (other if other.kind is DeltaLakeErrorKind.UNSUPPORTED_FEATURE else error) from None
    if now is not None:
        from deltalakedb.engine.moment import at_moment

        tree = at_moment(tree, now, columns)
    return conjunction([_conjunct(node, columns, error) for node in conjuncts(tree)])


def conjuncts(node: exp.Expression) -> Iterator[exp.Expression]:
    """What a condition joins by AND, parentheses around that taken away."""
    from sqlglot import exp

    if isinstance(node, exp.Paren) and isinstance(node.this, exp.And | exp.Paren):
        yield from conjuncts(node.this)
    elif isinstance(node, exp.And):
        yield from conjuncts(node.this)
        yield from conjuncts(node.expression)
    else:
        yield node


def _conjunct(node: exp.Expression, columns: Columns, error: DeltaLakeError) -> Expr:
    from deltalakedb.engine.expression import compile_tree

    understood = _understood(node, columns)
    if understood is not None:
        return understood
    try:
        condition = compile_tree(node, node.sql(dialect=_SPARK), columns)
    except DeltaLakeError as other:
        mistaken = other.kind is DeltaLakeErrorKind.INVALID_PREDICATE
        raise (error if mistaken and not _is_beyond(node) else other) from None
    if condition.type_name not in ("boolean", "void"):
        raise error from None
    return Unknown(_implied(node, columns), condition)


def _understood(node: exp.Expression, columns: Columns) -> Expr | None:
    """The condition in the own grammar's terms; None where it has none, or might mean another."""
    from deltalakedb.engine.syntax import parse
    from deltalakedb.predicate.sql.grammar import parse_sql

    text = node.sql(dialect=_SPARK)
    try:
        return parse_sql(text, columns) if parse(text) == node else None
    except DeltaLakeError:
        return None


def _implied(node: exp.Expression, columns: Columns) -> Expr:
    """What holds of every row for which the node is TRUE, as far as planning understands it."""
    from sqlglot import exp

    if isinstance(node, exp.Paren):
        return _implied(node.this, columns)
    if isinstance(node, exp.And | exp.Or):
        sides = [_implied(node.this, columns), _implied(node.expression, columns)]
        return conjunction(sides) if isinstance(node, exp.And) else disjunction(sides)
    understood = _understood(node, columns)
    return TRUE if understood is None else understood


def _is_beyond(node: exp.Expression) -> bool:
    """Whether it holds what the own grammar doesn't know, so that its message would mislead."""
    from sqlglot import exp

    binary = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.DPipe)
    return node.find(exp.Anonymous, exp.Case, exp.Cast, *binary) is not None
