"""A snapshot: one version of a table, immutable, planned and read at the cost of what matches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from deltalakedb import tracing
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.records import TableRow, TableState
from deltalakedb.engine.where import parse_where
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.metadata import Metadata, PartitionNames, protocol_of
from deltalakedb.log.protocol import Protocol
from deltalakedb.log.schema import column_mapping_mode
from deltalakedb.planning.pruning.normal_form import is_whole
from deltalakedb.planning.request import FILE_COLUMNS, PLAN_COLUMNS, Plan, PlanRequest
from deltalakedb.predicate.tree import TRUE, Expr, columns_of, conjunction
from deltalakedb.snapshot.delta_rs import DeltaRsNames
from deltalakedb.snapshot.held import HeldVersion

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc

    from deltalakedb.planning.cache import FileCache
    from deltalakedb.planning.explain import Explanation
    from deltalakedb.planning.paging import FilePages
    from deltalakedb.predicate.parse import Predicate
    from deltalakedb.scan.scan import Planner, ScanSpec
    from deltalakedb.snapshot.files import FileList
    from deltalakedb.snapshot.scan import Scan

_SLICE = 65_536
_SCAN_COLUMNS = ("path", "partition_values", "dv", "num_records", "size")


class Snapshot(DeltaRsNames):
    """One version of a table.

    `version`; `metadata` and `protocol` as of it; `files` lazily. `plan` gives the files that
    may match a predicate; `to_…` read their rows. Nothing here sees a later commit, and it goes
    on working when the table is imported anew meanwhile.
    """

    def __init__(
        self,
        catalog: LightCatalog,
        row: TableRow,
        state: TableState,
        *,
        cache: FileCache | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._catalog = catalog
        self._held = HeldVersion(catalog, row, state)
        self._cache = cache
        self._storage_options = dict(storage_options or {})

    @property
    def version(self) -> int:
        return self._held.version

    @property
    def name(self) -> str:
        """The table's name in its catalog."""
        return self._held.row.full_name

    @property
    def location(self) -> str:
        """Where the table's data is."""
        return self._held.row.location

    @cached_property
    def metadata(self) -> Metadata:
        return Metadata.of(self._held.state.metadata)

    @cached_property
    def protocol(self) -> Protocol:
        return protocol_of(self._held.state.protocol)

    @property
    def schema(self) -> pa.Schema:
        """The schema in Arrow, logical names."""
        return self.metadata.schema.to_arrow()

    @cached_property
    def _totals(self) -> tuple[int, int]:
        return self._held.ask(lambda row: queries.totals_at(self._catalog, row, self.version))

    @property
    def num_files(self) -> int:
        return self._totals[0]

    @property
    def total_bytes(self) -> int:
        return self._totals[1]

    @cached_property
    def transactions(self) -> dict[str, dict[str, int | None]]:
        """Application transactions: {appId: {"version", "last_updated"}}."""
        return self._full_state.txns

    @cached_property
    def domains(self) -> dict[str, str]:
        """Domain metadata: {domain: configuration}."""
        return self._full_state.domains

    @cached_property
    def _full_state(self) -> TableState:
        return self._held.ask(lambda row: queries.state_at(self._catalog, row, self.version))

    @property
    def files(self) -> FileList:
        """The live files, read when looked at; `len(snapshot.files)` is known already."""
        from deltalakedb.snapshot.files import FileList

        count, size = self._totals
        return FileList(count, size, self._stream, self.to_arrow, self.partition_names)

    def file_pages(self, size: int = 1000, keep: int = 0) -> FilePages:
        """The files in pages of `size`, each read when it is asked for, `keep` of them kept."""
        from deltalakedb.planning.paging import FilePages, read_page

        return FilePages(
            lambda rows, after: self._held.ask(
                lambda row: read_page(self._catalog, row, self.version, rows, after)
            ),
            size,
            keep,
        )

    def _stream(self) -> Iterator[pa.RecordBatch]:
        return self._held.stream(self._batches)

    def _batches(self, row: TableRow) -> Iterator[pa.RecordBatch]:
        cached = self._cached(row, build=True)
        if cached is None:
            yield from queries.stream_files(
                self._catalog, row, self.version, FILE_COLUMNS, ordered=False
            )
            if self._cache is not None:
                self._cache.build_later(self._catalog, row, self.version)
            return
        from deltalakedb.planning.plan import plan

        self._check_partitions(row, len(self._catalog.partitions(row, self.version)))
        listing = self._request(row, None, FILE_COLUMNS)
        for start in range(0, cached.num_rows, _SLICE):
            found = plan(self._catalog, listing, partial(cached.slice, start, _SLICE))
            yield from found.files.to_batches()

    def _cached(self, row: TableRow, *, build: bool = False) -> pa.Table | None:
        if self._cache is None:
            return None
        return self._cache.files(self._catalog, row, self.version, build=build)

    def _check_partitions(self, row: TableRow, partitions: int | None) -> None:
        """Raises when the partitions were lost: whoever plans by them would find nothing."""
        if partitions == 0 and queries.totals_at(self._catalog, row, self.version)[0]:
            raise DeltaLakeError(
                DeltaLakeErrorKind.DATABASE_ERROR,
                f"the partitions of table {row.full_name} are gone from the catalog; run "
                "`dl diff`, then import the table anew with --rebuild",
            )

    def _request(
        self, row: TableRow, predicate: Expr | None, columns: Sequence[str]
    ) -> PlanRequest:
        unknown = [c for c in columns if c not in PLAN_COLUMNS]
        if unknown:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"a plan has no column {', '.join(unknown)}; it has {', '.join(PLAN_COLUMNS)}",
            )
        return PlanRequest(
            table=row,
            version=self.version,
            partition_columns=tuple(self.metadata.partition_columns),
            predicate=predicate,
            columns=tuple(columns),
        )

    def where(self, *predicates: Predicate) -> Expr | None:
        """One predicate that holds where all of these do, whatever their forms; None for none.

        Parsed once, it can be given wherever a predicate is taken. Raises INVALID_PREDICATE.
        """
        found = conjunction(self._parsed(p) for p in predicates if p is not None)
        return None if found == TRUE else found

    def _parsed(self, predicate: Predicate) -> Expr:
        return parse_where(
            predicate,
            self.metadata.schema.struct,
            mapped=self._mapped,
            partition_columns=self.metadata.partition_columns,
        )

    @cached_property
    def _mapped(self) -> bool:
        """Whether the files know columns by other names (PROTOCOL.md, Column Mapping)."""
        mode = column_mapping_mode(self.metadata.configuration)
        return mode != "none" and self.protocol.supports_reader_feature("columnMapping")

    @cached_property
    def partition_names(self) -> PartitionNames:
        """How files name the partition columns, and how the schema does."""
        return PartitionNames.of(self.metadata, mapped=self._mapped)

    def plan(self, predicate: Predicate = None, columns: Sequence[str] | None = None) -> pa.Table:
        """The files that may hold rows satisfying `predicate`, as an Arrow table.

        `columns`: some of PLAN_COLUMNS (default: all); paths are raw, as in the log. Raises
        INVALID_PREDICATE for unknown columns or literals of a wrong type.
        """
        return self._plan(predicate, tuple(columns or PLAN_COLUMNS)).files

    @tracing.traced("plan")
    def _plan(self, predicate: Predicate, columns: tuple[str, ...]) -> Plan:
        # With its first use: whoever only opens tables needs neither numpy nor Arrow.
        from deltalakedb.planning.plan import plan

        parsed = self.where(predicate)

        def answer(row: TableRow) -> Plan:
            request = self._request(row, parsed, columns)
            cached = partial(self._cached, row, build=parsed is None)
            found = plan(self._catalog, request, cached if self._cache is not None else None)
            self._check_partitions(row, found.partitions)
            if parsed is None and self._cache is not None:
                self._cache.build_later(self._catalog, row, self.version)
            return found

        return self._held.ask(answer)

    def explain(self, predicate: Predicate = None) -> Explanation:
        """How `plan(predicate)` finds its files: what each step left, by which key or index."""
        from deltalakedb.planning.explain import Explanation
        from deltalakedb.predicate.text import left_to_rows, understood

        parsed = self.where(predicate)
        found = self._plan(parsed, ("path", "size"))
        return Explanation(
            table=self.name,
            version=self.version,
            predicate="" if predicate is None else str(predicate),
            num_files=self.num_files,
            total_bytes=self.total_bytes,
            planned_files=found.files.num_rows,
            planned_bytes=sum(s or 0 for s in found.files.column("size").to_pylist()),
            steps=tuple(found.steps),
            pruned_by="" if parsed is None else understood(parsed),
            left_to_rows=() if parsed is None else left_to_rows(parsed),
        )

    def to_arrow(self) -> pa.Table:
        """The whole file list, all columns of a plan."""
        return self.plan()

    def partition_values(self, predicate: Predicate = None) -> list[dict[str, str | None]]:
        """The distinct partition tuples of the files that may match."""
        if not self.metadata.partition_columns:
            return []
        found = self.plan(predicate, ("partition_values",))
        texts = found.column("partition_values").unique().to_pylist()
        return [self.partition_names.values(text) for text in texts]

    def partition_summary(self) -> list[tuple[dict[str, str | None], int, int]]:
        """(partition values, files, bytes) of each partition that has live files."""
        from deltalakedb.catalog.reading.partition_counts import partition_counts

        found = self._held.ask(lambda row: partition_counts(self._catalog, row, self.version))
        return [(self.partition_names.values(text), files, size) for text, files, size in found]

    def size_classes(self, bounds: Sequence[int]) -> list[tuple[int, int]]:
        """(files, bytes) below the first bound, from each to the next, and above the last one."""
        from deltalakedb.catalog.reading.size_classes import size_classes

        return self._held.ask(lambda row: size_classes(self._catalog, row, self.version, bounds))

    def get_add_actions(self, flatten: bool = False) -> pa.Table:
        """The live adds with typed partition values and statistics, as delta-rs gives them."""
        from deltalakedb.snapshot.add_actions import add_actions

        return add_actions(self.plan(), self.metadata, mapped=self._mapped, flatten=flatten)

    def scan(self, predicate: Predicate = None, columns: Sequence[str] | None = None) -> Scan:
        """The rows that satisfy `predicate`, to be read in any form; planned now.

        `columns`: logical names in the order wanted (default: all). Errors as `plan`.
        """
        from deltalakedb.predicate.row_filter import ALL_ROWS, row_filter
        from deltalakedb.snapshot.scan import Scan

        parsed = self.where(predicate)
        found = self._plan(parsed, _SCAN_COLUMNS)
        # A question about partitions alone is answered by the choice of files.
        decided = parsed is not None and found.readable and self._is_of_partitions(parsed)
        rows = ALL_ROWS if decided else row_filter(parsed)
        spec = self._scan_spec(parsed, found.files)
        return Scan(replace(spec, rows=rows), None if columns is None else tuple(columns))

    def paths_of_partitions(self, predicate: Predicate) -> frozenset[str]:
        """Raw paths of the files of some partitions.

        INVALID_PREDICATE for a condition that isn't on partition columns alone.
        """
        parsed = self._parsed(predicate)
        if not self._is_of_partitions(parsed):
            listed = ", ".join(self.metadata.partition_columns) or "none"
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_PREDICATE,
                f"{predicate} isn't decided by partition columns alone; those of {self.name} are "
                f"{listed}",
            )
        return frozenset(self.plan(parsed, ("path",)).column("path").to_pylist())

    def _is_of_partitions(self, predicate: Expr) -> bool:
        names = {(name,) for name in self.metadata.partition_columns}
        return is_whole(predicate) and all(c.path in names for c in columns_of(predicate))

    def scan_spec(self, predicate: Predicate = None) -> ScanSpec:
        """What reading all rows of the planned files takes. Picklable."""
        return self._scan_spec(predicate, self.plan(predicate, _SCAN_COLUMNS))

    def _scan_spec(self, predicate: Predicate, files: pa.Table) -> ScanSpec:
        from deltalakedb.scan.scan import ScanSpec
        from deltalakedb.storage.open import open_store
        from deltalakedb.storage.spec import StoreSpec

        return ScanSpec(
            store=open_store(StoreSpec(self.location, self._storage_options)),
            files=files,
            schema_string=self.metadata.schema.schema_string,
            partition_columns=tuple(self.metadata.partition_columns),
            configuration=self.metadata.configuration,
            protocol=self.protocol,
            version=self.version,
            planner=self._planner(predicate),
        )

    def _planner(self, predicate: Predicate) -> Planner | None:
        """Plans the scan of `predicate` by a further condition, while the database is at hand."""

        def files(condition: pc.Expression) -> pa.Table | None:
            # Rows can be read when the database is gone: nothing is waited for.
            if not self._catalog.reader.is_connected:
                return None
            try:
                return self.plan(self.where(predicate, condition), _SCAN_COLUMNS)
            except DeltaLakeError:
                return None

        return files

    # The forms of a scan (`snapshot.scan.Scan`).

    def count_rows(self, predicate: Predicate = None) -> int:
        """The number of rows that satisfy `predicate`; without one, from statistics alone."""
        return self.scan(predicate).count_rows()

    def to_batches(
        self, predicate: Predicate = None, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The rows in batches, in bounded memory."""
        return self.scan(predicate, columns).to_batches()

    def to_pyarrow_table(
        self, predicate: Predicate = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """The rows that satisfy `predicate`."""
        return self.scan(predicate, columns).to_pyarrow_table()

    def to_pandas(
        self, predicate: Predicate = None, columns: Sequence[str] | None = None, **options: Any
    ) -> Any:
        """The rows as a pandas DataFrame; `options` go to Arrow's `to_pandas`."""
        return self.scan(predicate, columns).to_pandas(**options)

    def to_polars(self, predicate: Predicate = None, columns: Sequence[str] | None = None) -> Any:
        """The rows as a polars LazyFrame."""
        return self.scan(predicate, columns).to_polars()

    def to_duckdb(
        self,
        connection: Any = None,
        predicate: Predicate = None,
        columns: Sequence[str] | None = None,
    ) -> Any:
        """The rows as a DuckDB relation."""
        return self.scan(predicate, columns).to_duckdb(connection)

    def to_dask(
        self, predicate: Predicate = None, columns: Sequence[str] | None = None, **options: Any
    ) -> Any:
        """The rows as a Dask DataFrame."""
        return self.scan(predicate, columns).to_dask(**options)

    def __repr__(self) -> str:
        return f"Snapshot({self.name!r}, version={self.version})"

    def _repr_html_(self) -> str:
        from deltalakedb.snapshot.html import snapshot_html

        return snapshot_html(self)
