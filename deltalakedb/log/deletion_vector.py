"""Deletion vectors: identity, place and content. Pure: takes bytes, reads nothing.

PROTOCOL.md, "Deletion Vectors" and "Deletion Vector Format".
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.paths import decode_path

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PORTABLE_MAGIC = 1681511377
NATIVE_MAGIC = 1681511376
_UUID_CHARACTERS = 20
_FILE_VERSION = b"\x01"

Z85_ALPHABET = (
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
)
_DIGITS = {character: value for value, character in enumerate(Z85_ALPHABET)}


def unique_id(descriptor: Mapping[str, Any]) -> str:
    """`storageType` + `pathOrInlineDv`, and `@offset` unless the offset is absent or null."""
    base = f"{descriptor['storageType']}{descriptor['pathOrInlineDv']}"
    offset = descriptor.get("offset")
    return base if offset is None else f"{base}@{offset}"


def unique_ids(descriptors: Sequence[Mapping[str, Any] | None]) -> list[str | None]:
    """`unique_id` of many that `fields.check_vectors` has seen; None for None."""
    return [
        None
        if d is None
        else f"{d['storageType']}{d['pathOrInlineDv']}"
        if (offset := d.get("offset")) is None
        else f"{d['storageType']}{d['pathOrInlineDv']}@{offset}"
        for d in descriptors
    ]


def vector_path(descriptor: Mapping[str, Any]) -> str | None:
    """Where the vector lies: a path relative to the table, an absolute one, or None when inline.

    Raises CORRUPT_DELETION_VECTOR for an unknown storage type or a malformed uuid.
    """
    kind, text = descriptor["storageType"], descriptor["pathOrInlineDv"]
    if kind == "i":
        return None
    if kind == "p":
        return decode_path(text)
    if kind != "u":
        raise _corrupt(descriptor, f"storage type {kind!r} is none of u, i, p")
    if len(text) < _UUID_CHARACTERS:
        raise _corrupt(descriptor, "the encoded uuid has fewer than 20 characters")
    prefix, encoded = text[:-_UUID_CHARACTERS], text[-_UUID_CHARACTERS:]
    name = f"deletion_vector_{uuid.UUID(bytes=_z85(descriptor, encoded))}.bin"
    return f"{prefix}/{name}" if prefix else name


def vector_range(descriptor: Mapping[str, Any]) -> tuple[int, int]:
    """(offset, length) in bytes to read of the vector's file: its size, data and checksum.

    Without an offset the file's format version comes first.
    """
    offset = descriptor.get("offset") or 0
    return offset, _number(descriptor, "sizeInBytes") + (8 if offset else 9)


def cardinality(descriptor: Mapping[str, Any]) -> int:
    """How many rows it deletes, as the log says. CORRUPT_DELETION_VECTOR where it doesn't."""
    return _number(descriptor, "cardinality")


def _number(descriptor: Mapping[str, Any], name: str) -> int:
    value = descriptor.get(name)
    if not isinstance(value, int):
        raise _corrupt(descriptor, f"the log has no {name} of it")
    return value


def deleted_rows(
    descriptor: Mapping[str, Any], stored: bytes | None = None
) -> npt.NDArray[np.int64]:
    """Ascending row indexes (from 0, physical order) that the vector deletes.

    `stored` holds the bytes of `vector_range` for a vector in a file, None for an inline one.
    Raises CORRUPT_DELETION_VECTOR when size, checksum, format or cardinality are wrong.
    """
    if descriptor["storageType"] == "i":
        # Z85 knows whole groups of four bytes: writers pad the last one, sizeInBytes tells.
        size = _number(descriptor, "sizeInBytes")
        data = _z85(descriptor, descriptor["pathOrInlineDv"])
        if not size <= len(data) < size + 4:
            raise _corrupt(descriptor, f"{len(data)} bytes instead of {size}")
        data = data[:size]
    else:
        data = _checked(descriptor, stored)
    rows = _rows(descriptor, data)
    if len(rows) != cardinality(descriptor):
        raise _corrupt(
            descriptor, f"it deletes {len(rows)} rows instead of {cardinality(descriptor)}"
        )
    return rows


