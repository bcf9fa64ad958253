"""Columns of files that conditions look at again and again, kept decoded for a while.

Who deletes single rows of one file asks the same column each time, and opening the file and
decoding it costs more than all the rest. Only local files are kept, by their time and size, and
only from the second time on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.fs

from deltalakedb import fork
from deltalakedb.scan.columns import Convert

MOST_ROWS = 4 << 20
"""Of a file whose columns are kept: more aren't decoded only to be kept."""
_MOST_OF_ONE = 24 << 20
"""Decoded bytes of a file's columns."""
_MOST_BYTES = 64 << 20
"""Of all that is kept."""
_REMEMBERED = 1_000

Key = tuple[object, ...]
Stored = tuple[pa.RecordBatch | None, int]
"""Columns as a file has them, and rows."""


@dataclass(frozen=True)
class Decoded:
    """All rows of a file, of some columns, in physical order.

    `found`: by the table's names, how the file has them. `bounds`: by number of a batch, what
    `predicate.mask.bounds_of` says of its columns, once somebody has looked at it.
    """

    num_rows: int
    found: Mapping[str, tuple[str, Convert]]
    batches: Sequence[pa.RecordBatch]
    bounds: dict[int, Mapping[str, tuple[Any, Any]]] = field(default_factory=dict, compare=False)


_lock = fork.Lock()
_seen: OrderedDict[Key, None] = OrderedDict()
_kept: OrderedDict[Key, tuple[Decoded, int]] = OrderedDict()


def key_of(filesystem: pyarrow.fs.FileSystem, path: str, what: Key) -> Key | None:
    """What `find` and `keep` know a file's columns by; None where nothing is kept."""
    if not isinstance(filesystem, pyarrow.fs.LocalFileSystem):
        return None
    found = filesystem.get_file_info(path)
    return (path, found.size, found.mtime_ns, what)


def find(key: Key | None) -> Decoded | None:
    """What is kept under a key."""
    if key is None:
        return None
    with _lock:
        found = _kept.get(key)
        if found is None:
            return None
        _kept.move_to_end(key)
        return found[0]


def was_asked(key: Key | None) -> bool:
    """Whether somebody asked this before; from now on somebody has."""
    if key is None:
        return False
    with _lock:
        again = key in _seen
        _seen[key] = None
        if len(_seen) > _REMEMBERED:
            _seen.popitem(last=False)
        return again


class Keeping:
    """Holds what is read, while that is little."""

    def __init__(self) -> None:
        self.batches: list[pa.RecordBatch] = []
        self.size = 0

    def noting(self, parts: Iterable[Stored]) -> Iterator[Stored]:
        """The parts, as they come."""
        for batch, length in parts:
            if batch is not None:
                self.size += batch.nbytes
                if self.size <= _MOST_OF_ONE:
                    self.batches.append(batch)
                else:
                    self.batches.clear()
            yield batch, length


def keep(
    key: Key | None, num_rows: int, found: Mapping[str, tuple[str, Convert]], read: Keeping
) -> None:
    """Keep what was read of a whole file, unless it is large."""
    if key is None or read.size > _MOST_OF_ONE:
        return
    with _lock:
        _kept[key] = (Decoded(num_rows, found, tuple(read.batches)), read.size)
        while sum(each for _, each in _kept.values()) > _MOST_BYTES:
            _kept.popitem(last=False)
