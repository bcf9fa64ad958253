"""Deletion vectors: rows to a descriptor, and many vectors to one file.

PROTOCOL.md, "Deletion Vectors", "Deletion Vector Format" and "Deletion Vector Descriptor Schema".
"""

from __future__ import annotations

import struct
import uuid
import zlib
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.deletion_vector import PORTABLE_MAGIC, Z85_ALPHABET
from deltalakedb.storage.store import ObjectStore

Rows = npt.NDArray[np.int64]

INLINE_BYTES = 256
"""Vectors up to this size stand in the log itself; others go to a file."""
_GREATEST_ROW = 2**63 - 1


def vector_bytes(rows: Rows) -> bytes:
    """The serialised vector: format number and portable 64-bit Roaring bitmap.

    `rows` are row indexes in physical order, from 0; duplicates and order don't matter.
    """
    from pyroaring import BitMap

    rows = ascending(rows)
    if len(rows) and (int(rows[0]) < 0 or int(rows[-1]) >= _GREATEST_ROW):
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            "a deletion vector can't have a negative row index; please report this",
        )
    high = rows >> 32
    ends = [*(np.flatnonzero(np.diff(high)) + 1).tolist(), len(rows)] if len(rows) else []
    parts = [struct.pack("<IQ", PORTABLE_MAGIC, len(ends))]
    start = 0
    for end in ends:
        low = (rows[start:end] & 0xFFFF_FFFF).astype(np.uint32)
        # Of numpy's arrays each number becomes an object first, of these none.
        bitmap = BitMap(array("I", low.tobytes()))
        bitmap.run_optimize()
        parts += [struct.pack("<I", int(high[start])), bitmap.serialize()]
        start = end
    return b"".join(parts)


def ascending(rows: Rows) -> Rows:
    """Rows in ascending order, each once; those that are so aren't sorted again."""
    return rows if len(rows) < 2 or bool((rows[1:] > rows[:-1]).all()) else np.unique(rows)


def inline_descriptor(rows: Rows) -> dict[str, Any]:
    """The descriptor of a vector that stands in the log."""
    rows = ascending(rows)
    data = vector_bytes(rows)
    return {
        "storageType": "i",
        "pathOrInlineDv": z85(data),
        "sizeInBytes": len(data),
        "cardinality": len(rows),
    }


def z85(data: bytes) -> str:
    """Base85 by Z85 (rfc.zeromq.org/spec/32), of bytes filled up with zeros to fours.

    How many count, `sizeInBytes` says.
    """
    padded = data + bytes(-len(data) % 4)
    out: list[str] = []
    for (value,) in struct.iter_unpack(">I", padded):
        digits = []
        for _ in range(5):
            value, digit = divmod(value, 85)
            digits.append(Z85_ALPHABET[digit])
        out += reversed(digits)
    return "".join(out)


class VectorFile:
    """Gathers vectors, and writes those that are long as one file at the table's root.

    `add` gives a vector's descriptor at once: the file's name and all offsets are known before it
    is written. `close` writes it; until then its descriptors name nothing.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        inline_bytes: int = INLINE_BYTES,
        name_id: uuid.UUID | None = None,
    ) -> None:
        """`name_id` names the file; a new one unless given."""
        self._store = store
        self._inline_bytes = inline_bytes
        self._id = uuid.uuid4() if name_id is None else name_id
        self._parts: list[bytes] = [b"\x01"]
        self._offset = 1

    @property
    def name(self) -> str | None:
        """The object that `close` makes; None while all vectors are inline."""
        return f"deletion_vector_{self._id}.bin" if len(self._parts) > 1 else None

    def add(self, rows: Rows | Sequence[int]) -> dict[str, Any]:
        """The descriptor of a vector that deletes these rows (physical order, from 0)."""
        indexes = ascending(np.asarray(rows, dtype=np.int64))
        if len(indexes) * 2 <= self._inline_bytes:
            # 2 bytes a row is the least a vector of single rows takes.
            inline = inline_descriptor(indexes)
            if inline["sizeInBytes"] <= self._inline_bytes:
                return inline
        data = vector_bytes(indexes)
        offset = self._offset
        self._parts += [struct.pack(">I", len(data)), data, struct.pack(">I", zlib.crc32(data))]
        self._offset += len(data) + 8
        return {
            "storageType": "u",
            "pathOrInlineDv": z85(self._id.bytes),
            "offset": offset,
            "sizeInBytes": len(data),
            "cardinality": len(indexes),
        }

    def close(self) -> int:
        """Write the file if any vector is in it; its bytes."""
        name = self.name
        if name is None:
            return 0
        data = b"".join(self._parts)
        self._store.put(name, data)
        return len(data)
