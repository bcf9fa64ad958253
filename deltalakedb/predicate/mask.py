"""A predicate asked of arrays at once, without an engine: for many small batches.

Arrow's own filter sets up a plan for each batch, which costs more than comparing its values. Only
what needs no more than comparing is done here, as `row_filter.to_arrow_expression` would.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.log.schema import PrimitiveType, arrow_type
from deltalakedb.predicate.tree import (
    FLOATS,
    And,
    Column,
    Comparison,
    Expr,
    In,
    IsNotNull,
    IsNull,
    Not,
    Operator,
    Or,
)

_FUNCTIONS: dict[Operator, Callable[[Any, Any], pa.BooleanArray]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


def is_plain(expr: Expr, schema: pa.Schema) -> bool:
    """Whether `mask` knows the predicate, over columns of these types."""
    match expr:
        case And(children) | Or(children):
            return all(is_plain(child, schema) for child in children)
        case Not(child):
            return is_plain(child, schema)
        case Comparison(column) | In(column):
            return column.type not in FLOATS and not column.collated and _is_known(column, schema)
        case IsNull(column) | IsNotNull(column):
            return len(column.path) == 1 and column.path[0] in schema.names
        case _:
            return False


def mask(expr: Expr, batch: pa.RecordBatch) -> pa.BooleanArray:
    """Of a predicate that `is_plain`: TRUE, FALSE or NULL for each row."""
    match expr:
        case And(children) | Or(children):
            joined = pc.and_kleene if isinstance(expr, And) else pc.or_kleene
            found = [mask(child, batch) for child in children]
            if not found:
                return pa.array([isinstance(expr, And)] * batch.num_rows, pa.bool_())
            return functools.reduce(joined, found)
        case Not(child):
            return pc.invert(mask(child, batch))
        case IsNull(column):
            return pc.is_null(_values(column, batch))
        case IsNotNull(column):
            return pc.is_valid(_values(column, batch))
        case Comparison(column, op, value):
            values = _values(column, batch)
            return _FUNCTIONS[op](values, pa.scalar(value, _type(column)))
        case In(column, members):
            values = _values(column, batch)
            # is_in answers false for null, where SQL has NULL.
            found_in = pc.is_in(values, value_set=pa.array(members, _type(column)))
            return pc.or_kleene(found_in, pc.not_equal(values, values))
        case _:
            raise TypeError(f"{expr!r} is not plain")


def bounds_of(array: pa.Array) -> tuple[Any, Any] | None:
    """The least and the greatest of integers or texts; None for other types, and for nulls only."""
    if not (pa.types.is_integer(array.type) or pa.types.is_string(array.type)):
        return None
    found = pc.min_max(array).as_py()
    return None if found["min"] is None else (found["min"], found["max"])


def may_hold(expr: Expr, bounds: Mapping[str, tuple[Any, Any]]) -> bool:
    """Whether a predicate that `is_plain` may be TRUE for a row of columns with such bounds."""
    match expr:
        case And(children):
            return all(may_hold(child, bounds) for child in children)
        case Or(children):
            return any(may_hold(child, bounds) for child in children)
        case Comparison(column, op, value) if column.path[0] in bounds:
            least, greatest = bounds[column.path[0]]
            match op:
                case "=":
                    return bool(least <= value <= greatest)
                case "<":
                    return bool(least < value)
                case "<=":
                    return bool(least <= value)
                case ">":
                    return bool(greatest > value)
                case ">=":
                    return bool(greatest >= value)
            return True
        case In(column, members) if column.path[0] in bounds:
            least, greatest = bounds[column.path[0]]
            return any(least <= member <= greatest for member in members if member is not None)
        case _:
            return True


def _is_known(column: Column, schema: pa.Schema) -> bool:
    if len(column.path) != 1 or column.path[0] not in schema.names:
        return False
    return bool(schema.field(column.path[0]).type == _type(column))


def _values(column: Column, batch: pa.RecordBatch) -> pa.Array:
    return batch.column(batch.schema.get_field_index(column.path[0]))


def _type(column: Column) -> pa.DataType:
    return arrow_type(PrimitiveType(column.type), str(column))
