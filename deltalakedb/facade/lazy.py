"""`LazyLoadingManager`: a table's file list at once, when asked for, by pages, or as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from deltalakedb.config import CacheConfig, LazyLoadingConfig, LoadingStrategy, SqlConfig
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.planning.request import FILE_COLUMNS
from deltalakedb.snapshot.files import AddFile, add_files
from deltalakedb.snapshot.snapshot import Snapshot
from deltalakedb.table.connect import connect_to_table
from deltalakedb.table.moment import Timestamp

if TYPE_CHECKING:
    import pyarrow as pa

Listing = Callable[[int | None], Iterable["pa.RecordBatch"]]
"""The first so many files (None: all) in batches."""


class LazyLoadingManager:
    """Opens tables whose file lists are read as `config` says.

    `sql_config`, `cache` and `storage_options` are those of `connect_to_table`; without a `config`
    that of the `sql_config` counts.
    """

    def __init__(
        self,
        config: LazyLoadingConfig | None = None,
        sql_config: SqlConfig | None = None,
        *,
        cache: CacheConfig | bool | None = True,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        if config is None and sql_config is not None and sql_config.settings is not None:
            config = sql_config.settings.performance.lazy
        self.config = config or LazyLoadingConfig()
        self._sql_config = sql_config
        self._cache = cache
        self._storage_options = storage_options

    def create_lazy_table_metadata(
        self,
        uri: str,
        *,
        version: int | None = None,
        timestamp: Timestamp | None = None,
        strategy: LoadingStrategy | str | None = None,
    ) -> LazyTableMetadata:
        """One version of a table (the newest), with its files as the strategy reads them."""
        table = connect_to_table(
            uri, self._sql_config, cache=self._cache, storage_options=self._storage_options
        )
        chosen = self.config.default_strategy if strategy is None else _strategy(strategy)
        snapshot = table.snapshot(version, timestamp)
        return LazyTableMetadata(snapshot, chosen, self.config)


class LazyTableMetadata:
    """A version's metadata, and its files.

    | strategy | reads | keeps |
    |---|---|---|
    | EAGER | the whole list when it is created | the list |
    | LAZY | the whole list when files are first looked at | the list |
    | PAGINATED | a page of `chunk_size` files when it is come to | `cache_size` pages |
    | STREAMING | the same, each time anew | nothing |
    """

    def __init__(
        self, snapshot: Snapshot, strategy: LoadingStrategy, config: LazyLoadingConfig
    ) -> None:
        self.snapshot = snapshot
        self.strategy = strategy
        keep = config.cache_size if strategy is LoadingStrategy.PAGINATED else 0
        self._pages = snapshot.file_pages(config.chunk_size, keep)
        self._listing: Listing = self._pages.first
        if strategy in (LoadingStrategy.EAGER, LoadingStrategy.LAZY):
            whole = _Whole(snapshot, config.chunk_size)
            self._listing = whole.first
            if strategy is LoadingStrategy.EAGER:
                whole.load()

    @property
    def name(self) -> str:
        return self.snapshot.name

    @property
    def version(self) -> int:
        return self.snapshot.version

    @property
    def schema_string(self) -> str:
        """As it stands in the log."""
        return self.snapshot.metadata.schema.schema_string

    @property
    def partition_columns(self) -> list[str]:
        return self.snapshot.metadata.partition_columns

    @property
    def configuration(self) -> dict[str, str]:
        return self.snapshot.metadata.configuration

    @property
    def num_files(self) -> int:
        """Known without reading the list."""
        return self.snapshot.num_files

    @property
    def total_bytes(self) -> int:
        return self.snapshot.total_bytes

    def get_files_stream(self, limit: int | None = None) -> Iterator[AddFile]:
        """The files one after the other, `limit` of them at most; memory is that of a page."""
        if limit is not None and limit < 0:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT, f"a limit of {limit} files makes no sense"
            )
        for batch in self._listing(limit):
            yield from add_files(batch, self.snapshot.partition_names)

    def get_files(self) -> list[AddFile]:
        """All files as a list."""
        return list(self.get_files_stream())

    def get_page(self, number: int) -> list[AddFile]:
        """Page `number` (from 0) of `chunk_size` files. INVALID_ARGUMENT beyond the last one."""
        return list(add_files(self._pages.page(number), self.snapshot.partition_names))

    def __len__(self) -> int:
        return self.num_files

    def __iter__(self) -> Iterator[AddFile]:
        return self.get_files_stream()

    def __repr__(self) -> str:
        return (
            f"LazyTableMetadata({self.name!r}, version={self.version}, "
            f"{self.num_files:,} files, {self.strategy.value})"
        )


class _Whole:
    """A whole file list, read once."""

    def __init__(self, snapshot: Snapshot, batch_rows: int) -> None:
        self._snapshot = snapshot
        self._batch_rows = batch_rows
        self._files: pa.Table | None = None

    def load(self) -> pa.Table:
        if self._files is None:
            self._files = self._snapshot.plan(None, FILE_COLUMNS)
        return self._files

    def first(self, limit: int | None) -> Iterable[pa.RecordBatch]:
        files = self.load()
        chosen = files if limit is None else files.slice(0, limit)
        batches: list[pa.RecordBatch] = chosen.to_batches(self._batch_rows)
        return batches


def _strategy(value: LoadingStrategy | str) -> LoadingStrategy:
    return LazyLoadingConfig(value).default_strategy  # type: ignore[arg-type]  # text is taken too
