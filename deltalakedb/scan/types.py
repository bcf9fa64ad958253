"""From a table's schema to the Arrow types that reading gives, and to the names in its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
import pyarrow as pa

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.partition import partition_scalar
from deltalakedb.log.protocol import Protocol
from deltalakedb.log.schema import (
    TYPE_CHANGES,
    UNLISTED,
    ArrayType,
    DataType,
    MapType,
    PrimitiveType,
    StructField,
    StructType,
    arrow_schema,
    column_mapping_mode,
    decimal_parameters,
    is_string,
    parse_schema,
)

MappingMode = Literal["none", "name", "id"]
"""How columns of the schema are found in data files (PROTOCOL.md, Column Mapping)."""

PartitionValues = Mapping[str, "pa.Scalar | DeltaLakeError"]
"""A file's partition values by logical column name; an error where the log has no such value."""

Kind = Literal["primitive", "struct", "list", "map", "variant"]

_WHOLE = ("byte", "short", "integer", "long")
# PROTOCOL.md asks for 10 or 20 digits; Spark allows any decimal that holds the values.
_WHOLE_DIGITS = {"byte": 3, "short": 5, "integer": 10, "long": 19}


@dataclass(frozen=True)
class ReadField:
    """A column, a struct's field, a list's element, or a map's key or value."""

    name: str
    """As the schema shows it and results name it."""
    physical_name: str
    """As the table's files and partition values name it."""
    field_id: int | None
    """The `field_id` in Parquet; only looked at in mapping mode `id`, where what has none is found
    by its name."""
    kind: Kind
    arrow_field: pa.Field
    """Under the logical name."""
    children: tuple[ReadField, ...] = ()
    """Of a struct its fields; of a list its element; of a map its key and its value."""
    refusal: DeltaLakeError | None = None
    """Why its rows can't be read, which other columns don't care about; its Arrow type is null."""

    @property
    def arrow(self) -> pa.DataType:
        return self.arrow_field.type


@dataclass(frozen=True)
class ReadSchema:
    """The columns of a table in order, and how they are found in its files."""

    fields: tuple[ReadField, ...]
    mode: MappingMode
    partitions: Mapping[str, str]
    """Physical name -> Delta type name, for each partition column."""
    arrow: pa.Schema
    has_type_changes: bool

    def field(self, name: str) -> ReadField:
        """INVALID_ARGUMENT for a name that is no column."""
        index: int = self.arrow.get_field_index(name)
        if index < 0:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"there is no column {name!r}; the table has {', '.join(self.arrow.names)}",
                column=name,
            )
        return self.fields[index]

    def readable(self, names: Sequence[str] | None = None) -> tuple[ReadField, ...]:
        """The fields of those names (None for all), or the error of one that can't be read."""
        fields = self.fields if names is None else tuple(self.field(name) for name in names)
        for field in fields:
            if field.refusal is not None:
                raise field.refusal
        return fields

    def is_partition(self, field: ReadField) -> bool:
        return field.physical_name in self.partitions


def mapping_mode(configuration: Mapping[str, str], protocol: Protocol) -> MappingMode:
    """The mapping mode in force: the table property counts only where the protocol supports it.

    PROTOCOL.md, Reader Requirements for Column Mapping: reader version 2, or 3 with the
    feature `columnMapping`.
    """
    mode = column_mapping_mode(configuration)
    if mode == "none" or not protocol.supports_reader_feature("columnMapping"):
        return "none"
    return "id" if mode == "id" else "name"


def read_schema(
    schema_string: str, partition_columns: Sequence[str], mode: MappingMode
) -> ReadSchema:
    """How to read a table with this `schemaString` (PROTOCOL.md, Schema Serialization Format).

    INVALID_LOG when it is no struct, or when a partition column is missing. A column without its
    id, or of a type or a change of type that reading does not know, bears its error.
    """
    struct = parse_schema(schema_string)
    fields = tuple(_column(member, mode) for member in struct.fields)
    arrow = pa.schema([field.arrow_field for field in fields])
    partitions: dict[str, str] = {}
    for name in partition_columns:
        index = arrow.get_field_index(name)
        kind = struct.fields[index].type if index >= 0 else None
        if not isinstance(kind, PrimitiveType):
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_LOG,
                f"partition column {name!r} is not a primitive column of the table's schema",
                column=name,
            )
        partitions[fields[index].physical_name] = kind.name
    return ReadSchema(fields, mode, partitions, arrow, f'"{TYPE_CHANGES}"' in schema_string)


