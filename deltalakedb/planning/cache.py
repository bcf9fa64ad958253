"""The local cache: live file lists of versions as Arrow files, mapped into memory.

A list is keyed by catalog, table, epoch, load and version, so it is never stale; it may be mapped
by several processes while another removes it, and is dropped when it isn't intact.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from deltalakedb import fork, measures
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.reading.proof import (
    complete_batches,
    proven,
    proven_batches,
    proven_rows,
)
from deltalakedb.catalog.reading.queries import file_schema, live_predicate, totals_at
from deltalakedb.catalog.records import TableRow, load_condition, load_files_name
from deltalakedb.config import CacheConfig, EvictionPolicy
from deltalakedb.planning.cache_file import CacheFile, lists_in, sweep, write_list

CACHED_COLUMNS = (
    "path",
    "size",
    "modification_time",
    "num_records",
    "dv_id",
    "dv",
    "base_row_id",
    "default_row_commit_version",
    "partition_id",
    "stats",
)
_FEW_CATALOGS = 16
_LOOK_AGAIN_SECONDS = 0.2
"""After which a list that wasn't there is looked for again: another process may have made it."""
_ADVANCED_BY = 100_000
"""Files gone since the older version, beyond which its list is no help."""


@dataclass(frozen=True)
class CacheStats:
    """Look-ups of this table object, and what the cache holds: entries, bytes."""

    hits: int = 0
    misses: int = 0
    entries: int = 0
    bytes: int = 0

    @property
    def hit_ratio(self) -> float:
        """Hits among all look-ups; 1 before the first, as nothing was missed."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 1.0


class _TooLarge(Exception):
    """The list being written would not fit into the cache."""


class FileCache:
    """File lists in `config.directory`, bounded in entries and bytes."""

    def __init__(self, config: CacheConfig) -> None:
        self._config = config
        self._root = Path(config.directory) if config.directory else default_directory()
        self._mapped: dict[tuple[Path, int, int], tuple[CacheFile, pa.Table]] = {}
        self._too_large: set[tuple[Path, int]] = set()
        self._absent: dict[tuple[Path, int, int], float] = {}
        """When the list of the last plan's version wasn't there."""
        self._hits = 0
        self._misses = 0
        self._lock = fork.Lock()
        self._building = fork.Lock()

    def stats(self) -> CacheStats:
        entries = self._entries()
        return CacheStats(self._hits, self._misses, len(entries), sum(e.size for e in entries))

    def files(
        self, catalog: LightCatalog, row: TableRow, version: int, *, build: bool
    ) -> pa.Table | None:
        """The live files of a version: CACHED_COLUMNS and the keys of the table's slots.

        Without `build` only what is there already; with it the list is made from an older
        version's (asking SQL for what changed) or from SQL, unless it is too large to keep.
        """
        # Where history was lost, a version may be another one than it was: then the epoch is too.
        name = f"{row.table_id}.{row.epoch}"
        if not build and not self._may_have(catalog, name):
            with self._lock:
                self._misses += 1
            measures.count(measures.CACHE_REQUESTS, "miss")
            return None
        folder = self._root / catalog.catalog_id / name
        key = (folder, row.live_load, version)
        if not build and time.monotonic() - self._absent.get(key, -math.inf) < _LOOK_AGAIN_SECONDS:
            with self._lock:
                self._misses += 1
            return None
        schema = file_schema(cached_columns(row))
        found = self._map(folder, row.live_load, version, schema)
        with self._lock:
            if found is not None:
                self._hits += 1
            else:
                self._misses += 1
        measures.count(measures.CACHE_REQUESTS, "miss" if found is None else "hit")
        if found is None and not build:
            self._absent = {key: time.monotonic()}
        if found is not None or not build or (folder, row.live_load) in self._too_large:
            return found
        with self._building:
            # Another thread may have built it meanwhile.
            found = self._map(folder, row.live_load, version, schema)
            if found is None:
                found = self._build(folder, catalog, row, version, schema)
            self._absent = {}
            return found

    def _may_have(self, catalog: LightCatalog, name: str) -> bool:
        """Whether a look for lists is worth asking which catalog this is."""
        if catalog.knows_id:
            return True
        try:
            catalogs = os.listdir(self._root)
        except OSError:
            return False
        return len(catalogs) > _FEW_CATALOGS or any(
            (self._root / c / name).exists() for c in catalogs
        )

    def _build(
        self, folder: Path, catalog: LightCatalog, row: TableRow, version: int, schema: pa.Schema
    ) -> pa.Table | None:
        expected = totals_at(catalog, row, version)
        batches = complete_batches(
            self._batches(folder, catalog, row, version, schema), row, version, expected
        )
        try:
            made = write_list(folder, row.live_load, version, self._bounded(batches, row), schema)
        except _TooLarge:
            self._too_large.add((folder, row.live_load))
            return None
        except OSError:
            # A cache that can't be written (full or read-only disk) is no reason to fail.
            return None
        self._evict(keep=made)
        return self._map(folder, row.live_load, version, schema)

    def _batches(
        self, folder: Path, catalog: LightCatalog, row: TableRow, version: int, schema: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        older = [e.version for e in lists_in(folder) if e.load == row.live_load]
        for base in sorted((v for v in older if v < version), reverse=True):
            table = self._map(folder, row.live_load, base, schema, as_base=True)
            gone = None if table is None else _gone(catalog, row, base, version)
            if table is not None and gone is not None:
                yield from _without(table, gone)
                added = f"added_version > {base} AND {live_predicate(row, version)}"
                yield from _from_sql(catalog, row, version, added, schema)
                return
        yield from _from_sql(catalog, row, version, live_predicate(row, version), schema)

    def _bounded(
        self, batches: Iterator[pa.RecordBatch], row: TableRow
    ) -> Iterator[pa.RecordBatch]:
        """The same; raises as soon as it is clear that they won't fit."""
        rows = size = 0
        for batch in batches:
            rows, size = rows + batch.num_rows, size + batch.get_total_buffer_size()
            expected = size if rows >= row.num_files else size / max(rows, 1) * row.num_files
            if expected > self._config.max_bytes:
                raise _TooLarge
            yield batch

    def _map(
        self, folder: Path, load: int, version: int, schema: pa.Schema, *, as_base: bool = False
    ) -> pa.Table | None:
        """The list if it is there and intact. To make another of it is no use of its own."""
        with self._lock:
            known = self._mapped.get((folder, load, version))
        if known is not None and known[0].intact() and not self._expired(known[0]):
            if not as_base:
                known[0].note_use()
            return known[1]
        with self._lock:
            self._mapped.pop((folder, load, version), None)
        for entry in lists_in(folder):
            if (entry.load, entry.version) != (load, version):
                continue
            found = None if self._expired(entry) else entry.map(schema)
            if found is None:
                entry.remove()
                continue
            if not as_base:
                with self._lock:
                    self._mapped[folder, load, version] = entry, found
                entry.note_use()
            return found
        return None

    def _expired(self, entry: CacheFile) -> bool:
        ttl = self._config.ttl_seconds
        return ttl is not None and time.time() - entry.made > ttl

    def _entries(self) -> list[CacheFile]:
        return [entry for folder in self._root.glob("*/*") for entry in lists_in(folder)]

    def _evict(self, keep: CacheFile) -> None:
        """Down to the bounds, in the order of the policy; first what nobody can use any more."""
        entries = []
        for entry in self._entries():
            if entry.intact() and not self._expired(entry):
                entries.append((self._rank(entry), entry))
            else:
                entry.remove()
        entries.sort(key=lambda ranked: (ranked[1].path == keep.path, ranked[0]))
        count, size = len(entries), sum(e.size for _, e in entries)
        for _, entry in entries:
            if count <= self._config.max_size and size <= self._config.max_bytes:
                break
            entry.remove()
            count, size = count - 1, size - entry.size
        for folder in self._root.glob("*/*"):
            with contextlib.suppress(OSError):
                sweep(folder)
        with self._lock:
            gone = [key for key, (entry, _) in self._mapped.items() if not entry.intact()]
            for key in gone:
                del self._mapped[key]

    def _rank(self, entry: CacheFile) -> tuple[float, ...]:
        """The lowest leaves first."""
        used, uses = entry.used()
        if self._config.eviction_policy is EvictionPolicy.LRU:
            return (used,)
        if self._config.eviction_policy is EvictionPolicy.LFU:
            return (uses, used)
        return (entry.made,)


