"""From Arrow to a table's schema, and from a schema to its text.

PROTOCOL.md, "Schema Serialization Format". The other way round is `log.schema`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pyarrow as pa

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import (
    COLUMN_ID,
    PHYSICAL_NAME,
    ArrayType,
    DataType,
    MapType,
    PrimitiveType,
    StructField,
    StructType,
)

_PRIMITIVES: Mapping[pa.DataType, str] = {
    pa.bool_(): "boolean",
    pa.int8(): "byte",
    pa.int16(): "short",
    pa.int32(): "integer",
    pa.int64(): "long",
    pa.uint8(): "short",
    pa.uint16(): "integer",
    pa.uint32(): "long",
    pa.uint64(): "long",
    pa.float16(): "float",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "string",
    pa.large_string(): "string",
    pa.string_view(): "string",
    pa.binary(): "binary",
    pa.large_binary(): "binary",
    pa.binary_view(): "binary",
    pa.date32(): "date",
    pa.date64(): "date",
}
"""Unsigned integers become the next wider type; the widest one's values are checked."""

_DROPPED_METADATA = ("PARQUET:", "ARROW:", "_PL_")
"""What Parquet, Arrow and Polars note of their own encodings."""


def schema_string(schema: StructType) -> str:
    """The text of `metaData.schemaString`; metadata of fields as it is."""
    return orjson.dumps(_node(schema)).decode()


def _node(type: DataType) -> Any:
    if isinstance(type, StructType):
        return {"type": "struct", "fields": [_field_node(f) for f in type.fields]}
    if isinstance(type, ArrayType):
        return {
            "type": "array",
            "elementType": _node(type.element),
            "containsNull": type.contains_null,
        }
    if isinstance(type, MapType):
        return {
            "type": "map",
            "keyType": _node(type.key),
            "valueType": _node(type.value),
            "valueContainsNull": type.value_contains_null,
        }
    return type.name


def _field_node(field: StructField) -> Any:
    return {
        "name": field.name,
        "type": _node(field.type),
        "nullable": field.nullable,
        "metadata": dict(field.metadata),
    }


def struct_of_arrow(schema: pa.Schema) -> StructType:
    """The columns of Arrow data, as a new table has them.

    Metadata of Arrow fields becomes that of columns, but for what encodings and column mapping put
    there. Raises SCHEMA_MISMATCH naming column and type where Delta has no such type.
    """
    return StructType(tuple(_field(child, ()) for child in schema))


def _field(child: pa.Field, path: tuple[str, ...]) -> StructField:
    here = (*path, child.name)
    return StructField(
        child.name, delta_type(child.type, here), child.nullable, _metadata(child.metadata)
    )


def _metadata(found: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    texts = {k.decode(): v.decode("utf-8", "replace") for k, v in (found or {}).items()}
    return {
        key: value
        for key, value in texts.items()
        if not key.startswith(_DROPPED_METADATA) and key not in (COLUMN_ID, PHYSICAL_NAME)
    }


def delta_type(type: pa.DataType, path: tuple[str, ...] = ()) -> DataType:
    """The Delta type that holds the values of an Arrow type; `path` names the column in errors.

    Raises SCHEMA_MISMATCH for durations, times of day, intervals, unions, decimals beyond 38
    digits, and columns of nulls alone, whose type nobody knows.
    """
    name = _PRIMITIVES.get(type)
    if name is not None:
        return PrimitiveType(name)
    if pa.types.is_timestamp(type):
        return PrimitiveType("timestamp_ntz" if type.tz is None else "timestamp")
    if pa.types.is_decimal(type) and type.precision <= 38 and 0 <= type.scale <= type.precision:
        return PrimitiveType(f"decimal({type.precision},{type.scale})")
    if pa.types.is_fixed_size_binary(type):
        return PrimitiveType("binary")
    if is_variant_type(type):
        return PrimitiveType("variant")
    if pa.types.is_struct(type):
        return StructType(tuple(_field(child, path) for child in type))
    if is_list_type(type):
        element = delta_type(type.value_type, (*path, "element"))
        return ArrayType(element, type.value_field.nullable)
    if pa.types.is_map(type):
        return MapType(
            delta_type(type.key_type, (*path, "key")),
            delta_type(type.item_type, (*path, "value")),
            type.item_field.nullable,
        )
    if pa.types.is_dictionary(type) or pa.types.is_run_end_encoded(type):
        return delta_type(type.value_type, path)
    if isinstance(type, pa.BaseExtensionType):
        return delta_type(type.storage_type, path)
    column = ".".join(path) or "?"
    advice = (
        "its values are all null, so its type is unknown; cast it to a type"
        if pa.types.is_null(type)
        else "Delta has no such type; cast it, to a number or text for example"
    )
    raise DeltaLakeError(
        DeltaLakeErrorKind.SCHEMA_MISMATCH,
        f"column {column} has the Arrow type {type}: {advice}",
        column=column,
        type=str(type),
    )


def is_list_type(type: pa.DataType) -> bool:
    """Whether it is one of Arrow's kinds of list."""
    return bool(
        pa.types.is_list(type)
        or pa.types.is_large_list(type)
        or pa.types.is_fixed_size_list(type)
        or pa.types.is_list_view(type)
        or pa.types.is_large_list_view(type)
    )


def is_variant_type(type: pa.DataType) -> bool:
    """Whether it is Arrow's extension type of variants."""
    return isinstance(type, pa.BaseExtensionType) and getattr(type, "extension_name", "") in (
        "arrow.parquet.variant",
        "parquet.variant",
    )
