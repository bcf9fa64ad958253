"""The schema of a table: parsed schemaString, physical names, leaves, and the Arrow schema.

PROTOCOL.md, "Schema Serialization Format" and "Column Mapping". Metadata that we don't know is
kept, and types that we don't know are kept by name: they are refused only when rows are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

import orjson

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.record import record

if TYPE_CHECKING:
    import pyarrow as pa

PHYSICAL_NAME = "delta.columnMapping.physicalName"
COLUMN_ID = "delta.columnMapping.id"
UNLISTED = "deltalakedb.unlisted"
"""Marks a column that files have beside the table's: found by name, however others are mapped."""
MAPPING_MODE = "delta.columnMapping.mode"
COLLATIONS = "__COLLATIONS"
TYPE_CHANGES = "delta.typeChanges"
INVARIANTS = "delta.invariants"
GENERATION = "delta.generationExpression"
CURRENT_DEFAULT = "CURRENT_DEFAULT"
IDENTITY_PREFIX = "delta.identity."

_DECIMAL = re.compile(r"decimal(?:\(\s*(\d+)\s*(?:,\s*(-?\d+)\s*)?\))?")
_STRING = re.compile(r"string(?: collate \S+)?|(?:char|varchar)\(\d+\)")
_BINARY_COLLATION = re.compile(r"(?:[^.]*\.)?UTF8_BINARY(?:\..*)?")


@record(frozen=True, slots=True)
class PrimitiveType:
    """A type that is only a name: "long", "decimal(10,2)", "string collate X", "variant" …"""

    name: str


@record(frozen=True, slots=True)
class ArrayType:
    """An array (PROTOCOL.md, "Array Type")."""

    element: DataType
    contains_null: bool


@record(frozen=True, slots=True)
class MapType:
    """A map (PROTOCOL.md, "Map Type")."""

    key: DataType
    value: DataType
    value_contains_null: bool


@record(frozen=True, slots=True)
class StructField:
    """A column, top-level or nested. `metadata` is as written in the log."""

    name: str
    type: DataType
    nullable: bool
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def physical_name(self) -> str:
        """The column's name in data files, statistics and partition values under column mapping."""
        name = self.metadata.get(PHYSICAL_NAME)
        return name if isinstance(name, str) else self.name

    @property
    def column_id(self) -> int | None:
        """The Parquet field id under column mapping."""
        value = self.metadata.get(COLUMN_ID)
        return value if isinstance(value, int) else None

    @property
    def collated(self) -> bool:
        """Whether the text of this column is compared by other rules than its bytes."""
        if isinstance(self.type, PrimitiveType) and " collate " in self.type.name:
            return not _BINARY_COLLATION.fullmatch(self.type.name.split(" collate ", 1)[1])
        rules = self.metadata.get(COLLATIONS)
        if not isinstance(rules, Mapping):
            return False
        return not all(_BINARY_COLLATION.fullmatch(str(rule)) for rule in rules.values())

    @property
    def was_float(self) -> bool:
        """Whether it is a double that was widened from float (PROTOCOL.md, Type Widening)."""
        changes = self.metadata.get(TYPE_CHANGES)
        return isinstance(changes, list) and any(
            isinstance(change, Mapping)
            and change.get("fromType") == "float"
            and "fieldPath" not in change
            for change in changes
        )


@record(frozen=True, slots=True)
class StructType:
    """Named fields, in order (PROTOCOL.md, "Struct Type")."""

    fields: tuple[StructField, ...]

    def field(self, name: str) -> StructField | None:
        """The field of that logical name, exact first, then ignoring case; None when missing."""
        folded = name.lower()
        return next(
            (f for f in self.fields if f.name == name),
            next((f for f in self.fields if f.name.lower() == folded), None),
        )


DataType = PrimitiveType | ArrayType | MapType | StructType


@record(frozen=True, slots=True)
class Leaf:
    """A primitive, array or map column reached from the root through structs alone."""

    path: tuple[str, ...]
    physical: tuple[str, ...]
    type: DataType
    field: StructField


def parse_schema(schema_string: str) -> StructType:
    """Parse `metaData.schemaString`; an empty text is an empty schema (Spark writes it so).

    Raises INVALID_LOG when it is no JSON struct of fields.
    """
    if not schema_string.strip():
        return StructType(())
    try:
        found = _parse_type(orjson.loads(schema_string))
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise _invalid(str(error)) from error
    if not isinstance(found, StructType):
        raise _invalid("it is no struct")
    return found


def _parse_type(node: Any) -> DataType:
    if isinstance(node, str):
        return PrimitiveType(node)
    kind = node["type"]
    if kind == "struct":
        return StructType(tuple(_parse_field(f) for f in node["fields"]))
    if kind == "array":
        return ArrayType(_parse_type(node["elementType"]), node.get("containsNull", True))
    if kind == "map":
        return MapType(
            _parse_type(node["keyType"]),
            _parse_type(node["valueType"]),
            node.get("valueContainsNull", True),
        )
    # A type written as an object ({"type": "variant"}, {"type": "udt"}) is known by its name.
    if not isinstance(kind, str):
        raise TypeError(f"type {kind!r} is neither a name nor a known structure")
    return PrimitiveType(kind)


