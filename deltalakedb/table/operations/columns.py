"""A schema with one column changed: pure. Columns are named by dotted paths, as in SQL.

PROTOCOL.md, "Schema Serialization Format", "Column Mapping", "Type Widening".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import (
    COLUMN_ID,
    GENERATION,
    PHYSICAL_NAME,
    TYPE_CHANGES,
    ArrayType,
    DataType,
    MapType,
    PrimitiveType,
    StructField,
    StructType,
)
from deltalakedb.log.statistics.skipping import parse_column_list
from deltalakedb.write.casts import matched
from deltalakedb.write.constraints import has_expression
from deltalakedb.write.schema import check_struct
from deltalakedb.write.widening import is_wider

Path = tuple[str, ...]


def path_of(struct: StructType, name: str) -> Path:
    """The names, as the schema spells them, that a dotted path leads along.

    SCHEMA_MISMATCH where there is no such column.
    """
    found: list[str] = []
    parts = parse_column_list(name)
    type: DataType = struct
    for part in parts[0] if parts and len(parts) == 1 else (name,):
        names = [f.name for f in type.fields] if isinstance(type, StructType) else []
        place = matched(names, part)
        if place is None or not isinstance(type, StructType):
            raise _mismatch(
                f"there is no column {name}; the columns are {', '.join(names) or 'none'}", name
            )
        found.append(names[place])
        type = type.fields[place].type
    return tuple(found)


def field_at(struct: StructType, path: Path) -> StructField:
    """The field at a path that `path_of` gave."""
    field = struct.field(path[0])
    assert field is not None
    if len(path) == 1:
        return field
    assert isinstance(field.type, StructType)
    return field_at(field.type, path[1:])


def changed(
    struct: StructType, path: Path, change: Callable[[StructField], StructField | None]
) -> StructType:
    """The schema with one field changed, or taken out where `change` gives None."""
    fields: list[StructField] = []
    for field in struct.fields:
        if field.name != path[0]:
            fields.append(field)
        elif len(path) > 1:
            assert isinstance(field.type, StructType)
            fields.append(replace(field, type=changed(field.type, path[1:], change)))
        elif (new := change(field)) is not None:
            fields.append(new)
    return StructType(tuple(fields))


def with_columns(struct: StructType, added: StructType) -> StructType:
    """The schema with more columns, which come last, in structs that both have too.

    SCHEMA_MISMATCH for columns that are there already and for NOT NULL ones, since the rows that
    are there have no value for them.
    """
    fields = list(struct.fields)
    for field in added.fields:
        place = matched([f.name for f in fields], field.name)
        if place is None:
            _check_addable(field)
            fields.append(field)
            continue
        there = fields[place]
        if not (isinstance(there.type, StructType) and isinstance(field.type, StructType)):
            raise _mismatch(
                f"there is a column {there.name} already; choose another name", there.name
            )
        fields[place] = replace(there, type=with_columns(there.type, field.type))
    found = StructType(tuple(fields))
    check_struct(found)
    return found


def _check_addable(field: StructField) -> None:
    if not field.nullable:
        raise _mismatch(
            f"column {field.name} is NOT NULL, but the rows of the table have no value for it; add "
            "it as nullable",
            field.name,
        )
    if has_expression(field):
        raise _mismatch(
            f"column {field.name} is generated or has a default, which the rows of the table "
            "weren't given; add it without",
            field.name,
        )


def renamed(struct: StructType, path: Path, name: str) -> StructType:
    """With another name for a column; its physical name stays."""
    found = changed(struct, path, lambda field: replace(field, name=name))
    check_struct(found)
    return found


def without(struct: StructType, path: Path) -> StructType:
    """Without a column; SCHEMA_MISMATCH where nothing would be left of the struct that it is in."""
    holder = struct if len(path) == 1 else field_at(struct, path[:-1]).type
    assert isinstance(holder, StructType)
    if len(holder.fields) == 1:
        raise _mismatch(
            f"{'.'.join(path)} is the last column there; drop the table instead", path[-1]
        )
    return changed(struct, path, lambda field: None)


def moved(struct: StructType, path: Path, *, first: bool, after: str | None) -> StructType:
    """With a column at another place in its struct."""
    if first == (after is not None):
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT, "say either first=True or after=COLUMN"
        )
    holder = struct if len(path) == 1 else field_at(struct, path[:-1]).type
    assert isinstance(holder, StructType)
    field = field_at(struct, path)
    others = [f for f in holder.fields if f.name != field.name]
    place = 0
    if after is not None:
        found = matched([f.name for f in others], after)
        if found is None:
            raise _mismatch(f"there is no other column {after} to put {field.name} after", after)
        place = found + 1
    order = StructType((*others[:place], field, *others[place:]))
    if len(path) == 1:
        return order
    return changed(struct, path[:-1], lambda parent: replace(parent, type=order))


def nullable(struct: StructType, path: Path) -> StructType:
    """With a column that may be null."""
    return changed(struct, path, lambda field: replace(field, nullable=True))


def with_metadata(struct: StructType, path: Path, metadata: Mapping[str, Any]) -> StructType:
    """With more metadata of a column; a value of None takes a key away.

    INVALID_ARGUMENT for keys that Delta gives a meaning, but for comments.
    """
    bad = sorted(
        k for k in metadata if k.startswith("delta.") or k in (GENERATION, "CURRENT_DEFAULT")
    )
    if bad:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"the metadata {', '.join(bad)} of column {'.'.join(path)} can't be set by hand: it "
            "decides how files are read and written; leave it out",
            column=".".join(path),
        )

    def change(field: StructField) -> StructField:
        merged = {**field.metadata, **metadata}
        return replace(field, metadata={k: v for k, v in merged.items() if v is not None})

    return changed(struct, path, change)


def widened(struct: StructType, path: Path, type: DataType) -> StructType:
    """With a column of a wider type, noted in its metadata (PROTOCOL.md, Type Widening).

    SCHEMA_MISMATCH for a type that doesn't hold every value of the present one.
    """
    field = field_at(struct, path)
    if field.type == type:
        return struct
    before, after = field.type, type
    if not (
        isinstance(before, PrimitiveType)
        and isinstance(after, PrimitiveType)
        and is_wider(before.name, after.name)
    ):
        raise _mismatch(
            f"column {'.'.join(path)} can't become {_type_text(after)}: it is "
            f"{_type_text(before)}, whose values that type doesn't hold without loss; write the "
            "table anew",
            ".".join(path),
        )
    note = {"fromType": before.name, "toType": after.name}

    def change(field: StructField) -> StructField:
        changes = [*(field.metadata.get(TYPE_CHANGES) or ()), note]
        return replace(field, type=type, metadata={**field.metadata, TYPE_CHANGES: changes})

    return changed(struct, path, change)


def _type_text(type: DataType) -> str:
    if isinstance(type, PrimitiveType):
        return type.name
    return {StructType: "a struct", ArrayType: "an array", MapType: "a map"}[type.__class__]


def with_physical_names(type: DataType) -> DataType:
    """A schema whose fields, at any level, have their own names as the physical ones.

    What switching column mapping on takes: the files that are there go on by their names.
    """
    if isinstance(type, StructType):
        return StructType(
            tuple(
                replace(
                    field,
                    type=with_physical_names(field.type),
                    metadata={PHYSICAL_NAME: field.name, **_without_id(field.metadata)},
                )
                for field in type.fields
            )
        )
    if isinstance(type, ArrayType):
        return replace(type, element=with_physical_names(type.element))
    if isinstance(type, MapType):
        return replace(
            type, key=with_physical_names(type.key), value=with_physical_names(type.value)
        )
    return type


def _without_id(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in metadata.items() if k not in (COLUMN_ID, PHYSICAL_NAME)}


def uses(columns: Sequence[str], path: Path) -> bool:
    """Whether an expression's columns (dotted) touch one, what is in it, or what it is in."""
    own = ".".join(path).lower()
    return any(
        name.lower() == own
        or name.lower().startswith(own + ".")
        or own.startswith(name.lower() + ".")
        for name in columns
    )


def _mismatch(what: str, column: str) -> DeltaLakeError:
    return DeltaLakeError(DeltaLakeErrorKind.SCHEMA_MISMATCH, what, column=column)
