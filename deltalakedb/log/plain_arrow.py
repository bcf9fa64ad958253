"""Arrow data without the layouts that few kernels know: views, dictionaries, large offsets.

Writers leave their own layouts in a Parquet file's Arrow schema (delta-rs `string_view`, say), and
Arrow restores them on reading, though it can neither filter nor take them.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type with the same values in Arrow's oldest layout: string, binary, list, map, struct.

    Extension types and lists of a fixed size stay what they are.
    """
    types = pa.types
    if types.is_string_view(kind) or types.is_large_string(kind):
        return pa.string()
    if types.is_binary_view(kind) or types.is_large_binary(kind):
        return pa.binary()
    if types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if types.is_struct(kind):
        return pa.struct([_plain_field(field) for field in kind])
    if types.is_map(kind):
        return pa.map_(_plain_field(kind.key_field), _plain_field(kind.item_field))
    if types.is_list(kind):
        return pa.list_(_plain_field(kind.value_field))
    if types.is_large_list(kind) or types.is_list_view(kind) or types.is_large_list_view(kind):
        return pa.list_(_plain_field(kind.value_field))
    return kind


def _plain_field(field: pa.Field) -> pa.Field:
    return field.with_type(plain_type(field.type))


def plain_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch in plain types. ArrowInvalid for bytes that are no UTF-8 and were said to be."""
    kinds = [plain_type(field.type) for field in batch.schema]
    changed = [not kind.equals(field.type) for kind, field in zip(kinds, batch.schema, strict=True)]
    if not any(changed):
        return batch
    arrays = [
        _plain_array(array, kind) if change else array
        for array, kind, change in zip(batch.columns, kinds, changed, strict=True)
    ]
    fields = [f.with_type(kind) for f, kind in zip(batch.schema, kinds, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, batch.schema.metadata))


def _plain_array(array: pa.Array, kind: pa.DataType) -> pa.Array:
    types = pa.types
    if types.is_dictionary(array.type):
        # Casting a dictionary takes from its values, which must be plain for that.
        values = _plain_array(array.dictionary, kind)
        return pa.DictionaryArray.from_arrays(array.indices, values).dictionary_decode()
    if array.type.equals(kind):
        return array
    if not _holds_list_view(array.type):
        return array.cast(kind)
    mask = array.is_null() if array.null_count else None
    if types.is_struct(kind):
        children = [_plain_array(array.field(i), field.type) for i, field in enumerate(kind)]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=mask)
    offsets, first, count = list_offsets(array)
    if types.is_map(kind):
        keys = _plain_array(array.keys.slice(first, count), kind.key_type)
        items = _plain_array(array.items.slice(first, count), kind.item_type)
        return pa.MapArray.from_arrays(offsets, keys, items, type=kind, mask=mask)
    values = _plain_array(list_values(array).slice(first, count), kind.value_type)
    return pa.ListArray.from_arrays(offsets, values, type=kind, mask=mask)


def _holds_list_view(kind: pa.DataType) -> bool:
    """Whether Arrow's own cast would go wrong: it makes lists of views with too few offsets."""
    inner = (kind.field(i).type for i in range(kind.num_fields))
    return is_list_view(kind) or any(map(_holds_list_view, inner))


def is_list_view(kind: pa.DataType) -> bool:
    """Whether lists of this type have offsets and sizes, in any order."""
    return bool(pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))


def list_offsets(array: pa.Array) -> tuple[pa.Array, int, int]:
    """Offsets from 0 on of lists or maps, and which of `list_values` they mean: first, count."""
    if is_list_view(array.type):
        sizes = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        ends = np.cumsum(sizes)
        offsets = pa.array(np.concatenate([[0], ends]), pa.int32())
        return offsets, 0, int(ends[-1]) if len(ends) else 0
    offsets = array.offsets
    first, last = offsets[0].as_py(), offsets[-1].as_py()
    moved = pc.subtract(offsets, pa.scalar(first, offsets.type))
    return moved.cast(pa.int32()), first, last - first


def list_values(array: pa.Array) -> pa.Array:
    """The elements that `list_offsets` counts."""
    return array.flatten() if is_list_view(array.type) else array.values
