"""A table behind a `deltasql://` URI."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from deltalakedb.catalog.reading import commits, queries
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.reading.live import ask_live
from deltalakedb.catalog.reading.opening import open_head
from deltalakedb.catalog.reading.versions import state_to_read
from deltalakedb.catalog.records import TableRow, TableState
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.protocol import Protocol
from deltalakedb.table.behind import looked_at
from deltalakedb.table.changing import RowChanges
from deltalakedb.table.moment import Timestamp, iso_text, milliseconds, whole_version
from deltalakedb.table.upkeep import Upkeep
from deltalakedb.uri import TableUri

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

    from deltalakedb.config import CacheConfig
    from deltalakedb.log.metadata import Metadata
    from deltalakedb.planning.cache import CacheStats, FileCache
    from deltalakedb.predicate.parse import Predicate
    from deltalakedb.snapshot.snapshot import Snapshot
    from deltalakedb.table.appending import Appending
    from deltalakedb.table.history import History
    from deltalakedb.table.operations.authority import Authority, AuthorityState
    from deltalakedb.table.operations.base import Base
    from deltalakedb.table.operations.write import Mode, WriteOptions
    from deltalakedb.table.transaction import WriteResult
T = TypeVar("T")

_LAG_SECONDS = 10.0
_CHARTED = 60
"""Commits in a table's chart."""


@dataclass
class _Head:
    """The newest version that was seen, and its snapshot once somebody asks for it."""

    row: TableRow
    state: TableState
    snapshot: Snapshot | None = field(default=None, compare=False)


