"""A scan as a Polars lazy frame.

Polars' own Parquet reader reads the files whose rows stand in them as the table shows them: it is
told the table's types, and refuses a file that has others, lacks a column or spells it otherwise.
Such files, and those with a deletion vector, are read as `scan_batches` reads them.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, permutations
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs

from deltalakedb.error import DeltaLakeError
from deltalakedb.scan.file import DataFile
from deltalakedb.scan.frames import package
from deltalakedb.scan.guarantees import check_predicate, referenced_columns
from deltalakedb.scan.scan import ScanSpec, both, data_files, scan_batches
from deltalakedb.scan.types import ReadField

if TYPE_CHECKING:
    import polars as pl

_AT_ONCE_BYTES = 64 << 20
"""Of files that Polars reads at once: a bound on memory."""
_AT_ONCE_PARTS = 200
_ARITHMETIC = re.compile(r"\) (?:[-+*/%]|//) \(")
"""Between two operands, as Polars prints a predicate."""


def to_polars(spec: ScanSpec) -> pl.LazyFrame:
    """A lazy frame that reads only the columns, files and row groups a query needs.

    Polars itself filters the rows, so that NaN and null compare as they do in Polars.
    """
    polars = package("polars")
    plugins = importlib.import_module("polars.io.plugins")
    schema = spec.schema.arrow
    types = polars.from_arrow(schema.empty_table()).schema

    def source(
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        read, prune = with_columns, None
        if predicate is not None:
            prune = _pushed_down(polars, predicate, schema)
            if read is not None:
                read = [*read, *(n for n in predicate.meta.root_names() if n not in read)]
        fields = spec.schema.readable(read)
        files = _neighbours(spec.files if prune is None else spec.planned(prune))
        chosen = spec.with_files(files)
        own = _OwnReader(polars, chosen, fields, dict(types)) if _may_read(chosen, fields) else None
        sizes = {} if batch_size is None else {"batch_size": batch_size}
        for start, length, plain in _pieces(files, own is not None):
            piece = chosen.with_files(files.slice(start, length))
            if plain and own is not None:
                frame = own.read(piece, with_columns, predicate, n_rows)
                if frame is not None:
                    yield frame
                    if n_rows is not None:
                        n_rows -= frame.height
                        if n_rows == 0:
                            return
                    continue
                own = None
            for batch in scan_batches(piece, read, prune=prune, **sizes):
                frame = polars.from_arrow(batch)
                if predicate is not None:
                    frame = frame.filter(predicate)
                if with_columns is not None:
                    frame = frame.select(with_columns)
                if n_rows is not None:
                    frame = frame.head(n_rows)
                    n_rows -= frame.height
                yield frame
                if n_rows == 0:
                    return

    frame: pl.LazyFrame = plugins.register_io_source(source, schema=types)
    return frame


def _may_read(spec: ScanSpec, fields: Sequence[ReadField]) -> bool:
    """Whether Polars' reader may be tried: what a file is like, it finds out itself."""
    schema = spec.schema
    if spec.rows or schema.mode == "id" or spec.place.is_s3:
        return False
    stored = [field for field in fields if not schema.is_partition(field)]
    if schema.mode == "name" and any(field.children for field in stored):
        return False
    return bool(stored) and not any(_has_variant(field) for field in stored)


def _has_variant(field: ReadField) -> bool:
    return field.kind == "variant" or any(_has_variant(child) for child in field.children)


def _neighbours(files: pa.Table) -> pa.Table:
    """The files with those of a partition side by side: they are read together."""
    texts = files.column("partition_values").combine_chunks().dictionary_encode()
    if len(texts.dictionary) < 2:
        return files
    return files.take(pc.array_sort_indices(texts.indices))


def _pieces(files: pa.Table, may_read: bool) -> Iterator[tuple[int, int, bool]]:
    """(first row, rows, whether they need no vector) of neighbours that are read together."""
    if not may_read:
        if files.num_rows:
            yield 0, files.num_rows, False
        return
    sizes = files.column("size").to_pylist()
    texts = files.column("partition_values").to_pylist()
    plain = files.column("dv").is_null().to_pylist()
    start = size = parts = 0
    for row in range(files.num_rows):
        another = row > start and texts[row] != texts[row - 1]
        own = sizes[row] or 0
        if row > start and (
            plain[row] != plain[start]
            or (plain[row] and (size + own > _AT_ONCE_BYTES or parts + another > _AT_ONCE_PARTS))
        ):
            yield start, row - start, plain[start]
            start, size, parts = row, 0, 0
        size += own
        parts += another
    if files.num_rows:
        yield start, files.num_rows - start, plain[start]


