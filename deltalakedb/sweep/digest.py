"""Digests of a catalog's rows that add up: of all tables, from one question a kind.

Each is a sum of hashes of rows, twice 64 bits, whatever their order; so the digest of a version is
that of an earlier one, plus what was added, minus what was removed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.records import HEAP, SLOTS, in_heap, load_files_name
from deltalakedb.log.rows import LIVE, file_keys
from deltalakedb.parity.facts import Hashes, Records, fact_hashes

_NUMBERS = (
    "modification_time",
    "num_records",
    "base_row_id",
    "default_row_commit_version",
    "added_version",
    "path_key",
    *(f"{end}{slot}" for slot in range(SLOTS) for end in ("lo", "hi")),
)
_TEXTS = ("stats", "tags", "dv", "clustering_provider", "extra")
_FILES = pa.schema(
    [
        *((n, pa.int64()) for n in ("load_id", "partition_id", "size", *_NUMBERS)),
        *((n, pa.string()) for n in ("path", "dv_id", *_TEXTS)),
    ]
)
FILE_COLUMNS = tuple(_FILES.names)
"""What a row of a file says but until when it is live."""
_NEVER_EMPTY = ("load_id", "partition_id", "size", "path", "added_version", "path_key")
_OFTEN_EMPTY = tuple(name for name in FILE_COLUMNS if name not in _NEVER_EMPTY)
_NULL = np.uint64(0x6A09E667F3BCC909)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_OTHER = np.uint64(0xD1B54A32D192ED03)


@dataclass(frozen=True)
class Sum:
    """A sum of row hashes. `count` rows; `low` and `high` modulo 2^64."""

    count: int = 0
    low: int = 0
    high: int = 0

    def __add__(self, other: Sum) -> Sum:
        return Sum(
            self.count + other.count,
            (self.low + other.low) % 2**64,
            (self.high + other.high) % 2**64,
        )

    def __sub__(self, other: Sum) -> Sum:
        return self + Sum(-other.count, -other.low % 2**64, -other.high % 2**64)

    def __str__(self) -> str:
        return f"{self.count}:{self.low:016x}{self.high:016x}"

    @classmethod
    def parse(cls, text: str) -> Sum:
        """What `str` of a sum means."""
        count, _, digits = text.partition(":")
        return cls(int(count), int(digits[:16], 16), int(digits[16:], 16))


@dataclass(frozen=True)
class FileSums:
    """Of a load's live files: `files` of what a log says too, `rows` of every column."""

    files: Sum = Sum()
    rows: Sum = Sum()
    total_bytes: int = 0

    def __add__(self, other: FileSums) -> FileSums:
        return FileSums(
            self.files + other.files,
            self.rows + other.rows,
            self.total_bytes + other.total_bytes,
        )

    def __sub__(self, other: FileSums) -> FileSums:
        return FileSums(
            self.files - other.files,
            self.rows - other.rows,
            self.total_bytes - other.total_bytes,
        )


def mix(value: Hashes) -> Hashes:
    """The finaliser of splitmix64: every input bit reaches every output bit."""
    value = value + _SPREAD
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def sum_of(hashes: Hashes) -> Sum:
    """The sum of some rows' hashes."""
    return Sum(len(hashes), int(hashes.sum(dtype=np.uint64)), int(mix(hashes ^ _OTHER).sum()))


def record_hashes(records: Records) -> Hashes:
    """A hash of each FILE_RECORD or LOG_RECORD: its file, and what is said of it."""
    return _file_hashes(records["key"], records["key2"], records["fact"])


def _file_hashes(key: npt.NDArray[Any], key2: npt.NDArray[Any], fact: Hashes) -> Hashes:
    key, key2 = (np.ascontiguousarray(k).view(np.uint64) for k in (key, key2))
    return mix(key ^ mix(key2 ^ mix(np.ascontiguousarray(fact))))