def _parse_field(node: Any) -> StructField:
    name = node["name"]
    if not isinstance(name, str):
        raise TypeError(f"column name {name!r} is no text")
    metadata = node.get("metadata") or {}
    return StructField(name, _parse_type(node["type"]), node.get("nullable", True), metadata)


def _invalid(why: str) -> DeltaLakeError:
    return DeltaLakeError(
        DeltaLakeErrorKind.INVALID_LOG,
        f"the table's schemaString can't be parsed: {why}; restore the commit with the newest "
        "metaData action from a backup",
    )


def column_mapping_mode(configuration: Mapping[str, str | None]) -> str:
    """ "none", "id" or "name", as the table property says; unknown modes count as "name".

    The property counts only when the protocol has the columnMapping feature.
    """
    mode = (configuration.get(MAPPING_MODE) or "none").lower()
    return mode if mode in ("none", "id") else "name"


def iter_leaves(schema: StructType, *, mapped: bool = True) -> Iterator[Leaf]:
    """Leaves depth first in schema order; arrays and maps are leaves, their insides aren't.

    Physical paths are those of column mapping when `mapped`, else the logical ones.
    """
    yield from _leaves(schema, (), (), mapped)


def _leaves(
    struct: StructType, path: tuple[str, ...], physical: tuple[str, ...], mapped: bool
) -> Iterator[Leaf]:
    for child in struct.fields:
        here = (*path, child.name)
        there = (*physical, child.physical_name if mapped else child.name)
        if isinstance(child.type, StructType):
            yield from _leaves(child.type, here, there, mapped)
        else:
            yield Leaf(here, there, child.type, child)


def decimal_parameters(name: str) -> tuple[int, int] | None:
    """(precision, scale) of a decimal type name, Spark's default 10, 0; None for other types."""
    found = _DECIMAL.fullmatch(name)
    if not found:
        return None
    return int(found[1] or 10), int(found[2] or 0)


def is_string(name: str) -> bool:
    """Whether values of the primitive type are text: string, char(n), varchar(n), collated."""
    return _STRING.fullmatch(name) is not None


def arrow_schema(schema: StructType) -> pa.Schema:
    """The Arrow schema of rows, by logical names.

    Raises UNSUPPORTED_FEATURE naming column and type for a type that Arrow rows can't have.
    """
    import pyarrow as pa

    return pa.schema([_arrow_field(f, (f.name,)) for f in schema.fields])


def arrow_type(type: DataType, column: str = "") -> pa.DataType:
    """The Arrow type of a Delta type; `column` names it in errors."""
    return _arrow_type(type, (column,) if column else ())


def readable_type(type: DataType) -> pa.DataType | None:
    """`arrow_type`, or None for a type that Arrow rows can't have."""
    try:
        return arrow_type(type)
    except DeltaLakeError:
        return None


def _arrow_field(child: StructField, path: tuple[str, ...]) -> pa.Field:
    import pyarrow as pa

    return pa.field(child.name, _arrow_type(child.type, path), nullable=child.nullable)


def _arrow_type(type: DataType, path: tuple[str, ...]) -> pa.DataType:
    import pyarrow as pa

    if isinstance(type, StructType):
        return pa.struct([_arrow_field(f, (*path, f.name)) for f in type.fields])
    if isinstance(type, ArrayType):
        element = _arrow_type(type.element, (*path, "element"))
        return pa.list_(pa.field("element", element, nullable=type.contains_null))
    if isinstance(type, MapType):
        return pa.map_(
            _arrow_type(type.key, (*path, "key")),
            pa.field("value", _arrow_type(type.value, (*path, "value")), type.value_contains_null),
        )
    return _arrow_primitive(type.name, path)


def _arrow_primitive(name: str, path: tuple[str, ...]) -> pa.DataType:
    import pyarrow as pa

    simple = {
        "byte": pa.int8(),
        "short": pa.int16(),
        "integer": pa.int32(),
        "long": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "binary": pa.binary(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", "UTC"),
        "timestamp_ntz": pa.timestamp("us"),
        "void": pa.null(),
    }
    if name in simple:
        return simple[name]
    if is_string(name):
        return pa.string()
    if name == "variant":
        return pa.struct(
            [
                pa.field("metadata", pa.binary(), nullable=False),
                pa.field("value", pa.binary(), nullable=False),
            ]
        )
    decimal = decimal_parameters(name)
    if decimal is not None and 0 <= decimal[1] <= decimal[0] <= 38 and decimal[0] > 0:
        return pa.decimal128(*decimal)
    raise DeltaLakeError(
        DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
        f"column {'.'.join(path) or '?'} has type {name!r}, whose rows can't be read here; upgrade "
        "deltalakedb, or read the table with an engine that has the type",
        column=".".join(path),
        type=name,
    )
