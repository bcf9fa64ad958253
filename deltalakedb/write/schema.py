"""The input's schema against the table's, and the schema that a write makes.

PROTOCOL.md, "Schema Serialization Format" and "Column Mapping".
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Collection, Mapping
from itertools import count
from typing import Any

import pyarrow as pa

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import (
    COLUMN_ID,
    PHYSICAL_NAME,
    TYPE_CHANGES,
    ArrayType,
    DataType,
    MapType,
    PrimitiveType,
    StructField,
    StructType,
    column_mapping_mode,
    parse_schema,
)
from deltalakedb.log.schema_writer import delta_type, is_list_type, struct_of_arrow
from deltalakedb.write.casts import Path, converted, matched, mismatches, plain_type, stored_type
from deltalakedb.write.widening import Widens, is_wider, never, noted

MAX_COLUMN_ID = "delta.columnMapping.maxColumnId"


class RowConverter:
    """Makes batches of an input the table's rows: its columns, in its order, of its types.

    Columns that the input hasn't are null; `missing` names them, for defaults and generated
    columns to fill. Raises SCHEMA_MISMATCH naming every column that doesn't fit.
    """

    def __init__(self, source: pa.Schema, target: StructType) -> None:
        names = list(source.names)
        _check_names(names)
        self._places = [matched(names, field.name) for field in target.fields]
        self.missing = frozenset(
            field.name
            for field, place in zip(target.fields, self._places, strict=True)
            if place is None
        )
        self._target = target
        self.schema = pa.schema([(f.name, stored_type(f.type, f.name)) for f in target.fields])
        self._kinds = [field.type for field in self.schema]
        wrong = [
            why
            for field, place in zip(target.fields, self._places, strict=True)
            if place is not None
            for why in mismatches(source.field(place).type, field.type, (field.name,))
        ]
        known = set(self._places)
        wrong += [
            f"the table has no column {name}" for i, name in enumerate(names) if i not in known
        ]
        if wrong:
            raise _mismatch(wrong)

    def convert(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of a batch. Raises SCHEMA_MISMATCH where a value doesn't fit its column."""
        columns = []
        for field, place, kind in zip(self._target.fields, self._places, self._kinds, strict=True):
            if place is None:
                column = pa.nulls(batch.num_rows, kind)
            else:
                column = batch.column(place)
                if column.type != kind:
                    column = converted(column, field.type, (field.name,))
            columns.append(column)
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def _mismatch(wrong: list[str]) -> DeltaLakeError:
    more = f" and {len(wrong) - 10} more" if len(wrong) > 10 else ""
    new = any(why.startswith("the table has no column") for why in wrong)
    advice = (
        "leave those columns out, or add them with schema_mode='merge'"
        if new
        else "cast the input, or replace the schema with schema_mode='overwrite'"
    )
    return DeltaLakeError(
        DeltaLakeErrorKind.SCHEMA_MISMATCH,
        f"the input doesn't fit the table's schema: {'; '.join(wrong[:10])}{more}; {advice}",
        mismatches=wrong,
    )