def default_directory() -> Path:
    """`DL_CACHE_DIR`, else `deltalakedb` in the user's cache directory."""
    chosen = os.environ.get("DL_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "deltalakedb"


def cached_columns(row: TableRow) -> tuple[str, ...]:
    """Columns of a cached list: what plans need, and the keys of the slots in use."""
    slots = range(len(json.loads(row.skipping)))
    return (*CACHED_COLUMNS, *(f"{side}{slot}" for slot in slots for side in ("lo", "hi")))


def _from_sql(
    catalog: LightCatalog, row: TableRow, version: int, where: str, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    dialect = catalog.reader.dialect
    sql = f"SELECT {', '.join(schema.names)} FROM {load_files_name(row.live_load)} WHERE {where}"
    with dialect.errors():
        batches = dialect.stream(proven(row, version, schema.names, sql), schema)
        yield from proven_batches(batches, row, version, "path")


def _gone(
    catalog: LightCatalog, row: TableRow, older: int, version: int
) -> set[tuple[str, str | None]] | None:
    """Files (path, deletion vector) of `older` that `version` lacks; None when they are many."""
    # What one version knows, the other must: both are proven.
    found = proven_rows(
        catalog.reader,
        row,
        version,
        ("path", "dv_id"),
        f"SELECT path, dv_id FROM (SELECT path, dv_id FROM {load_files_name(row.live_load)} "
        f"WHERE {load_condition(row.live_load)}"
        f"removed_version > {older} AND removed_version <= {version} "
        f"AND added_version <= {older} LIMIT {_ADVANCED_BY + 1}) gone",
    )
    return None if len(found) > _ADVANCED_BY else {(path, dv) for path, dv in found}


def _without(base: pa.Table, gone: set[tuple[str, str | None]]) -> Iterator[pa.RecordBatch]:
    """The list without some files."""
    import pyarrow.compute as pc

    paths = pa.array({path for path, _ in gone}, pa.string())
    for batch in base.to_batches():
        suspects = pc.indices_nonzero(pc.is_in(batch.column("path"), value_set=paths))
        if len(suspects):
            named = batch.select(["path", "dv_id"]).take(suspects)
            pairs = zip(*(c.to_pylist() for c in named.columns), strict=True)
            keep = [True] * batch.num_rows
            for place, pair in zip(suspects.to_pylist(), pairs, strict=True):
                keep[place] = pair not in gone
            batch = batch.filter(pa.array(keep))
        yield batch
