"""Columns of files that conditions look at again and again, kept decoded for a while.

Who deletes single rows of one file asks the same column each time, and decoding it costs more than
all the rest. Only local files are kept, by their time and size, and only from the second time on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.fs

from deltalakedb import fork

_MOST_BYTES = 64 << 20
"""Of all that is kept."""
_MOST_OF_ONE = 24 << 20
_REMEMBERED = 1_000

Key = tuple[object, ...]

_lock = fork.Lock()
_seen: OrderedDict[Key, None] = OrderedDict()
_kept: OrderedDict[Key, tuple[list[pa.RecordBatch], int]] = OrderedDict()


def kept(
    filesystem: pyarrow.fs.FileSystem,
    path: str,
    what: Key,
    read: Callable[[], Iterator[pa.RecordBatch]],
) -> Iterator[pa.RecordBatch]:
    """The batches of `read`, maybe from memory; `what` tells which of the file's they are."""
    if not isinstance(filesystem, pyarrow.fs.LocalFileSystem):
        return read()
    found = filesystem.get_file_info(path)
    key = (path, found.size, found.mtime_ns, what)
    with _lock:
        batches, _ = _kept.get(key, (None, 0))
        if batches is not None:
            _kept.move_to_end(key)
            return iter(batches)
        again = key in _seen
        _seen[key] = None
        if len(_seen) > _REMEMBERED:
            _seen.popitem(last=False)
    return _keeping(key, read()) if again else read()


def _keeping(key: Key, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        size += batch.nbytes
        if size <= _MOST_OF_ONE:
            held.append(batch)
        else:
            held.clear()
        yield batch
    if size > _MOST_OF_ONE:
        return
    with _lock:
        _kept[key] = (held, size)
        while sum(each for _, each in _kept.values()) > _MOST_BYTES:
            _kept.popitem(last=False)
