"""Objects that are too long to be held: read some bytes at a time, and compared so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import Enum, auto
from io import BytesIO
from typing import BinaryIO, cast

from deltalakedb.storage.store import Content, ObjectStore

PIECE_BYTES = 4 << 20


@dataclass(frozen=True)
class StoredFile:
    """An object of `size` bytes as `storage.store.Pieces`."""

    store: ObjectStore
    name: str
    size: int

    def __iter__(self) -> Iterator[bytes]:
        with closing(self.store.open_input(self.name)) as file:
            while piece := file.read(PIECE_BYTES):
                yield piece


class Held(Enum):
    """How an object compares with what it should hold."""

    SAME = auto()
    TORN = auto()
    """It is a beginning of that, or empty."""
    OTHER = auto()


def compare(store: ObjectStore, name: str, data: Content) -> Held:
    """What an object holds against `data`. NOT_FOUND where there is none."""
    if isinstance(data, bytes):
        # One request, where a file of pieces asks for size and bytes; a byte more tells of more.
        with BytesIO(store.read_range(name, 0, len(data) + 1)) as small:
            return _compared(small, (data,))
    with closing(store.open_input(name)) as file:
        return _compared(cast("BinaryIO", file), data)


def _compared(file: BinaryIO, pieces: Iterable[bytes]) -> Held:
    for piece in pieces:
        there = file.read(len(piece))
        if there != piece:
            # Shorter than asked for: the object ends here.
            return Held.TORN if len(there) < len(piece) and piece.startswith(there) else Held.OTHER
    return Held.OTHER if file.read(1) else Held.SAME
