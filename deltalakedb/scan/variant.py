"""Variants that a file holds shredded, put together to `metadata` and `value`.

Shredding spreads a variant over typed columns of the file; PROTOCOL.md (Variant Shredding) asks
readers to undo it. Sources: VariantShredding.md and VariantEncoding.md of apache/parquet-format.
Each value is encoded by itself in Python: some ten microseconds per variant and field.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from decimal import Context, Decimal
from functools import lru_cache
from itertools import pairwise

import pyarrow as pa

_NULL = b"\x00"
_TRUE, _FALSE = b"\x04", b"\x08"
_OBJECT = 2
_WIDE = Context(prec=80)

Encode = Callable[[int], bytes]
"""Index of a row that is not null -> the variant value."""


class NotAVariant(ValueError):
    """The columns of a shredded variant don't fit together."""


def unshred(array: pa.StructArray) -> pa.Array:
    """The `value` binaries of a shredded variant group; null where the group is null."""
    group = _Group(array)
    metadata = _member(array, "metadata")
    if metadata is None:
        raise NotAVariant("a variant has no metadata column")
    values: list[bytes | None] = []
    for index, (names, valid) in enumerate(
        zip(metadata.to_pylist(), array.is_valid().to_pylist(), strict=True)
    ):
        # A variant with neither value nor typed value is the variant null.
        values.append((group.encode(index, names) or _NULL) if valid else None)
    return pa.array(values, pa.binary())


class _Group:
    """`value` and `typed_value` of a variant, of an object's field, or of an array's elements."""

    def __init__(self, array: pa.StructArray) -> None:
        value, typed = _member(array, "value"), _member(array, "typed_value")
        self._values: list[bytes | None] = (
            [None] * len(array) if value is None else value.to_pylist()
        )
        self._is_typed: list[bool] = (
            [False] * len(array) if typed is None else typed.is_valid().to_pylist()
        )
        self._fields: dict[str, _Group] = {}
        self._elements: tuple[list[int], _Group] | None = None
        self._primitive: Encode | None = None
        if typed is None:
            return
        if pa.types.is_struct(typed.type):
            self._fields = {
                member.name: _Group(typed.field(place)) for place, member in enumerate(typed.type)
            }
        elif pa.types.is_list(typed.type) or pa.types.is_large_list(typed.type):
            self._elements = (typed.offsets.to_pylist(), _Group(typed.values))
        else:
            self._primitive = _primitive(typed)

    def encode(self, index: int, metadata: bytes) -> bytes | None:
        """The value of one row; None when there is none (an object without this field)."""
        value = self._values[index]
        if not self._is_typed[index]:
            return value
        if self._primitive is not None:
            return self._primitive(index)
        if self._elements is not None:
            offsets, group = self._elements
            return _array(
                [
                    group.encode(place, metadata) or _NULL
                    for place in range(offsets[index], offsets[index + 1])
                ]
            )
        members = {} if value is None else _object_members(value, metadata)
        for name, group in self._fields.items():
            member = group.encode(index, metadata)
            if member is not None:
                members[name] = member
        return _object(members, metadata)


def _member(array: pa.StructArray, name: str) -> pa.Array | None:
    place = array.type.get_field_index(name)
    if place < 0:
        return None
    member = array.field(place)
    if isinstance(member.type, pa.BaseExtensionType):
        member = member.storage
    return member.dictionary_decode() if pa.types.is_dictionary(member.type) else member


def _little(width: int) -> Callable[[int], bytes]:
    return lambda number: number.to_bytes(width, "little")


