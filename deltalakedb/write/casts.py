"""Arrow values of an input as values of a column's Delta type, without changing what they mean.

Integers and decimals fit or are refused, timestamps are microseconds (nanoseconds are cut off, as
delta-rs does; in a column of instants those without a zone are taken as UTC), text is text. What
Arrow would cast otherwise (numbers to text and back, bytes to text, fractions to whole numbers) is
refused.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.plain_arrow import list_offsets, list_values
from deltalakedb.log.schema import (
    ArrayType,
    DataType,
    MapType,
    PrimitiveType,
    StructField,
    StructType,
    arrow_type,
    decimal_parameters,
    is_string,
)
from deltalakedb.log.schema_writer import is_list_type

Path = tuple[str, ...]

_WHOLE = frozenset({"byte", "short", "integer", "long"})
_FRACTIONS = frozenset({"float", "double"})
_PER_MICRO = {"s": 1_000_000, "ms": 1_000, "us": 1}


def stored_type(type: DataType, column: str = "") -> pa.DataType:
    """The Arrow type of a column's values while they are written: its own, all of it nullable.

    Whether nulls are allowed is a constraint, checked by itself. UNSUPPORTED_FEATURE naming the
    column for a type whose values nobody here knows.
    """
    return arrow_type(_relaxed(type), column)


def _relaxed(type: DataType) -> DataType:
    if isinstance(type, StructType):
        return StructType(
            tuple(StructField(f.name, _relaxed(f.type), True, f.metadata) for f in type.fields)
        )
    if isinstance(type, ArrayType):
        return ArrayType(_relaxed(type.element), True)
    if isinstance(type, MapType):
        return MapType(_relaxed(type.key), _relaxed(type.value), True)
    return type


def matched(names: list[str], name: str) -> int | None:
    """The place of a column among an input's names: exact, else ignoring case."""
    if name in names:
        return names.index(name)
    folded = [n.lower() for n in names]
    return folded.index(name.lower()) if name.lower() in folded else None


def mismatches(source: pa.DataType, target: DataType, path: Path) -> Iterator[str]:
    """Why values of an Arrow type can't be those of a column; nothing when they can.

    Members of a struct that the input lacks are null; members that the table lacks are named.
    """
    source = plain_type(source)
    if pa.types.is_null(source):
        return
    shown = ".".join(path)
    if isinstance(target, StructType):
        if not pa.types.is_struct(source):
            yield f"column {shown} is a struct, not {source}"
            return
        names = [child.name for child in source]
        taken = set()
        for field in target.fields:
            place = matched(names, field.name)
            if place is not None:
                taken.add(place)
                yield from mismatches(source.field(place).type, field.type, (*path, field.name))
        for place, name in enumerate(names):
            if place not in taken:
                yield f"the table has no column {'.'.join((*path, name))}"
    elif isinstance(target, ArrayType):
        if is_list_type(source):
            yield from mismatches(source.value_type, target.element, (*path, "element"))
        else:
            yield f"column {shown} is an array, not {source}"
    elif isinstance(target, MapType):
        if pa.types.is_map(source):
            yield from mismatches(source.key_type, target.key, (*path, "key"))
            yield from mismatches(source.item_type, target.value, (*path, "value"))
        else:
            yield f"column {shown} is a map, not {source}"
    elif not _castable(source, target.name):
        yield f"column {shown} is {target.name}, and {source} values are not written to it"


def plain_type(type: pa.DataType) -> pa.DataType:
    """An Arrow type without what only encodes it: dictionaries, runs, extensions."""
    if pa.types.is_dictionary(type) or pa.types.is_run_end_encoded(type):
        return plain_type(type.value_type)
    if isinstance(type, pa.BaseExtensionType):
        return plain_type(type.storage_type)
    return type


def _castable(source: pa.DataType, target: str) -> bool:
    if target in _WHOLE:
        return bool(
            pa.types.is_integer(source)
            or pa.types.is_floating(source)
            or pa.types.is_decimal(source)
        )
    if target in _FRACTIONS:
        return bool(pa.types.is_integer(source) or pa.types.is_floating(source))
    if decimal_parameters(target) is not None:
        return bool(pa.types.is_integer(source) or pa.types.is_decimal(source))
    if is_string(target):
        return _is_text(source)
    if target == "binary":
        return _is_bytes(source)
    if target == "boolean":
        return bool(pa.types.is_boolean(source))
    if target == "date":
        return bool(pa.types.is_date(source))
    if target == "timestamp":
        return bool(pa.types.is_timestamp(source) or pa.types.is_date(source))
    if target == "timestamp_ntz":
        naive = pa.types.is_timestamp(source) and source.tz is None
        return bool(naive or pa.types.is_date(source))
    if target == "variant":
        return _is_variant(source)
    return False


def _is_text(type: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(type) or pa.types.is_large_string(type) or pa.types.is_string_view(type)
    )


def _is_bytes(type: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(type)
        or pa.types.is_large_binary(type)
        or pa.types.is_binary_view(type)
        or pa.types.is_fixed_size_binary(type)
    )


def _is_variant(type: pa.DataType) -> bool:
    if not pa.types.is_struct(type):
        return False
    members = {child.name: child.type for child in type}
    return set(members) == {"metadata", "value"} and all(map(_is_bytes, members.values()))


