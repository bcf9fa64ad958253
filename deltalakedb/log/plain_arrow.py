"""Arrow data without the layouts that few kernels know: views, dictionaries, large offsets.

Writers leave their own layouts in a Parquet file's Arrow schema (delta-rs `string_view`, say), and
Arrow restores them on reading, though it can neither filter nor take them.
"""

from __future__ import annotations

import pyarrow as pa


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
    if pa.types.is_dictionary(array.type):
        # Casting a dictionary takes from its values, which must be plain for that.
        values = _plain_array(array.dictionary, kind)
        return pa.DictionaryArray.from_arrays(array.indices, values).dictionary_decode()
    return array if array.type.equals(kind) else array.cast(kind)