def _column(member: StructField, mode: MappingMode) -> ReadField:
    try:
        [arrow_field] = arrow_schema(StructType((member,)))
        return _struct_field(member, arrow_field, mode, ())
    except DeltaLakeError as error:
        physical = member.name if mode == "none" else member.physical_name
        nothing = pa.field(member.name, pa.null())
        return ReadField(
            member.name, physical, member.column_id, "primitive", nothing, refusal=error
        )


def _struct_field(
    member: StructField, arrow_field: pa.Field, mode: MappingMode, path: tuple[str, ...]
) -> ReadField:
    here = (*path, member.name)
    if mode == "id" and member.column_id is None and UNLISTED not in member.metadata:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_LOG,
            f"column {'.'.join(here)!r} has no delta.columnMapping.id although the table maps "
            "columns by id",
            column=".".join(here),
        )
    _check_type_changes(member.metadata.get(TYPE_CHANGES), here)
    kind, children = _inside(member.type, arrow_field.type, mode, here)
    physical = member.name if mode == "none" else member.physical_name
    return ReadField(member.name, physical, member.column_id, kind, arrow_field, children)


def _inside(
    delta_type: DataType, arrow: pa.DataType, mode: MappingMode, path: tuple[str, ...]
) -> tuple[Kind, tuple[ReadField, ...]]:
    if isinstance(delta_type, StructType):
        return "struct", tuple(
            _struct_field(member, arrow.field(index), mode, path)
            for index, member in enumerate(delta_type.fields)
        )
    if isinstance(delta_type, ArrayType):
        return "list", (_unnamed("element", delta_type.element, arrow.value_field, mode, path),)
    if isinstance(delta_type, MapType):
        return "map", (
            _unnamed("key", delta_type.key, arrow.key_field, mode, path),
            _unnamed("value", delta_type.value, arrow.item_field, mode, path),
        )
    return ("variant" if delta_type.name == "variant" else "primitive"), ()


def _unnamed(
    role: str, delta_type: DataType, arrow_field: pa.Field, mode: MappingMode, path: tuple[str, ...]
) -> ReadField:
    """A list's element or a map's key or value: found by its place, not by name or id."""
    kind, children = _inside(delta_type, arrow_field.type, mode, (*path, role))
    return ReadField(role, role, None, kind, arrow_field, children)


def _check_type_changes(changes: Any, path: tuple[str, ...]) -> None:
    """PROTOCOL.md, Reader Requirements for Type Widening: fail on a change not supported."""
    for change in changes if isinstance(changes, list) else ():
        known = isinstance(change, Mapping)
        before, after = (change.get(k) if known else None for k in ("fromType", "toType"))
        if not (isinstance(before, str) and isinstance(after, str) and _widens(before, after)):
            raise DeltaLakeError(
                DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
                f"typeWidening: column {'.'.join(path)!r} was changed from {before!r} to "
                f"{after!r}, which is not supported",
                column=".".join(path),
            )


def _widens(before: str, after: str) -> bool:
    if before == after or before == "void":
        return True
    if before in _WHOLE and after in _WHOLE:
        return _WHOLE.index(before) < _WHOLE.index(after)
    if after == "double":
        return before in ("float", "byte", "short", "integer")
    if before == "date":
        return after == "timestamp_ntz"
    target = decimal_parameters(after)
    if target is not None:
        precision, scale = target
        if before in _WHOLE_DIGITS:
            return scale >= 0 and precision - scale >= _WHOLE_DIGITS[before]
        source = decimal_parameters(before)
        return source is not None and precision - source[0] >= scale - source[1] >= 0
    # A change of collation alters how strings compare, not how they are stored.
    return is_string(before) and is_string(after)


def partition_scalars(text: str, schema: ReadSchema) -> PartitionValues:
    """Logical column name -> typed value, of a file's `partition_values` (JSON text).

    A partition column without a value is null; one whose text is no value has its error.
    """
    values: dict[str, str | None] = orjson.loads(text)
    scalars: dict[str, pa.Scalar | DeltaLakeError] = {}
    for field in schema.fields:
        type_name = schema.partitions.get(field.physical_name)
        if type_name is None:
            continue
        if field.refusal is not None:
            scalars[field.name] = field.refusal
            continue
        try:
            value = values.get(field.physical_name)
            scalars[field.name] = partition_scalar(value, type_name, field.arrow)
        except DeltaLakeError as error:
            facts: dict[str, Any] = {"column": field.name, **error.facts}
            message = f"column {field.name}: {error.message}"
            scalars[field.name] = DeltaLakeError(error.kind, message, **facts)
    return scalars
