"""The rows of one data file, as the table means them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.deletion_vector import cardinality, deleted_rows, vector_path, vector_range
from deltalakedb.log.parquet_footer import footer_of, metadata_of
from deltalakedb.log.plain_arrow import plain_batch
from deltalakedb.predicate.tree import Expr
from deltalakedb.scan.columns import Convert, UnreadableColumn, file_columns
from deltalakedb.scan.guarantees import partition_guarantee, surviving
from deltalakedb.scan.row_groups import LeafColumn, row_group_guarantees
from deltalakedb.scan.tally import Tally
from deltalakedb.scan.types import PartitionValues, ReadField, ReadSchema
from deltalakedb.scan.variant import NotAVariant
from deltalakedb.storage.store import ObjectStore

ROW_INDEX = "\0row"
"""Name of the column of physical row indexes, which no column of a table has."""
_RUN_BYTES = 64 << 20
"""Row groups are fetched together up to this many uncompressed bytes: a bound on memory."""


class DataFile(NamedTuple):
    """A live file of a table, found and ready to be opened."""

    path: str
    """As it stands in the log."""
    store: ObjectStore
    """Where it is."""
    name: str
    """Its name there."""
    filesystem: pyarrow.fs.FileSystem
    arrow_path: str
    partition_values: PartitionValues
    deletion_vector: Mapping[str, Any] | None
    num_records: int | None
    """Physical rows, when the statistics say so."""

    def place(self) -> str:
        """For messages; without secrets."""
        return self.store.describe(self.name)


@dataclass(frozen=True)
class ReadPlan:
    """What to read of every file of a scan."""

    store: ObjectStore
    schema: ReadSchema
    output: tuple[ReadField, ...]
    needed: tuple[ReadField, ...]
    """The columns of the output first, then those that only the predicate looks at."""
    predicate: pc.Expression | None
    """Rows that don't satisfy it are left out."""
    prune: pc.Expression | None
    """Row groups that can't satisfy it may be left out; their rows aren't looked at."""
    pruned_by: frozenset[str]
    """The columns that `prune` looks at."""
    batch_size: int
    use_threads: bool
    of_table: str
    """Which table and version, for messages."""
    row_index: bool = False
    """Whether the last column of each batch is ROW_INDEX (int64, from 0, deleted rows counted)."""
    test: Expr | None = None
    """`predicate`, where `predicate.mask` knows it."""
    tally: Tally | None = None
    """Takes what is read."""


def read_file(file: DataFile, plan: ReadPlan) -> Iterator[pa.RecordBatch]:
    """The file's live rows in physical order, in batches of the plan's output columns.

    NOT_FOUND when the file is missing, CORRUPT_DATA_FILE when it is no Parquet file or a column
    does not fit the table, CORRUPT_DELETION_VECTOR, STORAGE_ERROR.
    """
    with errors_named(file, plan), file.filesystem.open_input_file(file.arrow_path) as source:
        # Buffering ahead reads the bytes of a run of row groups in few large requests, which is
        # for networks: of a local file it makes copies.
        footer, parquet = opened(source)
        found = columns_in(parquet, plan)
        deleted = deleted_of(file, plan, parquet.metadata.num_rows)
        groups = row_groups_of(footer, parquet, file, plan, found)
        if plan.tally is not None:
            plan.tally.note(footer, parquet.metadata, groups, {name for name, _ in found.values()})
        for start, rows, run in runs(parquet.metadata, groups):
            yield from _read_run(parquet, run, start, rows, file, plan, found, deleted)


def opened(source: pa.NativeFile) -> tuple[bytes, pq.ParquetFile]:
    """A file's footer, and the file."""
    footer = _footer(source)
    return footer, pq.ParquetFile(
        source,
        metadata=metadata_of(footer),
        pre_buffer=True,
        coerce_int96_timestamp_unit="us",
    )


def columns_in(parquet: pq.ParquetFile, plan: ReadPlan) -> dict[str, tuple[str, Convert]]:
    """How a file has the columns that are needed, by their logical names."""
    physical = [field for field in plan.needed if not plan.schema.is_partition(field)]
    return file_columns(parquet.schema_arrow, physical, plan.schema.mode)


def count_file(file: DataFile, plan: ReadPlan) -> int:
    """Live rows of the file: from the log when it says how many, else from the file's footer."""
    vector = file.deletion_vector
    gone = 0 if vector is None else cardinality(vector)
    if file.num_records is not None:
        return file.num_records - gone
    with errors_named(file, plan), file.filesystem.open_input_file(file.arrow_path) as source:
        return int(pq.read_metadata(source).num_rows) - gone


