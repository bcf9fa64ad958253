"""The Arrow form of log actions: one schema for commits, checkpoints, the catalog and parity."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from deltalakedb.log.lives import LIVE as LIVE

FILE_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("dv_id", pa.string()),
        pa.field("partition_values", pa.string(), nullable=False),
        pa.field("size", pa.int64()),
        pa.field("modification_time", pa.int64()),
        pa.field("data_change", pa.bool_()),
        pa.field("num_records", pa.int64()),
        pa.field("stats", pa.string()),
        pa.field("tags", pa.string()),
        pa.field("dv", pa.string()),
        pa.field("base_row_id", pa.int64()),
        pa.field("default_row_commit_version", pa.int64()),
        pa.field("clustering_provider", pa.string()),
        pa.field("extra", pa.string()),
        pa.field("added_version", pa.int64(), nullable=False),
        pa.field("removed_version", pa.int64(), nullable=False),
        pa.field("removed_at", pa.int64()),
        pa.field("path_key", pa.int64(), nullable=False),
        pa.field("path_key2", pa.int64(), nullable=False),
        pa.field("partition_id", pa.int64(), nullable=False),
    ]
)
"""One row is one life of a logical file (PROTOCOL.md, Add File and Remove File).

`path` is raw (as in the log); `partition_values` is canonical JSON; `path_key`, `path_key2` are
the two halves of the 128-bit `file_keys`; versions are half-open: [added, removed).
"""

CLOSING_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("dv_id", pa.string()),
        pa.field("partition_values", pa.string(), nullable=False),
        pa.field("size", pa.int64()),
        pa.field("data_change", pa.bool_()),
        pa.field("dv", pa.string()),
        pa.field("tags", pa.string()),
        pa.field("extra", pa.string()),
        pa.field("removed_version", pa.int64(), nullable=False),
        pa.field("removed_at", pa.int64()),
        pa.field("path_key", pa.int64(), nullable=False),
        pa.field("path_key2", pa.int64(), nullable=False),
    ]
)
"""One row is one `remove` whose file was added before the range at hand."""

VERSION_SCHEMA = pa.schema(
    [
        pa.field("version", pa.int64(), nullable=False),
        pa.field("file_time", pa.int64()),
        pa.field("in_commit_time", pa.int64()),
        pa.field("info_time", pa.int64()),
        pa.field("operation", pa.string()),
        pa.field("operation_parameters", pa.string()),
        pa.field("operation_metrics", pa.string()),
        pa.field("engine_info", pa.string()),
        pa.field("txn_id", pa.string()),
        pa.field("read_version", pa.int64()),
        pa.field("isolation_level", pa.string()),
        pa.field("is_blind_append", pa.bool_()),
        pa.field("user_metadata", pa.string()),
        pa.field("commit_info", pa.string()),
        pa.field("num_adds", pa.int64()),
        pa.field("num_removes", pa.int64()),
        pa.field("bytes_added", pa.int64()),
        pa.field("log_bytes", pa.int64()),
        pa.field("log_digest", pa.string()),
    ]
)
"""One row is one commit: its provenance, its counts, and the fingerprint of its log file.

Times are milliseconds since 1970; `info_time` is commitInfo.timestamp, `file_time` the log file's.
"""

CHANGE_SCHEMA = pa.schema(
    [
        pa.field("version", pa.int64(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("partition_values", pa.string(), nullable=False),
        pa.field("size", pa.int64()),
        pa.field("tags", pa.string()),
    ]
)
"""One row is one `cdc` action (PROTOCOL.md, Add CDC File)."""

OTHER_SCHEMA = pa.schema(
    [
        pa.field("version", pa.int64(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        pa.field("body", pa.string(), nullable=False),
    ]
)
"""One row is one action that PROTOCOL.md does not define, kept as it stood."""

_DIGEST = xxhash.xxh3_128_digest


def file_keys(
    paths: list[str], dv_ids: list[str | None]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The 128-bit hash of each logical file's key (path, dv unique id), as two int64 arrays.

    128 bits: two different files among 10^11 share one with a probability of 10^-17.
    """
    digest = _DIGEST
    joined = b"".join(
        [
            digest(p.encode() if d is None else f"{p}\0{d}".encode())
            for p, d in zip(paths, dv_ids, strict=True)
        ]
    )
    both = np.frombuffer(joined, dtype=">i8").reshape(-1, 2)
    return both[:, 0].astype(np.int64), both[:, 1].astype(np.int64)


def file_key(path: str) -> tuple[int, int]:
    """`file_keys` of one file without a deletion vector."""
    digest = _DIGEST(path.encode())
    from_bytes = int.from_bytes
    return from_bytes(digest[:8], "big", signed=True), from_bytes(digest[8:], "big", signed=True)


def empty(schema: pa.Schema) -> pa.Table:
    """No rows of a schema."""
    return schema.empty_table()


def column(values: list[Any], field: pa.Field) -> pa.Array:
    """Values as a column of a schema's type."""
    return pa.array(values, field.type)


def without(files: pa.Table, removed: pa.Table) -> pa.Table:
    """The files, told by path and deletion vector, that aren't among the removed ones."""
    gone = set(zip(*(removed.column(n).to_pylist() for n in ("path", "dv_id")), strict=True))
    if not gone:
        return files
    lives = zip(*(files.column(n).to_pylist() for n in ("path", "dv_id")), strict=True)
    return files.filter(pa.array([life not in gone for life in lives], pa.bool_()))