def file_sums(catalog: Catalog, load_ids: Collection[int]) -> dict[int, FileSums]:
    """Of the live files of loads, by load: those that share the heap by one question."""
    found: dict[int, FileSums] = {}
    heap = [load for load in load_ids if in_heap(load)]
    if heap:
        wanted = np.sort(np.array(heap, np.int64))
        for batch in _stream(catalog, HEAP, ""):
            _add(found, batch, wanted)
    for load in load_ids:
        if not in_heap(load):
            found[load] = FileSums()
            for batch in _stream(catalog, load_files_name(load), ""):
                _add(found, batch, np.array([load], np.int64))
    return {load: found.get(load, FileSums()) for load in load_ids}


@dataclass(frozen=True)
class Changes:
    """What a load's rows say of the versions after one, up to its head.

    `new` files are live and began after it; `closed` ones began before and have ended, `keys` are
    theirs: (key, key2) as rows of int64.
    """

    new: FileSums
    closed: FileSums
    keys: npt.NDArray[np.int64]


def changes_since(catalog: Catalog, load_id: int, after: int) -> Changes:
    """The rows of a load that a version > `after` has added or closed."""
    condition = f"load_id = {int(load_id)} AND "
    source, wanted = load_files_name(load_id), np.array([load_id], np.int64)
    new: dict[int, FileSums] = {}
    closed: dict[int, FileSums] = {}
    keys = [np.empty((0, 2), np.int64)]
    live = f"{condition}added_version > {int(after)} AND removed_version = {LIVE}"
    for batch in _stream(catalog, source, live):
        _add(new, batch, wanted)
    ended = (
        f"{condition}removed_version > {int(after)} AND removed_version < {LIVE} "
        f"AND added_version <= {int(after)}"
    )
    for batch in _stream(catalog, source, ended):
        _add(closed, batch, wanted)
        both = file_keys(batch.column("path").to_pylist(), _vectors(batch))
        keys.append(np.stack(both, axis=1))
    return Changes(
        new.get(load_id, FileSums()), closed.get(load_id, FileSums()), np.concatenate(keys)
    )


def _stream(catalog: Catalog, source: str, where: str) -> Iterator[pa.RecordBatch]:
    """Rows of files; columns that all of them leave empty aren't asked for, nor given."""
    dialect = catalog.reader.dialect
    condition = where or f"removed_version = {LIVE}"
    counts = ", ".join(f"count({name})" for name in _OFTEN_EMPTY)
    [there] = catalog.reader.rows(f"SELECT {counts} FROM {source} WHERE {condition}")
    empty = {name for name, count in zip(_OFTEN_EMPTY, there, strict=True) if not count}
    columns = pa.schema([field for field in _FILES if field.name not in empty])
    sql = f"SELECT {', '.join(columns.names)} FROM {source} WHERE {condition}"
    with dialect.errors():
        yield from dialect.stream(sql, columns)


def _add(found: dict[int, FileSums], batch: pa.RecordBatch, wanted: npt.NDArray[np.int64]) -> None:
    loads = _ints(batch, "load_id")
    place = np.minimum(np.searchsorted(wanted, loads), len(wanted) - 1)
    mine = wanted[place] == loads
    if not mine.all():
        batch = batch.filter(pa.array(mine))
        loads = loads[mine]
    if not len(loads):
        return
    files, rows, sizes = _hashes(batch)
    order = np.argsort(loads, kind="stable")
    loads = loads[order]
    starts = np.flatnonzero(np.concatenate([[True], loads[1:] != loads[:-1]]))
    counts = np.diff(np.concatenate([starts, [len(loads)]]))
    columns = [
        np.add.reduceat(values[order], starts)
        for values in (files, mix(files ^ _OTHER), rows, mix(rows ^ _OTHER), sizes)
    ]
    for n, load in enumerate(loads[starts].tolist()):
        count = int(counts[n])
        low, high, rlow, rhigh, size = (int(column[n]) for column in columns)
        sums = FileSums(Sum(count, low, high), Sum(count, rlow, rhigh), size)
        found[load] = found.get(load, FileSums()) + sums