def _read_run(
    parquet: pq.ParquetFile,
    groups: Sequence[int],
    start: int,
    rows: int,
    file: DataFile,
    plan: ReadPlan,
    found: Mapping[str, tuple[str, Convert]],
    deleted: npt.NDArray[np.int64] | None,
) -> Iterator[pa.RecordBatch]:
    for stored, length in stored_batches(parquet, groups, rows, plan, found):
        mask = _live(deleted, start, length)
        index = None
        if plan.row_index:
            index = pa.array(np.arange(start, start + length, dtype=np.int64))
            index = index if mask is None else index.filter(mask)
        start += length
        if mask is not None:
            length = mask.true_count
            # Arrow can't filter views: the conversions take plain types as well.
            stored = plain_batch(stored).filter(mask) if stored is not None else None
        if length:
            batch = table_batch(stored, length, file, plan, found, index)
            if batch.num_rows:
                yield batch


def stored_batches(
    parquet: pq.ParquetFile,
    groups: Sequence[int],
    rows: int,
    plan: ReadPlan,
    found: Mapping[str, tuple[str, Convert]],
) -> Iterator[tuple[pa.RecordBatch | None, int]]:
    """(columns as the file has them, rows), None where none of the file's is needed."""
    names = list(dict.fromkeys(name for name, _ in found.values()))
    if not names:
        for done in range(0, rows, plan.batch_size):
            yield None, min(plan.batch_size, rows - done)
        return
    for batch in parquet.iter_batches(
        batch_size=plan.batch_size,
        row_groups=list(groups),
        columns=names,
        use_threads=plan.use_threads,
    ):
        yield batch, batch.num_rows


def table_batch(
    stored: pa.RecordBatch | None,
    length: int,
    file: DataFile,
    plan: ReadPlan,
    found: Mapping[str, tuple[str, Convert]],
    index: pa.Array | None,
) -> pa.RecordBatch:
    """What the file has, as the table means it; of the plan's predicate only what satisfies it."""
    arrays = []
    for field in plan.needed:
        constant = file.partition_values.get(field.name)
        if isinstance(constant, DeltaLakeError):
            raise constant
        if constant is not None:
            arrays.append(_repeat(constant, length))
        elif field.name in found and stored is not None:
            name, convert = found[field.name]
            arrays.append(convert(stored.column(stored.schema.get_field_index(name))))
        else:
            arrays.append(pa.nulls(length, field.arrow))
    batch = _batch(arrays, plan.needed, length)
    if index is not None:
        batch = batch.append_column(ROW_INDEX, index)
    if plan.predicate is not None:
        try:
            batch = batch.filter(plan.predicate)
        except pa.ArrowException as error:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_PREDICATE,
                f"the predicate {str(plan.predicate)!r} fails on its rows: {error}; compare "
                "columns with values of their own type",
            ) from error
        kept = len(plan.output)
        if kept < len(plan.needed):
            index = None if index is None else batch.column(batch.num_columns - 1)
            batch = _batch(batch.columns[:kept], plan.output, batch.num_rows)
            if index is not None:
                batch = batch.append_column(ROW_INDEX, index)
    return batch


def _batch(arrays: list[pa.Array], fields: Sequence[ReadField], length: int) -> pa.RecordBatch:
    if not arrays:
        # The only way to a batch without columns that still has its number of rows.
        return pa.RecordBatch.from_struct_array(pa.array([{}] * length, pa.struct([])))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([f.arrow_field for f in fields]))


def _repeat(value: pa.Scalar, length: int) -> pa.Array:
    return pa.repeat(value, length) if value.is_valid else pa.nulls(length, value.type)


def _live(deleted: npt.NDArray[np.int64] | None, start: int, length: int) -> pa.BooleanArray | None:
    """Which of `length` physical rows from `start` are live; None for all."""
    if deleted is None:
        return None
    first, last = np.searchsorted(deleted, (start, start + length))
    if first == last:
        return None
    mask = np.ones(length, dtype=bool)
    mask[deleted[first:last] - start] = False
    return pa.array(mask)


def read_vector(store: ObjectStore, descriptor: Mapping[str, Any]) -> npt.NDArray[np.int64]:
    """The ascending row indexes that a vector deletes; `store` is that of the table's folder."""
    path = vector_path(descriptor)
    if path is None:
        return deleted_rows(descriptor)
    # A vector named by its uuid lies in the table's folder, not in that of the data file.
    name = path
    if descriptor["storageType"] == "p":
        store, name = store.resolve(path)
    return deleted_rows(descriptor, store.read_range(name, *vector_range(descriptor)))


def deleted_of(file: DataFile, plan: ReadPlan, num_rows: int) -> npt.NDArray[np.int64] | None:
    """The rows that the file's vector deletes, ascending; None without one."""
    descriptor = file.deletion_vector
    if descriptor is None:
        return None
    rows = read_vector(plan.store, descriptor)
    if len(rows) and rows[-1] >= num_rows:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CORRUPT_DELETION_VECTOR,
            f"its deletion vector deletes row {rows[-1]} of {num_rows}",
        )
    return rows


