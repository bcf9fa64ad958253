"""Filters as tuples, as delta-rs and pyarrow take them: `[("a", "=", 1), ...]` or a list of those.

A flat list is an AND of its tuples, a list of lists an OR of such ANDs. NULL is treated as in SQL:
`!=` and `not in` don't select it. Text is parsed as the column's type, and other values stand for
their text where the column is text, as in delta-rs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from typing import Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.predicate.literal import comparison, membership
from deltalakedb.predicate.names import Columns
from deltalakedb.predicate.tree import (
    Column,
    Expr,
    IsNotNull,
    IsNull,
    Not,
    Operator,
    conjunction,
    disjunction,
)

_OPERATORS: dict[str, Operator] = {
    "=": "=",
    "==": "=",
    "!=": "!=",
    "<>": "!=",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
}


def parse_dnf(
    filters: Sequence[Any], columns: Columns, partition_columns: Collection[str] = ()
) -> Expr:
    """The predicate of tuples `(column, operator, value)`; TRUE for none.

    None as a value asks for NULL (`=`, `!=`, `in`); so does the empty text for the columns named
    in `partition_columns`, where Delta can't tell them apart. Raises INVALID_PREDICATE.
    """
    if _is_filter(filters):
        filters = [filters]
    if all(_is_filter(part) for part in filters):
        return _all_of(filters, columns, partition_columns)
    groups: list[Expr] = []
    for group in filters:
        if not isinstance(group, list | tuple) or not all(_is_filter(part) for part in group):
            raise _malformed(group)
        groups.append(_all_of(group, columns, partition_columns))
    return disjunction(groups)


def _is_filter(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and isinstance(value[0], str)


def _all_of(filters: Iterable[Any], columns: Columns, partition_columns: Collection[str]) -> Expr:
    return conjunction(
        _filter(columns.find_name(name), op, value, partition_columns)
        for name, op, value in filters
    )


def _filter(column: Column, op: object, value: Any, partition_columns: Collection[str]) -> Expr:
    empty_is_null = len(column.path) == 1 and column.path[0] in partition_columns
    word = " ".join(op.lower().split()) if isinstance(op, str) else ""
    if word in ("in", "not in"):
        if isinstance(value, str | bytes) or not isinstance(value, Iterable):
            raise _invalid(f"{op!r} on column {column} needs a list of values, not {value!r}")
        values = [_plain(v, column, empty_is_null) for v in value]
        found = membership(column, [v for v in values if v is not None])
        if None in values:
            found = disjunction([found, IsNull(column)])
        return Not(found) if word == "not in" else found
    operator = _OPERATORS.get(word)
    if operator is None:
        raise _invalid(
            f"the operator {op!r} on column {column} is not known; "
            "use =, !=, <, <=, >, >=, in or not in"
        )
    value = _plain(value, column, empty_is_null)
    if value is not None:
        return comparison(column, operator, value)
    if operator not in ("=", "!="):
        raise _invalid(f"None can't be ordered by {op!r} on column {column}; use = or !=")
    return IsNull(column) if operator == "=" else IsNotNull(column)


def _plain(value: Any, column: Column, empty_is_null: bool) -> Any:
    """A plain Python value: numpy and Arrow scalars unwrapped, text where the column is text."""
    if hasattr(value, "as_py"):
        value = value.as_py()
    elif type(value).__module__ == "numpy":
        # Nanoseconds come out as a number; Delta's times are microseconds.
        value = (value.astype("M8[us]") if value.dtype.kind == "M" else value).item()
    elif type(value).__name__ in ("NaTType", "NAType"):  # pandas's nulls
        return None
    if value == "" and empty_is_null:
        return None
    if column.type != "string" or isinstance(value, str | bytes) or value is None:
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat(" ")
    return value.isoformat() if isinstance(value, date) else str(value)


def _malformed(found: object) -> DeltaLakeError:
    return _invalid(
        f"{found!r} is no filter; write ('column', '=', value), a list of those, or a list of "
        "such lists"
    )


def _invalid(message: str) -> DeltaLakeError:
    return DeltaLakeError(DeltaLakeErrorKind.INVALID_PREDICATE, message)
