"""Nulls where a schema has none, at any level.

PROTOCOL.md, "Schema Serialization Format": `nullable`, `containsNull`, `valueContainsNull`.
"""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.log.schema import ArrayType, DataType, MapType, StructType


class Violation(NamedTuple):
    """The column, and the row in the batch, where a null stands that may not."""

    path: tuple[str, ...]
    row: int


def has_demands(type: DataType) -> bool:
    """Whether anything in a type may not be null (keys of maps apart, which Arrow ensures)."""
    if isinstance(type, StructType):
        return any(not field.nullable or has_demands(field.type) for field in type.fields)
    if isinstance(type, ArrayType):
        return not type.contains_null or has_demands(type.element)
    if isinstance(type, MapType):
        return not type.value_contains_null or has_demands(type.key) or has_demands(type.value)
    return False


def first_violation(rows: pa.RecordBatch, schema: StructType) -> Violation | None:
    """The first null where the schema has none, column by column; None when there is none.

    What lies inside a null is not asked: a null struct may have members that aren't nullable.
    """
    for field, column in zip(schema.fields, rows.columns, strict=True):
        found = _in_column(column, field.type, field.nullable, (field.name,))
        if found is not None:
            return found
    return None


def _in_column(
    array: pa.Array, type: DataType, nullable: bool, path: tuple[str, ...]
) -> Violation | None:
    if not nullable and array.null_count:
        return Violation(path, _first(array.is_null()))
    if not has_demands(type) or not len(array):
        return None
    if isinstance(type, StructType):
        return _in_struct(array, type, path)
    if isinstance(type, ArrayType):
        found = _in_column(array.flatten(), type.element, type.contains_null, (*path, "element"))
        return _of_row(array, found)
    assert isinstance(type, MapType)
    entries = array.view(_as_list(array.type))
    inside = entries.flatten()
    for member, name, kind, may in (
        (0, "key", type.key, False),
        (1, "value", type.value, type.value_contains_null),
    ):
        found = _in_column(inside.field(member), kind, may, (*path, name))
        if found is not None:
            return _of_row(entries, found)
    return None


def _in_struct(array: pa.StructArray, type: StructType, path: tuple[str, ...]) -> Violation | None:
    present = array.is_valid() if array.null_count else None
    for place, field in enumerate(type.fields):
        here = (*path, field.name)
        child = pc.struct_field(array, place)
        if not field.nullable:
            missing = child.is_null()
            if present is not None:
                missing = pc.and_(missing, present)
            if pc.any(missing).as_py():
                return Violation(here, _first(missing))
        found = _in_column(child, field.type, True, here)
        if found is not None:
            return found
    return None


def _of_row(lists: pa.Array, found: Violation | None) -> Violation | None:
    """A violation among the elements as one among the lists."""
    if found is None:
        return None
    parents = pc.list_parent_indices(lists)
    return Violation(found.path, parents[found.row].as_py())


def _as_list(type: pa.MapType) -> pa.ListType:
    entry = pa.struct([pa.field("key", type.key_type, False), pa.field("value", type.item_type)])
    return pa.list_(pa.field("entries", entry, False))


def _first(mask: pa.Array) -> int:
    return int(pc.index(mask, pa.scalar(True)).as_py())
