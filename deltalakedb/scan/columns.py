"""From the columns of one data file to the columns of the table.

A file may hold a column under another name (column mapping), in another place, with a narrower
type (type widening), another encoding (INT96, dictionaries, decimals as integers), with fields
missing or too many in its structs, or not at all. `file_columns` decides once per file how each
wanted column comes about; the conversions it returns then run on every batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.plain_arrow import is_list_view, list_offsets, list_values
from deltalakedb.scan.types import MappingMode, ReadField
from deltalakedb.scan.variant import unshred

Convert = Callable[[pa.Array], pa.Array]
"""An array as the file holds it -> the array the schema asks for, of the same length."""

_MICROS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_FIELD_ID = b"PARQUET:field_id"


class UnreadableColumn(Exception):
    """A file's column has a type that can't be read as the table's; the caller names the file."""

    def __init__(self, column: str, found: pa.DataType, wanted: pa.DataType) -> None:
        super().__init__(f"column {column!r} holds {found} where the table has {wanted}")
        self.column = column


def file_columns(
    file_schema: pa.Schema, fields: Iterable[ReadField], mode: MappingMode
) -> dict[str, tuple[str, Convert]]:
    """Logical column name -> (the file's column name, conversion), for the columns it holds.

    `file_schema` is the Arrow schema of the file with its Parquet field ids in the metadata.
    Columns of `fields` that aren't in the result are missing in the file and read as null.
    UnreadableColumn for a type that doesn't fit, INVALID_LOG for a file without field ids when
    columns are mapped by id.
    """
    members = list(file_schema)
    if mode == "id" and members and not any(_field_id(member) is not None for member in members):
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_LOG,
            "the file has no Parquet field ids although the table maps columns by id "
            "(PROTOCOL.md, Reader Requirements for Column Mapping)",
        )
    find = _Finder(members, mode)
    found: dict[str, tuple[str, Convert]] = {}
    for field in fields:
        index = find(field)
        if index is not None:
            member = members[index]
            found[field.name] = (member.name, _conversion(member.type, field, mode, field.name))
    return found


class _Finder:
    """Where among the members of a file's struct (or of its root) a field is."""

    def __init__(self, members: Sequence[pa.Field], mode: MappingMode) -> None:
        self._by_id = mode == "id"
        self._exact: dict[object, int] = {}
        self._folded: dict[str, list[int]] = {}
        for index, member in enumerate(members):
            self._exact.setdefault(member.name, index)
            if self._by_id:
                self._exact.setdefault(_field_id(member), index)
            else:
                self._folded.setdefault(member.name.lower(), []).append(index)

    def __call__(self, field: ReadField) -> int | None:
        if self._by_id and field.field_id is not None:
            return self._exact.get(field.field_id)
        index = self._exact.get(field.physical_name)
        if index is None:
            # Names in a Delta schema are unique regardless of case.
            alike = self._folded.get(field.physical_name.lower(), ())
            index = alike[0] if len(alike) == 1 else None
        return index


def _field_id(member: pa.Field) -> int | None:
    text = (member.metadata or {}).get(_FIELD_ID)
    return None if text is None else int(text)


def _same(array: pa.Array) -> pa.Array:
    return array


def _conversion(found: pa.DataType, field: ReadField, mode: MappingMode, column: str) -> Convert:
    if isinstance(found, pa.BaseExtensionType):
        inner = _conversion(found.storage_type, field, mode, column)
        return lambda array: inner(array.storage)
    if pa.types.is_dictionary(found):
        inner = _conversion(found.value_type, field, mode, column)
        return lambda array: inner(_decoded(array))
    if pa.types.is_run_end_encoded(found):
        inner = _conversion(found.value_type, field, mode, column)
        return lambda array: inner(pc.run_end_decode(array))
    if pa.types.is_null(found):
        return lambda array: pa.nulls(len(array), field.arrow)
    if field.kind == "primitive":
        return _primitive(found, field.arrow, column)
    if field.kind == "struct" and pa.types.is_struct(found):
        return _struct(found, field, mode, column)
    if field.kind == "variant" and pa.types.is_struct(found):
        return _variant(found, field, column)
    if field.kind == "list" and _is_list(found):
        return _list(found, field, mode, column)
    if field.kind == "map" and (pa.types.is_map(found) or _is_list_of_pairs(found)):
        return _map(found, field, mode, column)
    raise UnreadableColumn(column, found, field.arrow)


