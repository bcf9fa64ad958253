"""A scan as a `pyarrow.dataset.Dataset`, for everything that takes one.

Both classes read by `deltalakedb.scan.scan`, so that `to_table`, `to_batches`, `head`,
`scanner`, `count_rows` and what DuckDB, Polars or Dask make of them are right for every table.
`DeltaFileDataset` is at the same time a true `FileSystemDataset` of Parquet fragments, for code
that works on fragments; it is made where plain Parquet reading gives the table's rows, that is
without deletion vectors, column mapping, type changes and variants. Making one opens no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.scan.guarantees import is_nan, partition_guarantee
from deltalakedb.scan.scan import (
    DEFAULT_BATCH_SIZE,
    ScanSpec,
    both,
    count_rows,
    data_files,
    output_schema,
    scan_batches,
)
from deltalakedb.scan.types import ReadField, partition_scalars

Columns = Sequence[str] | Mapping[str, pc.Expression] | None
"""Names, or new names with expressions over the table's columns; None for all."""

# What Arrow would try to open if its own code scanned a `DeltaDataset`: it fails, with this text.
_NO_FILE = "/rows of this Delta table are given by to_table, to_batches and scanner alone"


def scan_dataset(spec: ScanSpec) -> DeltaDataset | DeltaFileDataset:
    """The files of a scan as a dataset; a `DeltaFileDataset` where that is possible.

    Takes about 15 microseconds a file for the latter, and opens none. Errors as `ScanSpec.schema`.
    """
    return DeltaFileDataset(spec) if is_plain(spec) else DeltaDataset(spec)


def is_plain(spec: ScanSpec) -> bool:
    """Whether the files can be read as Parquet files like any other."""
    schema = spec.schema
    if spec.rows:
        return False
    if schema.mode != "none" or schema.has_type_changes:
        return False
    if spec.files.column("dv").null_count < spec.files.num_rows:
        return False
    if any(field.refusal is not None or _has_variant(field) for field in schema.fields):
        return False
    # Arrow fills partition columns from guarantees: NaN, and what is no value, can't be stated.
    types = [schema.partitions[schema.field(name).physical_name] for name in spec.partition_columns]
    if all(name == "string" for name in types):
        return True
    texts = spec.files.column("partition_values").unique().to_pylist()
    return not any(
        isinstance(value, DeltaLakeError) or is_nan(value)
        for text in texts
        for value in partition_scalars(text, schema).values()
    )


def _has_variant(field: ReadField) -> bool:
    return field.kind == "variant" or any(_has_variant(child) for child in field.children)


class _Reading:
    """What of `pyarrow.dataset.Dataset` reads rows or makes another dataset.

    Arrow's hints for threads and reading ahead are taken and have no effect.
    """

    _spec: ScanSpec
    _predicate: pc.Expression | None

    @property
    def schema(self) -> pa.Schema:
        return self._spec.schema.arrow

    def to_batches(
        self,
        columns: Columns = None,
        filter: pc.Expression | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
        **options: Any,
    ) -> Iterator[pa.RecordBatch]:
        """As scan.scan_batches, and `columns` may be expressions."""
        if isinstance(columns, Mapping):
            return iter(self.scanner(columns, filter, batch_size, **options).to_batches())
        return scan_batches(self._spec, columns, self._both(filter), batch_size=batch_size)

    def scanner(
        self,
        columns: Columns = None,
        filter: pc.Expression | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
        **_: Any,
    ) -> ds.Scanner:
        """Arrow's scanner over the rows: it streams, and can be read once."""
        by_name = None if isinstance(columns, Mapping) else columns
        batches = self.to_batches(by_name, filter, batch_size)
        return ds.Scanner.from_batches(
            batches,
            schema=output_schema(self._spec.schema, by_name),
            columns=dict(columns) if isinstance(columns, Mapping) else None,
        )

    def to_table(
        self, columns: Columns = None, filter: pc.Expression | None = None, **options: Any
    ) -> pa.Table:
        if isinstance(columns, Mapping):
            return self.scanner(columns, filter, **options).to_table()
        return self._table(columns, list(self.to_batches(columns, filter, **options)))

    def head(
        self,
        num_rows: int,
        columns: Columns = None,
        filter: pc.Expression | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
        **_: Any,
    ) -> pa.Table:
        """The first rows that satisfy the filter, from as few files as possible."""
        if isinstance(columns, Mapping):
            return self.scanner(columns, filter, min(batch_size, num_rows)).head(num_rows)
        batches = scan_batches(
            self._spec,
            columns,
            self._both(filter),
            batch_size=max(1, min(batch_size, num_rows)) if filter is None else batch_size,
            workers=1,
        )
        found: list[pa.RecordBatch] = []
        missing = num_rows
        while missing > 0 and (batch := next(batches, None)) is not None:
            found.append(batch.slice(0, missing))
            missing -= found[-1].num_rows
        return self._table(columns, found)

    def take(
        self,
        indices: Any,
        columns: Columns = None,
        filter: pc.Expression | None = None,
        **options: Any,
    ) -> pa.Table:
        return self.to_table(columns, filter, **options).take(indices)

    def count_rows(self, filter: pc.Expression | None = None, **_: Any) -> int:
        return count_rows(self._spec, self._both(filter))

    def filter(self, expression: pc.Expression) -> DeltaDataset:
        return DeltaDataset(self._spec, self._both(expression))

    def sort_by(self, sorting: Any, **options: Any) -> ds.InMemoryDataset:
        return ds.dataset(self.to_table().sort_by(sorting, **options))

    def join(self, right_dataset: Any, *args: Any, **options: Any) -> ds.InMemoryDataset:
        return ds.dataset(self.to_table().join(_table_of(right_dataset), *args, **options))

    def join_asof(self, right_dataset: Any, *args: Any, **options: Any) -> ds.InMemoryDataset:
        return ds.dataset(self.to_table().join_asof(_table_of(right_dataset), *args, **options))

    def _both(self, other: pc.Expression | None) -> pc.Expression | None:
        return both(self._predicate, other)

    def _table(self, columns: Sequence[str] | None, batches: list[pa.RecordBatch]) -> pa.Table:
        schema = output_schema(self._spec.schema, columns)
        # Without columns only the batches know the number of rows.
        return pa.Table.from_batches(batches, schema if len(schema) or not batches else None)

    def __repr__(self) -> str:
        files = self._spec.files.num_rows
        return f"<{type(self).__name__} of {self._spec.of_table}, {files} files>"