def _width(greatest: int) -> int:
    return max(1, (greatest.bit_length() + 7) // 8)


def _number(data: bytes, start: int, width: int) -> int:
    return int.from_bytes(data[start : start + width], "little")


def _names(metadata: bytes) -> list[str]:
    """The dictionary of field names."""
    width = (metadata[0] >> 6) + 1
    count = _number(metadata, 1, width)
    base = 1 + (count + 2) * width
    bounds = [_number(metadata, 1 + (place + 1) * width, width) for place in range(count + 1)]
    return [metadata[base + start : base + end].decode() for start, end in pairwise(bounds)]


@lru_cache(1024)  # rows of a file mostly share their field names
def _ids(metadata: bytes) -> Mapping[str, int]:
    """Field name -> its place in the dictionary, the first where it stands twice."""
    ids: dict[str, int] = {}
    for place, name in enumerate(_names(metadata)):
        ids.setdefault(name, place)
    return ids


def _object(members: Mapping[str, bytes], metadata: bytes) -> bytes:
    ids = _ids(metadata)
    names = sorted(members, key=str.encode)
    missing = [name for name in names if name not in ids]
    if missing:
        raise NotAVariant(f"field {missing[0]!r} is not among the names in the metadata")
    places = [ids[name] for name in names]
    id_width = _width(max(places, default=0))
    total, offsets = _offsets([members[name] for name in names])
    offset_width = _width(total)
    large = len(names) > 255
    header = (int(large) << 4 | (id_width - 1) << 2 | (offset_width - 1)) << 2 | _OBJECT
    return b"".join(
        [
            bytes([header]),
            len(names).to_bytes(4 if large else 1, "little"),
            *map(_little(id_width), places),
            *map(_little(offset_width), offsets),
            *(members[name] for name in names),
        ]
    )


def _array(elements: Sequence[bytes]) -> bytes:
    total, offsets = _offsets(elements)
    width = _width(total)
    large = len(elements) > 255
    header = (int(large) << 2 | (width - 1)) << 2 | 3
    return b"".join(
        [
            bytes([header]),
            len(elements).to_bytes(4 if large else 1, "little"),
            *map(_little(width), offsets),
            *elements,
        ]
    )


def _offsets(values: Sequence[bytes]) -> tuple[int, list[int]]:
    """(sum, where each value starts and the last ends)."""
    offsets, position = [0], 0
    for value in values:
        position += len(value)
        offsets.append(position)
    return position, offsets


def _object_members(value: bytes, metadata: bytes) -> dict[str, bytes]:
    """Field name -> encoded value, of an encoded object."""
    if value[0] & 3 != _OBJECT:
        raise NotAVariant("the rest of a shredded object is no object")
    header = value[0] >> 2
    offset_width, id_width = (header & 3) + 1, (header >> 2 & 3) + 1
    count_width = 4 if header >> 4 & 1 else 1
    count = _number(value, 1, count_width)
    ids_at = 1 + count_width
    offsets_at = ids_at + count * id_width
    base = offsets_at + (count + 1) * offset_width
    starts = [_number(value, offsets_at + i * offset_width, offset_width) for i in range(count + 1)]
    # Values lie side by side, but not necessarily in the order of the fields.
    ends = dict(pairwise(sorted(starts)))
    names = _names(metadata)
    return {
        names[_number(value, ids_at + i * id_width, id_width)]: value[
            base + starts[i] : base + ends[starts[i]]
        ]
        for i in range(count)
    }


def _primitive(array: pa.Array) -> Encode:
    """How the values of a typed column are encoded (VariantEncoding.md, Value Data)."""
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage  # UUID: 16 bytes
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind, types = array.type, pa.types
    if types.is_boolean(kind):
        flags = array.to_pylist()
        return lambda index: _TRUE if flags[index] else _FALSE
    if types.is_string(kind) or types.is_large_string(kind):
        texts = array.to_pylist()
        return lambda index: _string(texts[index].encode())
    if types.is_fixed_size_binary(kind) and kind.byte_width == 16:
        return _prefixed(20, array.to_pylist())
    if types.is_binary(kind) or types.is_large_binary(kind):
        blobs = array.to_pylist()
        return lambda index: bytes([15 << 2]) + _sized(blobs[index])
    if types.is_decimal(kind):
        return _decimal(array)
    type_id, letter, stored = _fixed(array)
    packer = struct.Struct(f"<B{letter}")
    numbers = array.view(stored).to_pylist() if stored is not None else array.to_pylist()
    return lambda index: packer.pack(type_id << 2, numbers[index])


def _fixed(array: pa.Array) -> tuple[int, str, pa.DataType | None]:
    """(type id, `struct` letter, integer type to view the values as)."""
    kind, types = array.type, pa.types
    plain = {pa.int8(): (3, "b"), pa.int16(): (4, "h"), pa.int32(): (5, "i"), pa.int64(): (6, "q"),
             pa.float64(): (7, "d"), pa.float32(): (14, "f")}  # fmt: skip
    if kind in plain:
        return *plain[kind], None
    if types.is_date32(kind):
        return 11, "i", pa.int32()
    if types.is_time64(kind) and kind.unit == "us":
        return 17, "q", pa.int64()
    if types.is_timestamp(kind) and kind.unit in ("us", "ns"):
        by_zone = {"us": (12, 13), "ns": (18, 19)}[kind.unit]
        return by_zone[kind.tz is None], "q", pa.int64()
    raise NotAVariant(f"a shredded column of type {kind} stands for no variant type")


def _prefixed(type_id: int, blobs: Sequence[bytes]) -> Encode:
    return lambda index: bytes([type_id << 2]) + blobs[index]


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


def _string(data: bytes) -> bytes:
    if len(data) < 64:
        return bytes([len(data) << 2 | 1]) + data
    return bytes([16 << 2]) + _sized(data)


def _decimal(array: pa.Array) -> Encode:
    kind = array.type
    type_id, width = (8, 4) if kind.precision <= 9 else (9, 8) if kind.precision <= 18 else (10, 16)
    numbers: list[Decimal] = array.to_pylist()
    head = bytes([type_id << 2, kind.scale])

    def encode(index: int) -> bytes:
        unscaled = int(numbers[index].scaleb(kind.scale, _WIDE))
        return head + unscaled.to_bytes(width, "little", signed=True)

    return encode
