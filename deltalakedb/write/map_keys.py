"""Keys that stand twice in a map, at any level: Spark makes no such map, and others pick one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.log.schema import ArrayType, DataType, MapType, StructType
from deltalakedb.write.nulls import Violation


def has_maps(type: DataType) -> bool:
    """Whether there is a map anywhere in a type."""
    if isinstance(type, StructType):
        return any(has_maps(field.type) for field in type.fields)
    return isinstance(type, MapType) or (isinstance(type, ArrayType) and has_maps(type.element))


def first_repeated(rows: pa.RecordBatch, schema: StructType) -> Violation | None:
    """The first map that has a key twice, column by column; None when there is none."""
    for field, column in zip(schema.fields, rows.columns, strict=True):
        found = _in_column(column, field.type, (field.name,))
        if found is not None:
            return found
    return None


def _in_column(array: pa.Array, type: DataType, path: tuple[str, ...]) -> Violation | None:
    if not has_maps(type) or not len(array):
        return None
    if isinstance(type, StructType):
        for place, field in enumerate(type.fields):
            found = _in_column(pc.struct_field(array, place), field.type, (*path, field.name))
            if found is not None:
                return found
        return None
    if isinstance(type, ArrayType):
        found = _in_column(array.flatten(), type.element, (*path, "element"))
        return found and Violation(found.path, pc.list_parent_indices(array)[found.row].as_py())
    assert isinstance(type, MapType)
    return _in_maps(array, type, path)


def _in_maps(array: pa.MapArray, type: MapType, path: tuple[str, ...]) -> Violation | None:
    kind = array.type
    entry = pa.struct([pa.field("key", kind.key_type, False), pa.field("value", kind.item_type)])
    lists = array.view(pa.list_(pa.field("entries", entry, False)))
    entries, parents = lists.flatten(), pc.list_parent_indices(lists)
    keys = entries.field(0)
    if (pc.max(pc.list_value_length(lists)).as_py() or 0) > 1:
        row = _first_pair(parents, keys)
        if row is not None:
            return Violation(path, row)
    for member, name, inner in ((0, "key", type.key), (1, "value", type.value)):
        found = _in_column(entries.field(member), inner, (*path, name))
        if found is not None:
            return Violation(found.path, parents[found.row].as_py())
    return None


def _first_pair(parents: pa.Array, keys: pa.Array) -> int | None:
    """The first parent that has a key twice."""
    if pa.types.is_nested(keys.type):
        keys = pa.array([repr(key) for key in keys.to_pylist()], pa.string())
    numbers = keys.dictionary_encode("encode").indices.to_numpy().astype(np.int64)
    owners = parents.to_numpy().astype(np.int64)
    order = np.lexsort((numbers, owners))
    same = (owners[order][1:] == owners[order][:-1]) & (numbers[order][1:] == numbers[order][:-1])
    return int(owners[order][1:][same][0]) if same.any() else None