def _hashes(batch: pa.RecordBatch) -> tuple[Hashes, Hashes, npt.NDArray[np.int64]]:
    key, key2 = file_keys(batch.column("path").to_pylist(), _vectors(batch))
    vectors = batch.column("dv") if "dv" in batch.schema.names else pa.nulls(len(batch))
    fact = fact_hashes(batch.column("size"), batch.column("partition_id"), vectors)
    files = _file_hashes(key, key2, fact)
    rows = files
    given = set(batch.schema.names)
    for name in _NUMBERS:
        if name not in given:
            rows = mix(rows ^ _NULL)
            continue
        column = batch.column(name)
        values = _ints(batch, name).view(np.uint64)
        if column.null_count:
            empty = column.is_null().to_numpy(zero_copy_only=False)
            values = np.where(empty, _NULL, values)
        rows = mix(rows ^ values)
    for name in _TEXTS:
        if name not in given or batch.column(name).null_count == len(batch):
            rows = mix(rows ^ _NULL)
            continue
        rows = mix(rows ^ text_hashes(batch.column(name).to_pylist()))
    return files, rows, _ints(batch, "size")


def _vectors(batch: pa.RecordBatch) -> list[str | None]:
    if "dv_id" not in batch.schema.names:
        return [None] * len(batch)
    found: list[str | None] = batch.column("dv_id").to_pylist()
    return found


def text_hashes(texts: Sequence[str | None]) -> Hashes:
    """64 bits for each text; those of nothing for None."""
    null = int(_NULL)
    digest = xxhash.xxh3_64_intdigest
    return np.fromiter(
        (null if t is None else digest(t.encode()) for t in texts), np.uint64, len(texts)
    )


def _ints(batch: pa.RecordBatch, name: str) -> npt.NDArray[np.int64]:
    column = batch.column(name).fill_null(0)
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.int64)


HELD = {
    "dl_metadata": ("body", "metadata_id", "schema_string", "partition_columns", "configuration"),
    "dl_protocols": ("body", "min_reader_version", "min_writer_version", "reader_features",
                     "writer_features"),
    "dl_txns": ("app_id", "version", "last_updated"),
    "dl_domains": ("domain", "configuration"),
}  # fmt: skip
_WHOLE = {
    "dl_partitions": ("partition_id", "partition_values", "num_files", "total_bytes", "emptied_at"),
    "dl_versions": ("version", "readable", "commit_time", "log_bytes", "log_digest", "live_files",
                    "live_bytes", "operation", "num_adds", "num_removes", "bytes_added"),
}  # fmt: skip


_ONLY = {"dl_partitions": " WHERE num_files > 0"}
"""Emptied ones go when versions are forgotten."""


def state_sums(catalog: Catalog, load_ids: Collection[int]) -> dict[int, dict[str, Sum]]:
    """Of the rows of the tables beside the files, by load and table: one question a table.

    What holds at the head of metadata, protocols, transactions and domains; partitions and
    versions whole.
    """
    wanted = set(load_ids)
    found: dict[int, dict[str, Sum]] = {load: {} for load in wanted}
    for source, columns in (*HELD.items(), *_WHOLE.items()):
        held = f" WHERE removed_version = {LIVE}" if source in HELD else _ONLY.get(source, "")
        asked = f"SELECT load_id, {', '.join(columns)} FROM {source}{held}"
        hashes: dict[int, list[int]] = {}
        for load, *values in catalog.reader.rows(asked):
            if load in wanted:
                hashes.setdefault(load, []).append(_row_hash(values))
        for load in wanted:
            found[load][source] = sum_of(np.array(hashes.get(load, []), np.uint64))
    return found


def values_sum(rows: Iterable[Sequence[object]]) -> Sum:
    """Of rows of a table beside the files, each the columns that its digest is of."""
    return sum_of(np.array([_row_hash(values) for values in rows], np.uint64))


def _row_hash(values: Sequence[object]) -> int:
    text = "\x1f".join("\x00" if v is None else str(v) for v in values)
    return xxhash.xxh3_64_intdigest(text.encode())
