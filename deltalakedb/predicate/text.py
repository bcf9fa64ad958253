"""A predicate written as SQL, for people: what planning made of theirs."""

from __future__ import annotations

from deltalakedb.predicate.tree import (
    TRUE,
    And,
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
    is_exact,
)

_MOST = 20
"""Values of a list, and conditions joined, that are written out."""


def understood(expr: Expr) -> str:
    """The part that prunes; empty where none does."""
    text = _text(expr)
    return "" if text == _text(TRUE) else text


def sql(expr: Expr) -> str:
    """All of it, as it was written where it wasn't understood."""
    if isinstance(expr, And):
        return " AND ".join(map(_source, expr.children))
    return _source(expr)


def left_to_rows(expr: Expr) -> tuple[str, ...]:
    """The conjuncts of which planning doesn't understand all."""
    parts = expr.children if isinstance(expr, And) else (expr,)
    return tuple(_source(part) for part in parts if not is_exact(part))


def _source(expr: Expr) -> str:
    if isinstance(expr, Unknown) and expr.source is not None:
        return str(getattr(expr.source, "sql", expr.source))
    return _text(expr)


def _text(expr: Expr) -> str:
    match expr:
        case Literal(value):
            return "NULL" if value is None else str(value).upper()
        case Comparison(column, op, value):
            return f"{column} {op} {_value(value)}"
        case In(column, values):
            shown = ", ".join(map(_value, values[:_MOST]))
            return f"{column} IN ({shown}{_more(len(values))})"
        case IsNull(column):
            return f"{column} IS NULL"
        case IsNotNull(column):
            return f"{column} IS NOT NULL"
        case StartsWith(column, prefix):
            return f"{column} LIKE {_value(prefix + '%')}"
        case Like(column, pattern, ignore_case):
            return f"{column} {'ILIKE' if ignore_case else 'LIKE'} {_value(pattern)}"
        case ColumnComparison(left, op, right):
            return f"{left} {op} {right}"
        case Not(child):
            return f"NOT ({_text(child)})"
        case Unknown(implies):
            return _text(implies)
        case And(children):
            parts = [part for part in map(_text, children[:_MOST]) if part != _text(TRUE)]
            return _joined(" AND ", parts, len(children)) if parts else _text(TRUE)
        case Or(children):
            return _joined(" OR ", [_text(child) for child in children[:_MOST]], len(children))


def _joined(word: str, parts: list[str], count: int) -> str:
    if len(parts) == 1 and count <= _MOST:
        return parts[0]
    # AND binds closer than OR, and nothing else joins.
    wrapped = [f"({part})" if " OR " in part or " AND " in part else part for part in parts]
    return word.join(wrapped) + _more(count)


def _more(count: int) -> str:
    return f", and {count - _MOST:,} more" if count > _MOST else ""


def _value(value: object) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "\\'") + "'"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if hasattr(value, "isoformat"):
        return f"'{value.isoformat(' ') if hasattr(value, 'hour') else value.isoformat()}'"
    return str(value)
