"""What parity compares of a file, as fixed-size numpy records: 25 to 38 bytes a file.

Both sides hash a file's key and facts in the same way, so that comparing a million files is a
sort of integers; texts are fetched again only for files that differ. Pure.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from deltalakedb.replay.events import NO_TIME, OPEN, Events, resolve
from deltalakedb.replay.state import RangeState

Records = npt.NDArray[np.void]
Hashes = npt.NDArray[np.uint64]

LOG_RECORD = np.dtype(
    [
        ("key", "<i8"),
        ("key2", "<i8"),
        ("version", "<i8"),
        ("fact", "<u8"),
        ("part", "<i4"),
        ("kind", "i1"),
        ("stats", "?"),
    ]
)
"""An action of the log: `kind` as in `replay.events`, `part` the range that it was read from."""

FILE_RECORD = np.dtype(
    [("key", "<i8"), ("key2", "<i8"), ("fact", "<u8"), ("part", "<i4"), ("stats", "?")]
)
"""A live file of one side; `part` is 0 on the catalog's."""

_NO_SIZE = np.iinfo(np.int64).min
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def fact_hashes(size: pa.Array, partition_ids: pa.Array, dv: pa.Array) -> Hashes:
    """64 bits for each file's size, partition values and deletion vector's extent.

    A partition id is a hash of the partition values, so it stands in for them; which vector it
    is belongs to the file's key.
    """
    sizes = _ints(pc.fill_null(size, int(_NO_SIZE))).view(np.uint64)
    hashes = _mix(_mix(sizes) ^ _ints(partition_ids).view(np.uint64))
    rows = np.flatnonzero(pc.is_valid(dv).to_numpy(zero_copy_only=False))
    if len(rows):
        texts = dv.take(pa.array(rows)).to_pylist()
        hashes[rows] ^= np.fromiter((_extent_hash(t) for t in texts), np.uint64, len(rows))
    return hashes


def vector_extent(descriptor: str | None) -> list[Any] | None:
    """[cardinality, sizeInBytes] of a deletion vector's JSON descriptor."""
    if descriptor is None:
        return None
    try:
        found = orjson.loads(descriptor)
        return [found.get("cardinality"), found.get("sizeInBytes")]
    except (orjson.JSONDecodeError, AttributeError):
        return [None, None]


def _extent_hash(descriptor: str) -> int:
    return xxhash.xxh3_64_intdigest(repr(vector_extent(descriptor)).encode())


def _mix(value: Hashes) -> Hashes:
    """The finaliser of splitmix64: every input bit reaches every output bit."""
    value = value + _SPREAD
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _ints(column: pa.Array) -> npt.NDArray[np.int64]:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.int64)


def log_records(state: RangeState, part: int) -> Records:
    """The actions of a replayed range: its lives, and the removes of files from before it."""
    events = state.events(part)
    records = np.zeros(len(events), dtype=LOG_RECORD)
    for name in ("key", "key2", "version", "part", "kind"):
        records[name] = getattr(events, name)
    count = state.files.num_rows
    columns = {n: flat(state.files.column(n)) for n in ("size", "partition_id", "dv", "stats")}
    records["fact"][:count] = fact_hashes(columns["size"], columns["partition_id"], columns["dv"])
    records["stats"][:count] = columns["stats"].is_valid().to_numpy(zero_copy_only=False)
    return records


def flat(column: pa.ChunkedArray) -> pa.Array:
    """One array of a column of several chunks."""
    found = column.combine_chunks()
    return pa.concat_arrays(found.chunks) if isinstance(found, pa.ChunkedArray) else found


def live_files(records: Records) -> Records:
    """Of all actions of some logical files, the adds that are live at the end."""
    count = len(records)
    events = Events(
        key=records["key"],
        key2=records["key2"],
        version=records["version"],
        kind=records["kind"],
        part=np.broadcast_to(np.int32(0), count),
        row=np.arange(count),
        at=np.broadcast_to(np.int64(NO_TIME), count),
    )
    live = records["kind"] == OPEN
    live[resolve(events, [0])[0].rows] = False
    found = np.empty(np.count_nonzero(live), dtype=FILE_RECORD)
    for name in FILE_RECORD.names or ():
        found[name] = records[name][live]
    return found


def bucket_of(keys: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Which of `count` (a power of two) buckets each key belongs to: its highest bits."""
    if count == 1:
        return np.zeros(len(keys), dtype=np.int64)
    shift = np.uint64(64 - (count.bit_length() - 1))
    return (np.ascontiguousarray(keys).view(np.uint64) >> shift).astype(np.int64)