class Table(RowChanges, Upkeep):
    """A catalogued Delta table.

    `version`, `metadata`, `protocol` and the delta-rs names are those of the newest version that
    this object has seen: when it was opened, or at the last
    `snapshot()`, `history()` or `refresh()`.
    """

    def __init__(
        self,
        uri: TableUri,
        catalog: LightCatalog,
        *,
        cache: CacheConfig | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._uri = uri
        self._catalog = catalog
        self._cache_config = cache
        self._storage_options = dict(storage_options or {})
        self._opened: TableRow | None = None
        self._seen: _Head | None = self._read_head()

    @property
    def _head(self) -> _Head:
        if self._seen is None:
            self._seen = self._read_head()
        return self._seen

    @_head.setter
    def _head(self, head: _Head) -> None:
        self._seen = head

    def _read_head(self) -> _Head:
        before = self._opened
        if not self._catalog.reader.is_current():
            # Snapshots that were taken before go on with the database that they came from.
            self._catalog = LightCatalog(self._uri.database)
            self._opened = None
        row, state = looked_at(self._find, before)
        self._opened = row
        return _Head(row, state)

    def _find(self) -> tuple[TableRow, TableState]:
        # By its id: another table may have got the name of one that was dropped or renamed.
        known = None if self._opened is None else (None, self._opened.table_id)
        found = open_head(self._catalog, *(known or (self._uri.namespace, self._uri.table)))
        if found is None:
            raise queries.no_table(self._catalog, self._uri.name)
        return found

    @property
    def uri(self) -> str:
        """The table's URI, to connect again; its repr-safe form is `repr(table)`."""
        return self._uri.reveal()

    @property
    def catalog(self) -> LightCatalog:
        """The catalog that the table is in."""
        return self._catalog

    @property
    def name(self) -> str:
        return self._head.row.full_name

    @property
    def table_id(self) -> str:
        if self._opened is not None and self._catalog.reader.is_current():
            # Whatever becomes of it, it keeps that.
            return self._opened.table_id
        return self._head.row.table_id

    @property
    def location(self) -> str:
        return self._head.row.location

    @property
    def version(self) -> int:
        return self._head.row.head_version

    @property
    def known_since(self) -> int:
        """The oldest version that can be read."""
        return self._head.row.known_since

    @property
    def metadata(self) -> Metadata:
        return self._newest().metadata

    @property
    def protocol(self) -> Protocol:
        return self._newest().protocol

    @property
    def schema(self) -> pa.Schema:
        return self._newest().schema

    def refresh(self) -> Table:
        """Look for newer versions; one small question.

        A table that was renamed meanwhile goes on under its new name. Raises TABLE_NOT_FOUND when
        it was dropped.
        """
        head = self._read_head()
        if head != self._head:
            before, after = self._head.row, head.row
            if (before.namespace, before.name) != (after.namespace, after.name):
                self._uri = replace(self._uri, namespace=after.namespace or None, table=after.name)
            self._head = head
        return self

    def update_incremental(self) -> None:
        """`refresh`, under delta-rs's name."""
        self.refresh()

    @cached_property
    def _cache(self) -> FileCache | None:
        if self._cache_config is None:
            return None
        from deltalakedb.planning.cache import FileCache

        return FileCache(self._cache_config)

    def _newest(self) -> Snapshot:
        head = self._head
        if head.snapshot is None:
            head.snapshot = self._snapshot(head.row, head.state)
        return head.snapshot

    def _snapshot(self, row: TableRow, state: TableState) -> Snapshot:
        # Here, not above: opening a table is to cost what opening takes.
        from deltalakedb.snapshot.snapshot import Snapshot

        return Snapshot(
            self._catalog,
            row,
            state,
            cache=self._cache,
            storage_options=self._storage_options,
        )

    def snapshot(
        self,
        version: int | None = None,
        timestamp: Timestamp | None = None,
        *,
        min_version: int | None = None,
    ) -> Snapshot:
        """The newest version, that `version`, or the newest at `timestamp`.

        `min_version`: wait until the database that answers has that one, as a replica may lag
        behind what was just written; TIMEOUT_ERROR after ten seconds. Raises VERSION_NOT_FOUND
        for a version that isn't there or is older than what was imported (`known_since`), or a
        timestamp before it.
        """
        if version is not None and timestamp is not None:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT, "give a version or a timestamp, not both"
            )
        if version is not None:
            version = whole_version(version)
        if min_version is not None:
            self._wait_for(whole_version(min_version))
        self.refresh()
        return self._ask(lambda row: self._open(row, version, timestamp))

    def _wait_for(self, version: int) -> None:
        deadline = time.monotonic() + _LAG_SECONDS
        while self.refresh().version < version:
            if time.monotonic() > deadline:
                raise DeltaLakeError(
                    DeltaLakeErrorKind.TIMEOUT_ERROR,
                    f"{self._catalog.reader.dialect.described} has {self.name} at version "
                    f"{self.version}, not at {version}, after {_LAG_SECONDS:g} s; ask the primary "
                    "database, or wait for the replica",
                    version=self.version,
                )
            time.sleep(0.02)

    def _ask(self, question: Callable[[TableRow], T]) -> T:
        """The answer of the head that was seen; of a newer one when its load is gone."""
        return ask_live(self._head.row, question, lambda: self.refresh()._head.row, proven=True)[1]

    def _open(self, row: TableRow, version: int | None, timestamp: Timestamp | None) -> Snapshot:
        if timestamp is not None:
            version = self._version_at(row, milliseconds(timestamp))
        if version is None or version == row.head_version:
            return self._newest()
        return self._snapshot(row, state_to_read(self._catalog, row, version, small=True))

    def _version_of(self, version: Any, timestamp: Any) -> int:
        return self.snapshot(version, timestamp).version

    def _version_at(self, row: TableRow, time_ms: int) -> int:
        version = queries.version_before(self._catalog, row, time_ms)
        if version is None:
            earliest = queries.earliest_time(self._catalog, row)
            since = "unknown" if earliest is None else iso_text(earliest)
            raise DeltaLakeError(
                DeltaLakeErrorKind.VERSION_NOT_FOUND,
                f"table {row.full_name} has no version at {iso_text(time_ms)}: the oldest that can "
                f"be read, {row.known_since}, was committed at {since}",
                timestamp=time_ms,
                known_since=row.known_since,
            )
        return version

    def history(self, limit: int | None = None) -> History:
        """Commits, newest first, as dictionaries; prints as a table. Looks for newer ones."""
        self.refresh()
        return self._history(limit)

    def _history(self, limit: int | None) -> History:
        from deltalakedb.table.history import History

        rows = self._ask(lambda row: commits.history(self._catalog, row, limit))
        return History(self.name, rows)

    def write(self, data: Any, mode: Mode = "error", **options: Any) -> WriteResult:
        """Write rows; `options` are those of `write_deltalake`. Raises TABLE_EXISTS in mode error.

        Afterwards this object has seen the version that was written.
        """
        from deltalakedb.table.operations.write import OF_ADDRESS, WriteOptions

        own = {name: value for name, value in options.items() if name not in OF_ADDRESS}
        return self.write_with(data, WriteOptions.of(mode=mode, **own))

    def append(self, data: Any, **options: Any) -> WriteResult:
        """Add rows: `write` in mode append."""
        return self.write(data, "append", **options)

    def overwrite(self, data: Any, **options: Any) -> WriteResult:
        """Replace all rows, or those of the partitions that the data has: mode overwrite."""
        return self.write(data, "overwrite", **options)

    @cached_property
    def _appending(self) -> Appending:
        from deltalakedb.table.appending import Appending

        return Appending(self._catalog.reader.url)

    def write_with(self, data: Any, options: WriteOptions) -> WriteResult:
        """`write` with options that were checked."""
        try:
            return self._appending.write(self._catalog, data, options, self._changed)
        finally:
            self._seen = None

    def _changed(self, change: Callable[[LightCatalog, Base], T]) -> T:
        """What an operation on the newest version gives; whoever looks next sees what it did."""
        from deltalakedb.table.operations.base import Base

        head = self._read_head()
        try:
            return change(self._catalog, Base.of(head.row, head.state, self._storage_options))
        finally:
            self._seen = None

    def set_authority(self, authority: Authority) -> AuthorityState:
        """Hand the table over to `log`, `sql`, or `sql` behind a fence (`fence`)."""
        from deltalakedb.table.operations.authority import set_authority

        return self._changed(lambda catalog, base: set_authority(catalog, base, authority))

    def create_checkpoint(self) -> str | None:
        """Make a checkpoint of the newest version, which goes into the log first; its name."""
        from deltalakedb.mirror import checkpoint, publish, tend

        row = self._read_head().row
        log = publish.log_of(row, self._storage_options)
        found = tend.tend_now(self._catalog.reader.url, row, log, checkpoint=False)
        return checkpoint.checkpoint_now(self._catalog.reader.url, row, log, found.durable_version)

    def get_cache_stats(self) -> CacheStats:
        """Hits, misses and size of the local cache of file lists."""
        from deltalakedb.planning.cache import CacheStats

        return CacheStats() if self._cache is None else self._cache.stats()

    # delta-rs's names, over the newest version seen.

    def files(self, partition_filters: Predicate = None) -> list[str]:
        """Paths of the live files as in the log."""
        paths: list[str] = self._newest().plan(partition_filters, ("path",))["path"].to_pylist()
        return paths

    def file_uris(
        self, partition_filters: Predicate = None, *, file_pruning_predicate: Predicate = None
    ) -> list[str]:
        return self._newest().file_uris(
            partition_filters, file_pruning_predicate=file_pruning_predicate
        )

    def partitions(
        self, partition_filters: Predicate = None, *, file_pruning_predicate: Predicate = None
    ) -> list[dict[str, str | None]]:
        return self._newest().partitions(
            partition_filters, file_pruning_predicate=file_pruning_predicate
        )

    def get_add_actions(self, flatten: bool = False) -> pa.Table:
        return self._newest().get_add_actions(flatten)

    def count(self) -> int:
        """The number of rows."""
        return self._newest().count_rows()

    def to_pyarrow_dataset(
        self, partitions: Predicate = None, *, file_pruning_predicate: Predicate = None
    ) -> ds.Dataset:
        """All rows of the files that may match; `filter` of the dataset chooses among them."""
        return self._newest().to_pyarrow_dataset(
            partitions=partitions, file_pruning_predicate=file_pruning_predicate
        )

    def to_pyarrow_table(
        self,
        partitions: Predicate = None,
        columns: list[str] | None = None,
        *,
        filters: Predicate = None,
    ) -> pa.Table:
        newest = self._newest()
        return newest.to_pyarrow_table(newest.where(partitions, filters), columns)

    def to_pandas(
        self,
        partitions: Predicate = None,
        columns: list[str] | None = None,
        *,
        filters: Predicate = None,
        **options: Any,
    ) -> Any:
        newest = self._newest()
        return newest.to_pandas(newest.where(partitions, filters), columns, **options)

    def close(self) -> None:
        """Close the connection; asking again opens it again. A `with` does so at its end."""
        self._catalog.close()

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Table({self._uri!r}, version={self.version})"

    def _repr_html_(self) -> str:
        from deltalakedb.display.markup import code
        from deltalakedb.snapshot.html import table_html

        history = self._history(_CHARTED)
        newest = self._newest()
        since = f"version {self.known_since:,}" if self.known_since else "the first version"
        facts = [
            ("readable since", since),
            ("location", code(self.location)),
            ("catalog", code(repr(self._uri))),
            ("table id", code(self.table_id)),
        ]
        return table_html(self.name, facts, newest, history.changes())
