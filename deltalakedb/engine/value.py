"""What a column is set to: an expression, another column as it is, or a struct of such.

Spark's `struct` and `named_struct` are understood here, where the column's type says which members
there are; expressions of the engine have values of primitive types alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from deltalakedb.engine.expression import Expression, compile_tree
from deltalakedb.engine.term import INTEGERS, invalid
from deltalakedb.log.schema import DataType, PrimitiveType, StructType, is_string
from deltalakedb.predicate.names import Columns
from deltalakedb.predicate.tree import Column

if TYPE_CHECKING:
    from sqlglot import exp

Path = tuple[str, ...]
_SPARK = "databricks"
_NESTED = ("struct", "array", "map", "variant")


@dataclass(frozen=True)
class Struct:
    """A struct made of values: one for each member, in their order."""

    members: tuple[tuple[str, Value], ...]


Value: TypeAlias = "Expression | Path | Struct"


def compile_value(
    tree: object, sql: str, columns: Columns, *, now: datetime | None, to: DataType | None
) -> Value:
    """What `syntax.parse` made of `sql`, for a column of type `to` (None: of any).

    Errors as `expression.compile_expression`; INVALID_PREDICATE for a struct of other members.
    """
    from sqlglot import exp

    if isinstance(tree, exp.Paren):
        return compile_value(tree.this, sql, columns, now=now, to=to)
    if isinstance(tree, exp.Column | exp.Dot):
        path = tuple(_names(tree))
        if path and columns.has(path) and not _is_cast(columns.find(path), to):
            return columns.find(path).path
    if isinstance(to, StructType) and isinstance(tree, exp.Expression):
        given = _members(tree, sql)
        if given is not None:
            return _struct(given, sql, columns, now, to)
    return compile_tree(tree, sql, columns, now=now, to=to)


def _struct(
    given: list[tuple[str, exp.Expression]],
    sql: str,
    columns: Columns,
    now: datetime | None,
    to: StructType,
) -> Struct:
    by_name = {name.lower(): node for name, node in given}
    wanted = {field.name.lower() for field in to.fields}
    if by_name.keys() != wanted or len(by_name) < len(given):
        raise invalid(
            f"{sql} has the members {', '.join(name for name, _ in given)}, but the struct that it "
            f"is for has {', '.join(field.name for field in to.fields)}; name each once"
        )
    return Struct(
        tuple(
            (
                field.name,
                compile_value(
                    node := by_name[field.name.lower()],
                    node.sql(dialect=_SPARK),
                    columns,
                    now=now,
                    to=field.type,
                ),
            )
            for field in to.fields
        )
    )


def _members(tree: exp.Expression, sql: str) -> list[tuple[str, exp.Expression]] | None:
    """Names and values of what `struct` or `named_struct` makes; None for another expression."""
    from sqlglot import exp

    if not isinstance(tree, exp.Anonymous) or not isinstance(tree.this, str):
        return None
    parts = tree.expressions
    if tree.this.lower() == "named_struct":
        names = parts[::2]
        literal = all(isinstance(name, exp.Literal) and name.is_string for name in names)
        if not literal or len(parts) % 2 or not parts:
            raise invalid(f"{sql}: named_struct takes names in quotes, each with its value")
        return [(str(name.this), value) for name, value in zip(names, parts[1::2], strict=True)]
    if tree.this.lower() != "struct":
        return None
    found: list[tuple[str, exp.Expression]] = []
    for number, part in enumerate(parts, 1):
        if isinstance(part, exp.Alias):
            found.append((part.alias, part.this))
        elif isinstance(part, exp.Column | exp.Dot):
            found.append(([*_names(part)][-1], part))
        else:
            found.append((f"col{number}", part))
    return found


def _names(node: exp.Expression) -> Iterator[str]:
    from sqlglot import exp

    for part in node.parts if isinstance(node, exp.Column | exp.Dot) else ():
        if isinstance(part, exp.Identifier):
            yield part.name


def _is_cast(column: Column, to: DataType | None) -> bool:
    """Whether a column's values are cast for a column of another type.

    Not within whole numbers and floats: what fits is written without asking the engine.
    """
    if not isinstance(to, PrimitiveType):
        return False
    type = "string" if is_string(to.name) else to.name
    if column.type == type or column.type in _NESTED:
        return False
    return not any({column.type, type} <= alike for alike in (set(INTEGERS), {"float", "double"}))
