"""A large commit in slices, as a large row group is read: one pass, a bounded memory.

Slice k of n holds the lines that begin in its n-th part of the bytes. The commit's own row comes
with the last one. Nothing of a slice is reconciled by itself, as the rules for a file that occurs
twice are those of the whole commit.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from deltalakedb.log.action_tables import Settled
from deltalakedb.log.commit import PIECE_BYTES, ActionReader, ActionRows, OpenCommit


def slice_rows(
    source: pa.NativeFile, size: int, count: int, commit: OpenCommit
) -> Iterator[ActionRows]:
    """The rows of each of `count` slices of a commit file of `size` bytes, in order.

    Raises CORRUPT_COMMIT.
    """
    rest, begin, more = b"", 0, True
    settled = Settled(), Settled()
    for number in range(1, count + 1):
        reader = ActionReader(settled)
        # What a writer appended since the listing belongs to the last slice.
        end = size * number // count if number < count else None
        while more or rest:
            if end is not None and begin >= end:
                break
            cut = _cut(rest, begin, end)
            if cut == 0 and more:
                found = source.read(PIECE_BYTES)
                more = bool(found)
                rest += found
                continue
            piece = rest[: cut or len(rest)]
            rest = rest[len(piece) :]
            begin += len(piece)
            commit.read(piece, reader)
            reader.settle()
        if number == count:
            commit.end(reader)
        yield reader.finish()


def _cut(data: bytes, begin: int, end: int | None) -> int:
    """Where the whole lines of `data` end that begin before `end`; 0 for none.

    `begin`: where in the file `data` begins, which is where a line does.
    """
    if end is not None and begin + len(data) >= end:
        return data.find(b"\n", end - begin - 1) + 1
    return data.rfind(b"\n") + 1