def _footer(source: pa.NativeFile) -> bytes:
    try:
        return footer_of(source)
    except ValueError as error:
        raise pa.ArrowInvalid(str(error)) from error


def row_groups_of(
    footer: bytes,
    parquet: pq.ParquetFile,
    file: DataFile,
    plan: ReadPlan,
    found: Mapping[str, tuple[str, Convert]],
) -> list[int]:
    """The row groups in which some row might satisfy the plan's pruning predicate."""
    every = list(range(parquet.metadata.num_row_groups))
    if plan.prune is None or not every:
        return every
    same = partition_guarantee(
        {n: value for n, value in file.partition_values.items() if n in plan.pruned_by}
    )
    leaves = _leaves(parquet.schema_arrow)
    columns = []
    for field in plan.needed:
        if field.name not in plan.pruned_by or plan.schema.is_partition(field):
            continue
        if field.name not in found:
            absent = pc.field(field.name).is_null()
            same = absent if same is None else same & absent
        elif field.kind == "primitive":
            name, convert = found[field.name]
            leaf, kind = leaves[name]
            columns.append(LeafColumn(field.name, leaf, kind, convert, field.arrow))
    guarantees = [
        promise if same is None else same if promise is None else same & promise
        for promise in row_group_guarantees(footer, parquet, columns)
    ]
    return surviving(guarantees, plan.prune, plan.schema.arrow)


def _leaves(schema: pa.Schema) -> dict[str, tuple[int, pa.DataType]]:
    """Top-level column -> (its first leaf column in the file, its type)."""
    leaves: dict[str, tuple[int, pa.DataType]] = {}
    position = 0
    for member in schema:
        leaves.setdefault(member.name, (position, member.type))
        position += _count_leaves(member.type)
    return leaves


def _count_leaves(kind: pa.DataType) -> int:
    if isinstance(kind, pa.BaseExtensionType):
        return _count_leaves(kind.storage_type)
    if pa.types.is_nested(kind):
        return sum(_count_leaves(kind.field(i).type) for i in range(kind.num_fields))
    return 1


def runs(metadata: Any, groups: Sequence[int]) -> Iterator[tuple[int, int, list[int]]]:
    """(first row, rows, row groups) of neighbouring row groups that are fetched together."""
    wanted = frozenset(groups)
    run: list[int] = []
    position = start = rows = size = 0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        if run and (index not in wanted or size + group.total_byte_size > _RUN_BYTES):
            yield start, rows, run
            run, rows, size = [], 0, 0
        if index in wanted:
            if not run:
                start = position
            run.append(index)
            rows += group.num_rows
            size += group.total_byte_size
        position += group.num_rows
    if run:
        yield start, rows, run


def missing_file(file: DataFile, of_table: str) -> DeltaLakeError:
    """NOT_FOUND for a data file that isn't there."""
    return DeltaLakeError(
        DeltaLakeErrorKind.NOT_FOUND,
        f"data file {file.place()} of {of_table} does not exist; it may have been vacuumed after "
        "this version: read a newer version, or restore the file",
        path=file.path,
    )


@contextmanager
def errors_named(file: DataFile, plan: ReadPlan) -> Iterator[None]:
    """Errors of reading, told with the file and the table's version."""
    try:
        yield
    except DeltaLakeError as error:
        facts: dict[str, Any] = {"path": file.path, **error.facts}
        raise DeltaLakeError(
            error.kind,
            f"data file {file.place()} of {plan.of_table}: {error.message}",
            **facts,
        ) from error
    except (UnreadableColumn, NotAVariant) as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CORRUPT_DATA_FILE,
            f"data file {file.place()} of {plan.of_table}: {error}; rewrite the file, or leave the "
            "column out",
            path=file.path,
        ) from error
    except MemoryError as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.OUT_OF_MEMORY,
            f"data file {file.place()} of {plan.of_table}: memory ran out; choose fewer columns, "
            "or rows, or read them in smaller batches",
            path=file.path,
        ) from error
    except FileNotFoundError as error:
        raise missing_file(file, plan.of_table) from error
    except (OSError, pa.ArrowException) as error:
        # Arrow reports damaged Parquet as an OSError too, but without a number.
        if isinstance(error, OSError) and error.errno is not None:
            kind, advice = DeltaLakeErrorKind.STORAGE_ERROR, "check the storage and try again"
        else:
            kind, advice = DeltaLakeErrorKind.CORRUPT_DATA_FILE, "restore it from a backup"
        raise DeltaLakeError(
            kind,
            f"data file {file.place()} of {plan.of_table} could not be read: {error}; {advice}",
            path=file.path,
        ) from error