def _table_of(dataset: Any) -> pa.Table:
    return dataset if isinstance(dataset, pa.Table) else dataset.to_table()


class DeltaDataset(_Reading, ds.UnionDataset):  # type: ignore[misc]
    """Rows that only our own reading gets right; it has no fragments.

    Code that hands the dataset to Arrow's internals gets an error, never wrong rows.
    """

    def __init__(self, spec: ScanSpec, predicate: pc.Expression | None = None) -> None:
        self._spec = spec
        self._predicate = predicate
        form, nowhere = ds.ParquetFileFormat(), pyarrow.fs.LocalFileSystem()
        stand_in = ds.FileSystemDataset(
            [form.make_fragment(_NO_FILE, nowhere)], spec.schema.arrow, form, nowhere
        )
        super().__init__(spec.schema.arrow, [stand_in])

    def get_fragments(self, filter: pc.Expression | None = None) -> Iterator[Any]:
        raise _unsupported("get_fragments", "to_batches()")

    def replace_schema(self, schema: pa.Schema) -> ds.Dataset:
        raise _unsupported("replace_schema", "to_table().cast(schema)")

    def __reduce__(self) -> tuple[Any, ...]:
        return DeltaDataset, (self._spec, self._predicate)


class DeltaFileDataset(_Reading, ds.FileSystemDataset):  # type: ignore[misc]
    """Plain Parquet files with their partition values as guarantees.

    Its fragments are Arrow's own: who reads them himself finds columns by exact name only.
    """

    def __init__(self, spec: ScanSpec) -> None:
        self._spec = spec
        self._predicate = None
        form = ds.ParquetFileFormat(coerce_int96_timestamp_unit="us")
        guarantees: dict[int, pc.Expression | None] = {}
        fragments = []
        for file in data_files(spec, spec.files):
            # Files of one partition share the object that holds their values.
            key = id(file.partition_values)
            if key not in guarantees:
                guarantees[key] = partition_guarantee(file.partition_values)
            fragments.append(form.make_fragment(file.arrow_path, file.filesystem, guarantees[key]))
        filesystem, _ = spec.opened.arrow_filesystem()
        super().__init__(fragments, spec.schema.arrow, form, filesystem)

    def replace_schema(self, schema: pa.Schema) -> ds.FileSystemDataset:
        return ds.FileSystemDataset(
            list(self.get_fragments()), schema, self.format, self.filesystem
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return DeltaFileDataset, (self._spec,)


def _unsupported(method: str, instead: str) -> DeltaLakeError:
    return DeltaLakeError(
        DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
        f"{method} is not possible on this dataset: its rows are not those of its Parquet files "
        f"(deletion vectors, mapped columns, changed types, variants or a filter); use {instead}",
        method=method,
    )