def _decoded(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _struct(found: pa.StructType, field: ReadField, mode: MappingMode, column: str) -> Convert:
    members = list(found)
    find = _Finder(members, mode)
    parts: list[tuple[int, Convert] | None] = []
    for child in field.children:
        index = find(child)
        parts.append(
            None
            if index is None
            else (index, _conversion(members[index].type, child, mode, f"{column}.{child.name}"))
        )
    wanted = list(field.arrow)
    if found.equals(field.arrow) and all(
        part is not None and part[0] == place and part[1] is _same
        for place, part in enumerate(parts)
    ):
        return _same

    def convert(array: pa.Array) -> pa.Array:
        children = [
            pa.nulls(len(array), child.type) if part is None else part[1](array.field(part[0]))
            for part, child in zip(parts, wanted, strict=True)
        ]
        if not children:
            return _childless(array, field.arrow)
        return pa.StructArray.from_arrays(children, fields=wanted, mask=_mask(array))

    return convert


def _childless(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """A struct without fields: `from_arrays` can't know its length."""
    validity = array.is_valid()
    if validity.offset:
        validity = pa.concat_arrays([validity, validity.slice(0, 0)])
    return pa.Array.from_buffers(wanted, len(array), [validity.buffers()[1]])


def _variant(found: pa.StructType, field: ReadField, column: str) -> Convert:
    names = [member.name for member in found]
    shredded = "typed_value" in names
    if "metadata" not in names or not (shredded or "value" in names):
        raise UnreadableColumn(column, found, field.arrow)
    to_binary = {
        name: _primitive(found.field(name).type, pa.binary(), f"{column}.{name}")
        for name in ("metadata", "value")
        if name in names
    }

    def convert(array: pa.Array) -> pa.Array:
        metadata = to_binary["metadata"](array.field("metadata"))
        value = unshred(array) if shredded else to_binary["value"](array.field("value"))
        return pa.StructArray.from_arrays(
            [metadata, value], fields=list(field.arrow), mask=_mask(array)
        )

    return convert


def _is_list(found: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(found)
        or pa.types.is_large_list(found)
        or pa.types.is_fixed_size_list(found)
        or is_list_view(found)
    )


def _is_list_of_pairs(found: pa.DataType) -> bool:
    """A map written without its Parquet annotation."""
    return bool(
        _is_list(found)
        and pa.types.is_struct(found.value_type)
        and found.value_type.num_fields == 2
    )


def _plain_list(array: pa.Array) -> pa.Array:
    """The same values as a list or map array that starts at its buffers' beginning."""
    if is_list_view(array.type):
        offsets, _, _ = list_offsets(array)
        return pa.ListArray.from_arrays(offsets, list_values(array), mask=_mask(array))
    if not (pa.types.is_list(array.type) or pa.types.is_map(array.type)):
        array = array.cast(pa.list_(array.type.value_field))
    # Concatenation copies: `from_arrays` takes no mask together with sliced offsets.
    return pa.concat_arrays([array, array.slice(0, 0)]) if array.offset else array


def _list(found: pa.DataType, field: ReadField, mode: MappingMode, column: str) -> Convert:
    element = field.children[0]
    inner = _conversion(found.value_type, element, mode, f"{column}.element")
    if inner is _same and found.equals(field.arrow):
        return _same

    def convert(array: pa.Array) -> pa.Array:
        array = _plain_list(array)
        return pa.ListArray.from_arrays(
            array.offsets, inner(array.values), type=field.arrow, mask=_mask(array)
        )

    return convert


def _map(found: pa.DataType, field: ReadField, mode: MappingMode, column: str) -> Convert:
    pairs = None if pa.types.is_map(found) else list(found.value_type)
    key_type = found.key_type if pairs is None else pairs[0].type
    item_type = found.item_type if pairs is None else pairs[1].type
    of_key = _conversion(key_type, field.children[0], mode, f"{column}.key")
    of_item = _conversion(item_type, field.children[1], mode, f"{column}.value")
    if pairs is None and of_key is _same and of_item is _same and found.equals(field.arrow):
        return _same

    def convert(array: pa.Array) -> pa.Array:
        array = _plain_list(array)
        keys = array.keys if pairs is None else array.values.field(0)
        items = array.items if pairs is None else array.values.field(1)
        return pa.MapArray.from_arrays(
            array.offsets, of_key(keys), of_item(items), type=field.arrow, mask=_mask(array)
        )

    return convert


def _mask(array: pa.Array) -> pa.Array | None:
    return array.is_null() if array.null_count else None


def _primitive(found: pa.DataType, wanted: pa.DataType, column: str) -> Convert:
    if found.equals(wanted):
        return _same
    types = pa.types
    if types.is_timestamp(wanted):
        if types.is_timestamp(found):
            return lambda array: _to_micros(array).view(wanted)
        if types.is_date(found) and wanted.tz is None:
            return lambda array: array.cast(wanted)
        raise UnreadableColumn(column, found, wanted)
    if types.is_integer(found) and types.is_decimal(wanted):
        # Arrow asks for as many digits as the file's integers could have, and not for theirs.
        wide = pa.decimal256(76, wanted.scale)
        return lambda array: array.cast(wide).cast(wanted)
    if (
        (_is_bytes(wanted) and _is_bytes(found))
        or (_is_number(found) and _is_number(wanted) and not _is_lossy(found, wanted))
        or (types.is_date(wanted) and types.is_date(found))
    ):
        return lambda array: array.cast(wanted)
    raise UnreadableColumn(column, found, wanted)


def _is_bytes(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_binary(kind)
        or types.is_string(kind)
        or types.is_large_binary(kind)
        or types.is_large_string(kind)
        or types.is_binary_view(kind)
        or types.is_string_view(kind)
        or types.is_fixed_size_binary(kind)
    )


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _is_lossy(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether the conversion would round values without the cast noticing."""
    if pa.types.is_floating(found):
        return bool(not pa.types.is_floating(wanted) or found.bit_width > wanted.bit_width)
    return bool(pa.types.is_decimal(found) and pa.types.is_floating(wanted))


def _to_micros(array: pa.Array) -> pa.Array:
    """Timestamps of any unit as int64 microseconds, rounded down; the zone plays no part.

    Arrow holds instants of every zone in UTC. A file without zone, or with INT96, means UTC.
    """
    ints = array.view(pa.int64())
    unit = array.type.unit
    if unit == "us":
        return ints
    if unit != "ns":
        return pc.multiply_checked(ints, _MICROS[unit])
    # Arrow's integer division rounds towards zero, which is up for times before 1970.
    values = np.floor_divide(ints.fill_null(0).to_numpy(zero_copy_only=False), 1000)
    return pa.array(values, pa.int64(), mask=ints.is_null().to_numpy(zero_copy_only=False))
