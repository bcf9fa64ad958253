"""A version as a transaction sees it: with what it has staged on top, its reads taken down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.reading.queries import file_schema
from deltalakedb.catalog.records import TableRow, TableState
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.metadata import Metadata
from deltalakedb.log.protocol import Protocol
from deltalakedb.log.rows import without
from deltalakedb.planning.pruning.partitions import PartitionTuples
from deltalakedb.planning.pruning.statistics import statistics_may_match
from deltalakedb.planning.request import FILE_COLUMNS, Plan
from deltalakedb.predicate.parse import Predicate
from deltalakedb.predicate.tree import Expr, Literal
from deltalakedb.snapshot.snapshot import Snapshot

OnRead = Callable[[Expr | None, frozenset[str]], None]
"""Is told what was looked for (None: all rows), and the raw paths of the files that were found."""


class OverlaidSnapshot(Snapshot):
    """A committed version with staged files added and removed (`log.rows.FILE_SCHEMA`)."""

    def __init__(
        self,
        catalog: LightCatalog,
        row: TableRow,
        state: TableState,
        *,
        metadata: Metadata,
        protocol: Protocol,
        adds: pa.Table,
        removes: pa.Table,
        on_read: OnRead,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(catalog, row, state, storage_options=storage_options)
        self._overlaid = (metadata, protocol)
        self._adds, self._removes = adds, removes
        self._on_read = on_read

    @cached_property
    def metadata(self) -> Metadata:
        return self._overlaid[0]

    @cached_property
    def protocol(self) -> Protocol:
        return self._overlaid[1]

    @property
    def _is_new(self) -> bool:
        """Whether the catalog has nothing of the table, which is made by the transaction."""
        return self.version < 0

    @cached_property
    def _full_state(self) -> TableState:
        return self._held.state if self._is_new else super()._full_state

    @cached_property
    def _totals(self) -> tuple[int, int]:
        self._on_read(None, frozenset())
        files, size = (0, 0) if self._is_new else super()._totals
        added, removed = (
            pc.sum(each.column("size")).as_py() or 0 for each in (self._adds, self._removes)
        )
        return files + self._adds.num_rows - self._removes.num_rows, size + added - removed

    def _plan(self, predicate: Predicate, columns: tuple[str, ...]) -> Plan:
        parsed = self.where(predicate)
        whole = tuple(dict.fromkeys((*columns, "path", "dv_id")))
        found = (
            Plan(file_schema(whole).empty_table()) if self._is_new else super()._plan(parsed, whole)
        )
        self._on_read(parsed, frozenset(found.files.column("path").to_pylist()))
        kept = without(found.files, self._removes)
        added = self._matching(parsed).select(whole).cast(kept.schema)
        return replace(found, files=pa.concat_tables([kept, added]).select(columns))

    def _matching(self, predicate: Expr | None) -> pa.Table:
        """The staged files that may hold rows of the predicate."""
        if predicate is None or not self._adds.num_rows:
            return self._adds
        names = list(self.metadata.partition_columns)
        tuples = PartitionTuples(self._adds.column("partition_values").to_pylist())
        left, which = tuples.residuals(predicate, names)
        rest = [left[number] for number in which]
        statistics = self._adds.column("stats").to_pylist()
        kept = [
            one.value is True if isinstance(one, Literal) else statistics_may_match(one, stats)
            for one, stats in zip(rest, statistics, strict=True)
        ]
        return self._adds.filter(pa.array(kept, pa.bool_()))

    def _planner(self, predicate: Predicate) -> None:
        """What is read was told when it was planned, and is read after the transaction too."""

    def _stream(self) -> Iterator[pa.RecordBatch]:
        yield from self.plan(None, FILE_COLUMNS).to_batches()

    def file_pages(self, size: int = 1000, keep: int = 0) -> NoReturn:
        self._refuse("pages of files")

    def partition_summary(self) -> NoReturn:
        self._refuse("a summary of partitions")

    def size_classes(self, bounds: Sequence[int]) -> NoReturn:
        self._refuse("classes of sizes")

    def _refuse(self, what: str) -> NoReturn:
        raise DeltaLakeError(
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
            f"a snapshot within a transaction doesn't tell {what}; plan() lists its files, and "
            "a snapshot of a table outside tells what is committed",
        )