def _checked(descriptor: Mapping[str, Any], stored: bytes | None) -> bytes:
    size = _number(descriptor, "sizeInBytes")
    data = stored or b""
    if not descriptor.get("offset"):
        if data[:1] != _FILE_VERSION:
            raise _corrupt(descriptor, "its file has an unknown format version")
        data = data[1:]
    if len(data) < size + 8:
        raise _corrupt(descriptor, f"its file ends after {len(data)} of {size + 8} bytes")
    (found,) = struct.unpack_from(">I", data)
    if found != size:
        raise _corrupt(descriptor, f"its file says {found} bytes, the log {size}")
    (checksum,) = struct.unpack_from(">I", data, size + 4)
    if checksum != zlib.crc32(data[4 : size + 4]):
        raise _corrupt(descriptor, "its CRC-32 checksum is wrong")
    return data[4 : size + 4]


def _rows(descriptor: Mapping[str, Any], data: bytes) -> npt.NDArray[np.int64]:
    import numpy as np
    from pyroaring import BitMap, BitMap64

    if len(data) < 4:
        raise _corrupt(descriptor, "it has no format number")
    little, big = struct.unpack("<I", data[:4])[0], struct.unpack(">I", data[:4])[0]
    try:
        if little == PORTABLE_MAGIC:
            bitmap = BitMap64.deserialize(data[4:])
            return np.frombuffer(bitmap.to_array(), dtype=np.uint64).astype(np.int64)
        if NATIVE_MAGIC in (little, big):
            order = "<" if little == NATIVE_MAGIC else ">"
            parts = [
                np.array(BitMap.deserialize(part).to_array(), dtype=np.int64) + (key << 32)
                for key, part in enumerate(_native_bitmaps(data, order))
            ]
            return np.concatenate([*parts, np.empty(0, dtype=np.int64)])
    except (ValueError, IndexError, struct.error, OverflowError) as error:
        raise _corrupt(descriptor, f"its bitmap can't be read ({error})") from error
    raise _corrupt(descriptor, f"format number {little} is unknown")


def _native_bitmaps(data: bytes, order: str) -> list[bytes]:
    """Spark's own array: a count, then size and bytes of each 32-bit bitmap, by high part."""
    (count,) = struct.unpack_from(f"{order}I", data, 4)
    position = 8
    parts: list[bytes] = []
    for _ in range(count):
        (size,) = struct.unpack_from(f"{order}I", data, position)
        position += 4
        if position + size > len(data):
            raise ValueError("a bitmap is cut off")
        parts.append(data[position : position + size])
        position += size
    return parts


def _z85(descriptor: Mapping[str, Any], text: str) -> bytes:
    """Z85 (rfc.zeromq.org/spec/32), and the padding that the Rust crate adds.

    85^5 exceeds 2^32, so no chunk may begin with '#'; that writer counts with it how many of the
    last chunk's four bytes are missing.
    """
    if len(text) % 5:
        raise _corrupt(descriptor, "its base85 text is not a multiple of 5 characters")
    out = bytearray()
    for start in range(0, len(text), 5):
        chunk = text[start : start + 5]
        width = 4
        if chunk[0] == "#" and start + 5 == len(text):
            missing = len(chunk) - len(chunk.lstrip("#"))
            chunk, width = chunk[missing:], 4 - missing
        value = 0
        for character in chunk:
            digit = _DIGITS.get(character)
            if digit is None:
                raise _corrupt(descriptor, f"{character!r} is no base85 character")
            value = value * 85 + digit
        if width < 1 or value >> (8 * width):
            raise _corrupt(descriptor, f"base85 chunk {chunk!r} stands for no bytes")
        out += value.to_bytes(width, "big")
    return bytes(out)


def _corrupt(descriptor: Mapping[str, Any], why: str) -> DeltaLakeError:
    shown = unique_id(descriptor)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return DeltaLakeError(
        DeltaLakeErrorKind.CORRUPT_DELETION_VECTOR,
        f"deletion vector {shown} can't be decoded: {why}; restore its file or the commit from a "
        "backup",
        deletion_vector=unique_id(descriptor),
    )
