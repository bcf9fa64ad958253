"""A scan as a frame of pandas, Polars, DuckDB or Dask.

pandas and Polars are optional: CONFIGURATION_ERROR, with the command to install them, where one
is missing.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.scan.dataset import scan_dataset
from deltalakedb.scan.file import missing_file
from deltalakedb.scan.guarantees import check_predicate
from deltalakedb.scan.scan import (
    ScanSpec,
    both,
    data_files,
    output_schema,
    prune_files,
    scan_batches,
)

if TYPE_CHECKING:
    import duckdb

DEFAULT_BIN_BYTES = 128 << 20
"""Bytes of data files that one Dask partition reads, unless a single file is larger."""


def to_pandas(table: pa.Table, **options: Any) -> Any:
    """A `pandas.DataFrame`; `options` are those of `pyarrow.Table.to_pandas`."""
    package("pandas")
    return table.to_pandas(**options)


def to_duckdb(
    spec: ScanSpec,
    connection: duckdb.DuckDBPyConnection | None = None,
    columns: Sequence[str] | None = None,
) -> duckdb.DuckDBPyRelation:
    """A relation over the scan: DuckDB pushes its columns and filters down to it.

    Without a connection it belongs to DuckDB's default one, as `duckdb.sql` uses it. Raises
    NOT_FOUND when a local data file is missing: DuckDB would make an error of its own of that, as
    it does of all that happens while it reads.
    """
    import duckdb

    _check_local_files(spec)
    relation: duckdb.DuckDBPyRelation = (connection or duckdb).from_arrow(scan_dataset(spec))
    if columns is not None:
        relation = relation.select(*(duckdb.ColumnExpression(name) for name in columns))
    return relation


def _check_local_files(spec: ScanSpec) -> None:
    for file in data_files(spec, spec.files):
        if not file.store.spec.is_s3 and not os.path.exists(file.arrow_path):
            raise missing_file(file, spec.of_table)


def to_dask(
    spec: ScanSpec,
    columns: Sequence[str] | None = None,
    predicate: pc.Expression | None = None,
    *,
    bin_bytes: int = DEFAULT_BIN_BYTES,
) -> Any:
    """A `dask.dataframe.DataFrame` with a partition for each bin of neighbouring files.

    A bin holds files of up to `bin_bytes` together, or one larger file. Rows are those that
    satisfy `predicate`, and files are left out whose partition values contradict it; Dask pushes
    further selections of columns down by itself. Types are Arrow's (`pandas.ArrowDtype`), so
    that all partitions agree also where there are nulls. Nothing is read until it is computed.
    Tasks hold the store's spec without credentials: see `deltalakedb.secret`.
    """
    package("pandas")
    import dask.dataframe as frames

    wanted = output_schema(spec.schema, columns)
    files = spec.files
    selecting = both(spec.rows.arrow, predicate)
    if selecting is not None:
        check_predicate(selecting, spec.schema.arrow)
        files = prune_files(spec, selecting)
    bins = [
        _ipc(files.slice(start, end - start)) for start, end in pairwise(_bins(files, bin_bytes))
    ]
    reader = _BinReader(
        spec.with_files(spec.files.schema.empty_table()), tuple(wanted.names), predicate
    )
    # A frame has at least one partition.
    return frames.from_map(
        reader,
        bins or [_ipc(files.slice(0, 0))],
        meta=_to_arrow_frame(wanted.empty_table()),
        label="deltalakedb-scan",
    )


@dataclass(frozen=True, eq=False)
class _BinReader:
    """What every task of a Dask frame shares; called with the files of its bin."""

    spec: ScanSpec
    names: tuple[str, ...]
    predicate: pc.Expression | None

    def __call__(self, files: bytes, columns: Sequence[str] | None = None) -> Any:
        spec = self.spec.with_files(pa.ipc.open_stream(files).read_all())
        names = list(self.names if columns is None else columns)
        # The cluster runs many tasks at a time: each of them reads file by file.
        batches = list(scan_batches(spec, names, self.predicate, workers=1))
        schema = output_schema(spec.schema, names)
        return _to_arrow_frame(
            pa.Table.from_batches(batches, schema if len(schema) or not batches else None)
        )


def _to_arrow_frame(table: pa.Table) -> Any:
    pandas = package("pandas")
    return table.to_pandas(types_mapper=pandas.ArrowDtype)


def _bins(files: pa.Table, bin_bytes: int) -> list[int]:
    """Bounds between the bins: row numbers from 0 to the number of files."""
    bounds, size = [0], 0
    for row, own in enumerate(files.column("size").to_pylist()):
        if row > bounds[-1] and size + (own or 0) > bin_bytes:
            bounds.append(row)
            size = 0
        size += own or 0
    return [*bounds, files.num_rows] if files.num_rows else bounds


def _ipc(files: pa.Table) -> bytes:
    """The rows alone: a pickled slice would hold the whole table."""
    kept = ["path", "partition_values", "dv", "num_records", "size"]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, files.select(kept).schema) as writer:
        writer.write_table(files.select(kept))
    return bytes(sink.getvalue().to_pybytes())


def package(name: str) -> Any:
    """The module of an optional package; CONFIGURATION_ERROR where it isn't installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONFIGURATION_ERROR,
            f"this needs {error.name}, which is not installed: pip install 'deltalakedb[{name}]'",
            package=error.name,
        ) from error