def converted(array: pa.Array, target: DataType, path: Path) -> pa.Array:
    """An input's values as `stored_type(target)`; `mismatches` found nothing against its type.

    Raises SCHEMA_MISMATCH naming the column when a value doesn't fit.
    """
    kind = stored_type(target)
    if array.type == kind:
        return array
    array = _plain(array)
    if array.type == kind:
        return array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), kind)
    if isinstance(target, PrimitiveType):
        try:
            return _primitive(array, target.name, kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError) as error:
            raise DeltaLakeError(
                DeltaLakeErrorKind.SCHEMA_MISMATCH,
                f"a value of column {'.'.join(path)} doesn't fit {target.name}: {error}; change "
                "the value, or the column's type",
                column=".".join(path),
                type=target.name,
            ) from error
    if isinstance(target, StructType):
        return _struct(array, target, kind, path)
    mask = array.is_null() if array.null_count else None
    if isinstance(target, ArrayType):
        if pa.types.is_fixed_size_list(array.type):
            array = array.cast(pa.list_(array.type.value_type))
        offsets, first, count = list_offsets(array)
        values = list_values(array).slice(first, count)
        values = converted(values, target.element, (*path, "element"))
        return pa.ListArray.from_arrays(offsets, values, type=kind, mask=mask)
    offsets, first, count = list_offsets(array)
    keys = converted(array.keys.slice(first, count), target.key, (*path, "key"))
    items = converted(array.items.slice(first, count), target.value, (*path, "value"))
    return pa.MapArray.from_arrays(offsets, keys, items, type=kind, mask=mask)


def _plain(array: pa.Array) -> pa.Array:
    while True:
        type = array.type
        if pa.types.is_dictionary(type):
            array = _without_views(array.dictionary).take(array.indices)
        elif pa.types.is_run_end_encoded(type):
            array = pc.run_end_decode(array)
        elif isinstance(type, pa.BaseExtensionType):
            array = array.storage
        else:
            return array


def _without_views(array: pa.Array) -> pa.Array:
    """The same values in a form that can be taken from, which Arrow's views can't yet."""
    if pa.types.is_string_view(array.type):
        return array.cast(pa.large_string())
    return array.cast(pa.large_binary()) if pa.types.is_binary_view(array.type) else array


def _struct(
    array: pa.StructArray, target: StructType, kind: pa.StructType, path: Path
) -> pa.StructArray:
    names = [child.name for child in array.type]
    children = []
    for field, child in zip(target.fields, kind, strict=True):
        place = matched(names, field.name)
        if place is None:
            children.append(pa.nulls(len(array), child.type))
        else:
            children.append(converted(array.field(place), field.type, (*path, field.name)))
    if not children:
        return array
    mask = array.is_null() if array.null_count else None
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=mask)


def _primitive(array: pa.Array, name: str, kind: pa.DataType) -> pa.Array:
    type = array.type
    if pa.types.is_timestamp(type):
        return _micros(array).view(kind)
    if pa.types.is_date(type):
        days = array.cast(pa.date32())
        return days if name == "date" else days.cast(pa.timestamp("us")).view(kind)
    if decimal_parameters(name) is not None:
        return _decimal(array, kind)
    if name == "variant":
        return pa.StructArray.from_arrays(
            [array.field(n).cast(pa.binary()) for n in ("metadata", "value")],
            fields=list(kind),
            mask=array.is_null() if array.null_count else None,
        )
    if name in _FRACTIONS and pa.types.is_floating(type):
        found = array.cast(kind)
        if name == "float" and _grew(array, found):
            raise pa.ArrowInvalid("it is beyond the greatest float")
        return found
    if pa.types.is_floating(type) and pc.any(pc.is_nan(array)).as_py():
        raise pa.ArrowInvalid("NaN is no whole number")
    return array.cast(kind)


def _micros(array: pa.Array) -> pa.Array:
    """Microseconds since 1970 as int64; finer units are cut down to the one before."""
    ticks = array.view(pa.int64())
    unit = array.type.unit
    if unit == "ns":
        if not ticks.null_count:
            return pa.array(ticks.to_numpy(zero_copy_only=False) // 1000)
        missing = ticks.is_null().to_numpy(zero_copy_only=False)
        filled = ticks.fill_null(0).to_numpy(zero_copy_only=False)
        return pa.array(filled // 1000, mask=missing)
    if unit == "us":
        return ticks
    return pc.multiply_checked(ticks, _PER_MICRO[unit])


def _decimal(array: pa.Array, kind: pa.Decimal128Type) -> pa.Array:
    if pa.types.is_integer(array.type):
        array = array.cast(pa.decimal128(20, 0))
    if not pa.types.is_decimal128(array.type) and not pa.types.is_decimal256(array.type):
        array = array.cast(pa.decimal128(array.type.precision, array.type.scale))
    # Room for the digits while the scale changes; whether they fit is seen at the end.
    wide = array.cast(pa.decimal256(76, max(kind.scale, array.type.scale)))
    return wide.cast(kind)


def _grew(before: pa.Array, after: pa.Array) -> bool:
    infinite = pc.and_(pc.is_inf(after), pc.invert(pc.is_inf(before)))
    return bool(pc.any(infinite).as_py())