@dataclass
class _OwnReader:
    """Polars' Parquet reader, for files that need nothing else."""

    polars: Any
    spec: ScanSpec
    fields: Sequence[ReadField]
    """What is read: the columns that are wanted and those that the predicate looks at."""
    types: dict[str, Any]

    def read(
        self,
        spec: ScanSpec,
        columns: Sequence[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
    ) -> pl.DataFrame | None:
        """The rows of the files; None when one of them is not as the table shows it.

        Neither is what can't be read at all: `scan_batches` tells what is wrong with it.
        """
        polars = self.polars
        files = list(data_files(spec, spec.files))
        if not all(isinstance(file.filesystem, pyarrow.fs.LocalFileSystem) for file in files):
            return None
        parted = any(map(self.spec.schema.is_partition, self.fields))
        # Polars computes with minima and maxima as with rows, and loses files where that overflows.
        by_statistics = predicate is None or _ARITHMETIC.search(str(predicate)) is None
        frames = []
        for _, alike in groupby(files, lambda file: id(file.partition_values) if parted else 0):
            frame = self._one(list(alike), by_statistics)
            if frame is None:
                return None
            frames.append(frame)
        whole = frames[0] if len(frames) == 1 else polars.concat(frames)
        if predicate is not None:
            whole = whole.filter(predicate)
        names = list(columns) if columns is not None else [field.name for field in self.fields]
        whole = whole.select(names)
        if n_rows is not None:
            whole = whole.head(n_rows)
        try:
            found: pl.DataFrame = whole.collect(engine="streaming")
        except (polars.exceptions.PolarsError, OSError):
            return None
        return found if dict(found.schema) == {name: self.types[name] for name in names} else None

    def _one(self, files: Sequence[DataFile], by_statistics: bool) -> pl.LazyFrame | None:
        """The rows of the files of one partition, under the table's names."""
        polars, schema = self.polars, self.spec.schema
        stored = {
            field.physical_name: self.types[field.name]
            for field in self.fields
            if not schema.is_partition(field)
        }
        with warnings.catch_warnings():
            # A parameter that may change is no concern of who reads the frame.
            warnings.simplefilter("ignore")
            frame: pl.LazyFrame = polars.scan_parquet(
                [file.arrow_path for file in files],
                schema=stored,
                glob=False,
                hive_partitioning=False,
                use_statistics=by_statistics,
                missing_columns="raise",
                extra_columns="ignore",
            )
        columns = []
        for field in self.fields:
            if not schema.is_partition(field):
                columns.append(polars.col(field.physical_name).alias(field.name))
                continue
            value = files[0].partition_values[field.name]
            if isinstance(value, DeltaLakeError):
                return None
            try:
                item = value.as_py()
            except (ValueError, OverflowError):
                return None  # a time that Python can't tell
            if repr(item) == "-0.0":
                return None  # Polars takes the literals 0.0 and -0.0 of two frames for one
            columns.append(polars.lit(item, dtype=self.types[field.name]).alias(field.name))
        return frame.select(columns)


class _Probe(ds.InMemoryDataset):  # type: ignore[misc]
    """An empty dataset that remembers which filter it was asked for."""

    def __init__(self, schema: pa.Schema) -> None:
        super().__init__(schema.empty_table())
        self.asked: pc.Expression | None = None

    def to_table(self, filter: pc.Expression | None = None, **options: Any) -> pa.Table:
        self.asked = filter
        return super().to_table(**options)

    def to_batches(
        self, filter: pc.Expression | None = None, **options: Any
    ) -> Iterator[pa.RecordBatch]:
        self.asked = filter
        return iter(super().to_batches(**options))


def _pushed_down(polars: Any, predicate: pl.Expr, schema: pa.Schema) -> pc.Expression | None:
    """The part of a Polars predicate that Arrow can express, as Polars itself translates it."""
    probe = _Probe(schema)
    try:
        polars.scan_pyarrow_dataset(probe).filter(predicate).collect()
        if probe.asked is not None:
            check_predicate(probe.asked, schema)
    except Exception:  # noqa: BLE001 - whatever Polars can't translate, it filters itself
        return None
    asked = probe.asked
    if asked is None or not _means_other(asked, schema):
        return asked
    found = None
    for part in _parts(predicate):
        found = both(found, _pushed_down(polars, part, schema))
    return found


def _parts(predicate: pl.Expr) -> list[pl.Expr]:
    """What a predicate joins by AND; [] when that is nothing."""
    inputs = predicate.meta.pop()
    for left, right in permutations(inputs) if len(inputs) == 2 else ():
        if (left & right).meta.eq(predicate):
            return [left, right]
    return []


def _means_other(condition: pc.Expression, schema: pa.Schema) -> bool:
    """Whether Arrow might rule out rows by it that Polars finds.

    To Polars NaN is the greatest number, and 0.0 is among [-0.0].
    """
    text = str(condition)
    if "nan" not in text and "is_in(" not in text:
        return False
    names = referenced_columns(condition, schema)
    return any(pa.types.is_floating(schema.field(name).type) for name in names)
