"""The local cache: live file lists of versions as Arrow files, mapped into memory.

A list is keyed by catalog, table, epoch, load and version, so it is never stale; it may be mapped
by several processes while another removes it, and is dropped when it isn't intact.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from deltalakedb import fork, measures
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.reading.proof import complete_batches
from deltalakedb.catalog.reading.queries import file_schema, live_predicate, totals_at
from deltalakedb.catalog.records import TableRow
from deltalakedb.config import CacheConfig, EvictionPolicy
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError
from deltalakedb.planning.cache_file import CacheFile, lists_in, sweep, write_list
from deltalakedb.planning.cached_rows import (
    cached_columns,
    files_from_sql,
    files_gone,
    without_files,
)
from deltalakedb.record import record

_FEW_CATALOGS = 16
_FORK_SECONDS = 60.0
_NICE = 10
"""Of the thread that makes lists: whoever asked goes on first."""
_LOOK_AGAIN_SECONDS = 0.2
"""After which a list that wasn't there is looked for again: another process may have made it."""


@record(frozen=True)
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


_Key = tuple[Path, int, int]
"""Folder, load and version of a list."""


class _GivenUp(Exception):
    """A list that is being made isn't to be made now."""


class _Making:
    """A list that a thread makes."""

    def __init__(self, closed_before_fork: bool) -> None:
        self.closed_before_fork = closed_before_fork
        self.given_up = False
        self.ended = threading.Event()

    def wanted(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The same, until it is given up."""
        if self.given_up:
            raise _GivenUp
        for batch in batches:
            if self.given_up:
                raise _GivenUp
            yield batch


class _TooLarge(Exception):
    """The list being written would not fit into the cache."""


class FileCache:
    """File lists in `config.directory`, bounded in entries and bytes."""

    forks_first = True
    foreground_files = 20_000
    """Lists of more are made in the background: their files are told first."""

    def __init__(self, config: CacheConfig) -> None:
        self._config = config
        self._root = Path(config.directory) if config.directory else default_directory()
        self._mapped: dict[_Key, tuple[CacheFile, pa.Table]] = {}
        self._too_large: set[tuple[Path, int]] = set()
        self._absent: dict[_Key, float] = {}
        """When the list of the last plan's version wasn't there."""
        self._hits = 0
        self._misses = 0
        self._lock = fork.Lock()
        self._building = fork.Lock()
        self._coming: dict[_Key, _Making] = {}
        """Lists that threads make."""
        fork.watch(self)

    def stats(self) -> CacheStats:
        entries = self._entries()
        return CacheStats(self._hits, self._misses, len(entries), sum(e.size for e in entries))

    def files(
        self, catalog: LightCatalog, row: TableRow, version: int, *, build: bool
    ) -> pa.Table | None:
        """The live files of a version: CACHED_COLUMNS and the keys of the table's slots.

        Without `build` only what is there already; with it the list is made from an older
        version's (asking SQL for what changed) or from SQL, unless it is so large that whoever
        asks shouldn't wait for it: then `build_later` makes it.
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
        if found is not None or not build or row.num_files > self.foreground_files:
            return found
        return self._made(folder, catalog, row, version, schema)

    def build_later(self, catalog: LightCatalog, row: TableRow, version: int) -> None:
        """Make the list of a version in the background where it isn't there and is large.

        By a thread with a connection of its own, for which the interpreter's end waits; what a
        killed process or a fork's child leaves half written is no list, and removed later.
        """
        if row.num_files <= self.foreground_files:
            return
        folder = self._root / catalog.catalog_id / f"{row.table_id}.{row.epoch}"
        key = (folder, row.live_load, version)
        with self._lock:
            if key in self._mapped or key in self._coming or key[:2] in self._too_large:
                return
            if any((e.load, e.version) == key[1:] and e.intact() for e in lists_in(folder)):
                return
            making = _Making(catalog.reader.dialect.closed_before_fork)
            self._coming[key] = making
        url = catalog.reader.url
        thread = threading.Thread(target=self._come, args=(key, making, url, row), name="dl-cache")
        try:
            thread.start()
        except RuntimeError:
            # The interpreter ends, or the system has no thread left.
            self._coming.pop(key, None)

    def _come(self, key: _Key, making: _Making, url: DatabaseUrl, row: TableRow) -> None:
        folder, _, version = key
        if sys.platform == "linux":  # where threads have priorities of their own
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        catalog = LightCatalog(url)
        try:
            # A list that can't be made is none; who asks for the files is told why.
            with contextlib.suppress(DeltaLakeError, RuntimeError, MemoryError):
                schema = file_schema(cached_columns(row))
                self._made(folder, catalog, row, version, schema, making)
        finally:
            catalog.close()
            making.ended.set()
            self._coming.pop(key, None)

    def before_fork(self) -> None:
        """Give up what is being made where a child is harmed by a connection that is open."""
        for making in list(self._coming.values()):
            if making.closed_before_fork:
                making.given_up = True
                making.ended.wait(_FORK_SECONDS)

    def after_fork(self) -> None:
        self._coming = {}

    def _made(
        self,
        folder: Path,
        catalog: LightCatalog,
        row: TableRow,
        version: int,
        schema: pa.Schema,
        making: _Making | None = None,
    ) -> pa.Table | None:
        if (folder, row.live_load) in self._too_large:
            return None
        with self._building:
            # Another thread may have built it meanwhile.
            found = self._map(folder, row.live_load, version, schema)
            if found is None:
                found = self._build(folder, catalog, row, version, schema, making)
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
        self,
        folder: Path,
        catalog: LightCatalog,
        row: TableRow,
        version: int,
        schema: pa.Schema,
        making: _Making | None,
    ) -> pa.Table | None:
        expected = totals_at(catalog, row, version)
        batches = complete_batches(
            self._batches(folder, catalog, row, version, schema), row, version, expected
        )
        bounded = self._bounded(batches, row)
        if making is not None:
            bounded = making.wanted(bounded)
        try:
            made = write_list(folder, row.live_load, version, bounded, schema)
        except _TooLarge:
            self._too_large.add((folder, row.live_load))
            return None
        except OSError:
            # A cache that can't be written (full or read-only disk) is no reason to fail.
            if making is not None:
                self._too_large.add((folder, row.live_load))
            return None
        except _GivenUp:
            return None
        self._evict(keep=made)
        return self._map(folder, row.live_load, version, schema)

    def _batches(
        self, folder: Path, catalog: LightCatalog, row: TableRow, version: int, schema: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        older = [e.version for e in lists_in(folder) if e.load == row.live_load]
        for base in sorted((v for v in older if v < version), reverse=True):
            table = self._map(folder, row.live_load, base, schema, as_base=True)
            gone = None if table is None else files_gone(catalog, row, base, version)
            if table is not None and gone is not None:
                yield from without_files(table, gone)
                added = f"added_version > {base} AND {live_predicate(row, version)}"
                yield from files_from_sql(catalog, row, version, added, schema)
                return
        yield from files_from_sql(catalog, row, version, live_predicate(row, version), schema)

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
