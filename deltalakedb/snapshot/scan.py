"""The rows of a snapshot that satisfy a predicate, in the form that is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

if TYPE_CHECKING:
    import duckdb
    import polars as pl
    import pyarrow as pa
    import pyarrow.dataset as ds

    from deltalakedb.scan.scan import ScanSpec


@dataclass(frozen=True, eq=False)
class Scan:
    """Planned files and the rows of them that are wanted; `to_…` read them. Picklable.

    Every form gives the same rows. `spec` is what reading takes; `columns` (logical names, in the
    order wanted; None: all) apply to every form but the dataset, which chooses them itself.
    """

    spec: ScanSpec
    columns: tuple[str, ...] | None = None

    @property
    def files(self) -> pa.Table:
        """The planned files."""
        return self.spec.files

    def count_rows(self) -> int:
        """The number of rows; without a predicate from statistics alone."""
        from deltalakedb.scan.scan import count_rows

        return count_rows(self.spec)

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in batches, in bounded memory."""
        from deltalakedb.scan.scan import scan_batches

        return scan_batches(self.spec, self.columns)

    def to_pyarrow_table(self) -> pa.Table:
        """The rows as one table."""
        from deltalakedb.scan.scan import scan_table

        return scan_table(self.spec, self.columns)

    def to_pyarrow_dataset(self) -> ds.Dataset:
        """A dataset of the rows. INVALID_ARGUMENT with `columns`: reading it chooses them."""
        from deltalakedb.scan.dataset import scan_dataset

        if self.columns is not None:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                "a dataset has all columns; choose some when it is read, by to_table(columns)",
            )
        return scan_dataset(self.spec)

    def to_pandas(self, **options: Any) -> Any:
        """A `pandas.DataFrame`; `options` go to Arrow's `to_pandas`."""
        from deltalakedb.scan.frames import to_pandas

        return to_pandas(self.to_pyarrow_table(), **options)

    def to_polars(self) -> pl.LazyFrame:
        """A lazy frame; its filters and projections are pushed down when it is collected."""
        from deltalakedb.scan.polars_frame import to_polars

        frame = to_polars(self.spec)
        return frame if self.columns is None else frame.select(self.columns)

    def to_duckdb(
        self, connection: duckdb.DuckDBPyConnection | None = None
    ) -> duckdb.DuckDBPyRelation:
        """A DuckDB relation; its filters and projections are pushed down when it is read."""
        from deltalakedb.scan.frames import to_duckdb

        return to_duckdb(self.spec, connection, self.columns)

    def to_dask(self, **options: Any) -> Any:
        """A Dask DataFrame, a partition a bin of files; runs where its client is."""
        from deltalakedb.scan.frames import to_dask

        return to_dask(self.spec, self.columns, **options)