def _check_names(names: Collection[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other is not name or not name:
            raise DeltaLakeError(
                DeltaLakeErrorKind.SCHEMA_MISMATCH,
                f"columns {other!r} and {name!r} have the same name; Delta ignores case, rename one"
                if name
                else "a column has no name; give it one",
                column=name,
            )
    if len(seen) < len(list(names)):
        raise DeltaLakeError(
            DeltaLakeErrorKind.SCHEMA_MISMATCH, "two columns have the same name; rename one"
        )


def schema_of(given: Any) -> StructType:
    """The table's schema in whatever form a caller has it.

    Takes a StructType, a `schemaString`, an Arrow schema (of pyarrow or by the Arrow C interface),
    or delta-rs's Schema. INVALID_ARGUMENT for anything else.
    """
    if isinstance(given, StructType):
        found = given
    elif isinstance(given, str):
        found = parse_schema(given)
    elif hasattr(given, "to_json") and hasattr(given, "fields"):
        found = parse_schema(given.to_json())
    elif isinstance(given, pa.Schema):
        found = struct_of_arrow(given)
    elif hasattr(given, "__arrow_c_schema__"):
        found = struct_of_arrow(pa.schema(given))
    else:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"a schema can't be made of a {type(given).__name__}; give an Arrow schema, a Delta "
            "schema or its JSON",
        )
    check_struct(found)
    return found


def check_struct(struct: StructType) -> None:
    """SCHEMA_MISMATCH when two columns, at any level, have one name but for case, or none."""
    _check_names([field.name for field in struct.fields])
    for field in struct.fields:
        for inner in _structs(field.type):
            check_struct(inner)


def _structs(type: DataType) -> list[StructType]:
    if isinstance(type, StructType):
        return [type]
    if isinstance(type, ArrayType):
        return _structs(type.element)
    if isinstance(type, MapType):
        return [*_structs(type.key), *_structs(type.value)]
    return []


def merged_schema(table: StructType, source: pa.Schema, widens: Widens = never) -> StructType:
    """The table's schema with the columns, at any level, that only the input has.

    New columns are nullable and come last. Types of columns that the table has stay, but for those
    that the input has wider and that `widens` (PROTOCOL.md, "Type Widening"); whether the input
    fits them is the converter's business.
    """
    _check_names(source.names)
    return _merged_struct(table, list(source), (), widens)


def _merged_struct(
    table: StructType, source: list[pa.Field], path: Path, widens: Widens
) -> StructType:
    names = [field.name for field in table.fields]
    fields = list(table.fields)
    for child in source:
        place = matched(names, child.name)
        here = (*path, child.name)
        if place is None:
            fields.append(StructField(child.name, _nullable(delta_type(child.type, here)), True))
        else:
            field = table.fields[place]
            type, notes = _merged_type(field.type, child.type, here, widens)
            metadata = noted(field.metadata, TYPE_CHANGES, notes) if notes else field.metadata
            fields[place] = dataclasses.replace(field, type=type, metadata=metadata)
    return StructType(tuple(fields))


def _merged_type(
    table: DataType, source: pa.DataType, path: Path, widens: Widens
) -> tuple[DataType, list[dict[str, str]]]:
    """The type, and what is to be noted of its changes in the field that it is in."""
    source = plain_type(source)
    if isinstance(table, StructType) and pa.types.is_struct(source):
        return _merged_struct(table, list(source), path, widens), []
    if isinstance(table, ArrayType) and is_list_type(source):
        element, notes = _merged_type(table.element, source.value_type, (*path, "element"), widens)
        return dataclasses.replace(table, element=element), _inside("element", notes)
    if isinstance(table, MapType) and pa.types.is_map(source):
        key, of_key = _merged_type(table.key, source.key_type, (*path, "key"), widens)
        value, of_value = _merged_type(table.value, source.item_type, (*path, "value"), widens)
        notes = _inside("key", of_key) + _inside("value", of_value)
        return dataclasses.replace(table, key=key, value=value), notes
    if isinstance(table, PrimitiveType) and widens(path[0]):
        wider = delta_type(source, path)
        if isinstance(wider, PrimitiveType) and is_wider(table.name, wider.name):
            return wider, [{"fromType": table.name, "toType": wider.name}]
    return table, []


def _inside(part: str, notes: list[dict[str, str]]) -> list[dict[str, str]]:
    """The notes of what a part of an array or a map is, as the field that has it has them."""
    return [
        {**note, "fieldPath": ".".join([part, *filter(None, [note.get("fieldPath")])])}
        for note in notes
    ]


def _nullable(type: DataType) -> DataType:
    if isinstance(type, StructType):
        return StructType(
            tuple(
                dataclasses.replace(f, type=_nullable(f.type), nullable=True) for f in type.fields
            )
        )
    if isinstance(type, ArrayType):
        return ArrayType(_nullable(type.element), True)
    if isinstance(type, MapType):
        return MapType(_nullable(type.key), _nullable(type.value), True)
    return type


def with_column_mapping(
    schema: StructType, configuration: Mapping[str, str]
) -> tuple[StructType, dict[str, str]]:
    """Schema and properties of a table with column mapping, each field with an id and a name.

    Fields that have both keep them; new ids are above `delta.columnMapping.maxColumnId`, which
    grows. Where the mode is none, both come back as they are.
    """
    if column_mapping_mode(configuration) == "none":
        return schema, dict(configuration)
    highest = max([int(configuration.get(MAX_COLUMN_ID) or 0), *_ids(schema)])
    numbers = count(highest + 1)

    def numbered(found: Mapping[str, Any]) -> Mapping[str, Any]:
        number = found[COLUMN_ID] if COLUMN_ID in found else next(numbers)
        name = found.get(PHYSICAL_NAME) or f"col-{uuid.uuid4()}"
        return {**found, COLUMN_ID: number, PHYSICAL_NAME: name}

    mapped = _with_metadata(schema, numbered)
    assert isinstance(mapped, StructType)
    return mapped, {**configuration, MAX_COLUMN_ID: str(next(numbers) - 1)}


def without_column_mapping(schema: StructType) -> StructType:
    """The schema without ids and physical names, for a table that replaces its columns."""
    found = _with_metadata(
        schema,
        lambda m: {k: v for k, v in m.items() if k not in (COLUMN_ID, PHYSICAL_NAME)},
    )
    assert isinstance(found, StructType)
    return found


def _ids(type: DataType) -> list[int]:
    found = []
    for struct in _structs(type):
        for field in struct.fields:
            if field.column_id is not None:
                found.append(field.column_id)
            found += _ids(field.type)
    return found


def _with_metadata(
    type: DataType, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> DataType:
    """A type in which the metadata of each field, at any level and outermost first, is changed."""
    if isinstance(type, StructType):
        fields = []
        for field in type.fields:
            metadata = change(field.metadata)
            inner = _with_metadata(field.type, change)
            fields.append(dataclasses.replace(field, type=inner, metadata=metadata))
        return StructType(tuple(fields))
    if isinstance(type, ArrayType):
        return dataclasses.replace(type, element=_with_metadata(type.element, change))
    if isinstance(type, MapType):
        return dataclasses.replace(
            type, key=_with_metadata(type.key, change), value=_with_metadata(type.value, change)
        )
    return type


def is_void(field: StructField) -> bool:
    """Whether a column has the type void: all null, and not in files."""
    return isinstance(field.type, PrimitiveType) and field.type.name == "void"
