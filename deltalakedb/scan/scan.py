"""The rows of a list of a table's files, whoever made the list.

`ScanSpec` says which files of which table; `scan_batches` streams their rows, `scan_table`
gathers them, `count_rows` counts them. Deletion vectors, column mapping by name and id, type
widening, columns that are missing or in another order, and partition values are honoured
(PROTOCOL.md, Deletion Vectors, Column Mapping, Type Widening, Partition Value Serialization).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.paths import decode_path, is_absolute
from deltalakedb.log.protocol import Protocol, check_known, unreadable_features
from deltalakedb.memory import enough_memory
from deltalakedb.predicate.mask import is_plain
from deltalakedb.predicate.row_filter import ALL_ROWS, RowCondition, RowFilter
from deltalakedb.predicate.tree import columns_of
from deltalakedb.redact import redact
from deltalakedb.scan.file import ROW_INDEX, DataFile, ReadPlan, count_file, read_file
from deltalakedb.scan.guarantees import (
    check_predicate,
    partition_guarantees,
    referenced_columns,
    surviving,
)
from deltalakedb.scan.places import read_places
from deltalakedb.scan.tally import Tally
from deltalakedb.scan.threads import in_order
from deltalakedb.scan.types import (
    PartitionValues,
    ReadSchema,
    mapping_mode,
    partition_scalars,
    read_schema,
)
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import ObjectStore

DEFAULT_BATCH_SIZE = 131_072
"""Rows of a batch at most, as in `pyarrow.dataset`."""

_FILE_COLUMNS = ("path", "partition_values", "dv", "num_records")
_CHUNK = 1024
_WORTH_A_PLAN = 16
"""Files beyond which another plan costs less than their footers."""
_REMOTE_WORKERS = 16
_JOB_FILES = 8
_JOB_BYTES = 4 << 20
"""Files that one thread reads in a row: handing over rows costs as much as a small file."""

# Features that `unreadable_features` may name and that are honoured here: whoever made the list of
# files answers for `catalogManaged`, and shredded variants are put together.
_HONOURED = frozenset({"catalogManaged", "variantShredding", "variantShredding-preview"})


Planner = Callable[[pc.Expression], pa.Table | None]
"""The scan's files that may have rows of a condition; None when it can't tell."""


@dataclass(frozen=True, eq=False)
class ScanSpec:
    """Files of one version of a table, and what of its metadata reading them takes. Picklable."""

    store: StoreSpec | ObjectStore
    """The table's folder: a spec is opened where it is read, and an open store pickles as its."""
    files: pa.Table
    """A row a file: `path` (raw), `partition_values` (canonical JSON), `dv` (JSON or null) and
    `num_records` (or null) as in FileRows; `size` (bytes) for binning. Others aren't looked at."""
    schema_string: str
    partition_columns: tuple[str, ...]
    """Logical names."""
    configuration: Mapping[str, str]
    protocol: Protocol
    version: int | None = None
    """For messages."""
    rows: RowFilter = ALL_ROWS
    """Which of the files' rows are the scan's: every way to read it gives those alone."""
    planner: Planner | None = None
    """Plans anew by a further condition; stays in its process."""
    tally: Tally | None = None
    """Takes what is read in its process."""

    @cached_property
    def schema(self) -> ReadSchema:
        """The table's columns; UNSUPPORTED_FEATURE names what reading does not honour."""
        check_known(self.protocol)
        refused = [name for name in unreadable_features(self.protocol) if name not in _HONOURED]
        if refused:
            raise DeltaLakeError(
                DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
                f"reading {self.of_table} needs reader features that are not supported: "
                f"{', '.join(refused)}; read it with an engine that supports them",
                features=refused,
            )
        mode = mapping_mode(self.configuration, self.protocol)
        return read_schema(self.schema_string, self.partition_columns, mode)

    @cached_property
    def opened(self) -> ObjectStore:
        """The store of this process."""
        return open_store(self.store) if isinstance(self.store, StoreSpec) else self.store

    @property
    def place(self) -> StoreSpec:
        return self.store if isinstance(self.store, StoreSpec) else self.store.spec

    @property
    def of_table(self) -> str:
        place = redact(self.place.url)
        return place if self.version is None else f"version {self.version} of {place}"

    def with_files(self, files: pa.Table) -> ScanSpec:
        """The same table with other files; what was parsed and opened is kept."""
        other = replace(self, files=files, planner=None)
        kept = ("schema", "opened")
        other.__dict__.update({name: self.__dict__[name] for name in kept if name in self.__dict__})
        return other

    def __getstate__(self) -> dict[str, Any]:
        # What was parsed and opened stays here: workers open the store when they read.
        return {field.name: getattr(self, field.name) for field in fields(self)} | {
            "store": self.place,
            "planner": None,
        }

    def planned(self, condition: pc.Expression) -> pa.Table:
        """The rows of `files` that may have rows of `condition`, by all that is known of them."""
        found = None
        if self.planner is not None and self.files.num_rows > _WORTH_A_PLAN:
            found = self.planner(condition)
        return prune_files(self, condition) if found is None else found


def scan_table(
    spec: ScanSpec,
    columns: Sequence[str] | None = None,
    predicate: pc.Expression | None = None,
    *,
    batch_size: int = DEFAULT_BATCH_SIZE,
) -> pa.Table:
    """All rows as one table; see `scan_batches`."""
    wanted = output_schema(spec.schema, columns)
    with enough_memory(
        f"rows of {spec.of_table} were read",
        "choose fewer columns or rows, or read them in batches (to_batches)",
    ):
        batches = list(scan_batches(spec, columns, predicate, batch_size=batch_size))
    # Without columns only the batches know the number of rows.
    return pa.Table.from_batches(batches, wanted if len(wanted) or not batches else None)


def scan_batches(
    spec: ScanSpec,
    columns: Sequence[str] | None = None,
    predicate: pc.Expression | None = None,
    *,
    prune: pc.Expression | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    workers: int | None = None,
) -> Iterator[pa.RecordBatch]:
    """The live rows in batches, files in the order of `spec.files`, rows in physical order.

    `columns` are logical names in the order wanted (default: all, partition columns at their
    place in the schema). Only rows that satisfy `predicate`, an expression over logical names,
    are given; `prune` only lets files and row groups go that can't satisfy it. `workers` files
    are read ahead (default: by the storage); memory is bounded by a few batches and 64 MB of
    row groups for each of them. Batches are never empty. Errors: INVALID_ARGUMENT for unknown
    columns, INVALID_PREDICATE, UNSUPPORTED_FEATURE, and those of `scan_file.read_file`.
    """
    conditions = spec.rows.conditions
    asked = _with_conditions(spec, columns)
    plan, files = _plan(spec, asked, predicate, prune, batch_size)
    if workers is None:
        workers = _workers(spec, files.num_rows)
    if workers <= 1 and files.num_rows <= 1:
        plan = replace(plan, use_threads=True)
    jobs: Iterator[Callable[[], Iterator[pa.RecordBatch]]] = (
        partial(_read_files, some, plan) for some in _jobs(spec, files, workers)
    )
    if conditions:
        jobs = (partial(_satisfying, job, conditions, columns) for job in jobs)
    return in_order(jobs, workers)


def _read_files(files: Sequence[DataFile], plan: ReadPlan) -> Iterator[pa.RecordBatch]:
    for file in files:
        yield from read_file(file, plan)


def _jobs(spec: ScanSpec, files: pa.Table, workers: int) -> Iterator[list[DataFile]]:
    """The files for the workers: small ones several at a time, where there are many."""
    most = min(_JOB_FILES, files.num_rows // (4 * workers)) if workers > 1 else 1
    job: list[DataFile] = []
    size = 0
    sizes = files.column("size").to_pylist() if most > 1 else [0] * files.num_rows
    for file, own in zip(data_files(spec, files), sizes, strict=True):
        job.append(file)
        size += own or 0
        if len(job) >= most or size >= _JOB_BYTES:
            yield job
            job, size = [], 0
    if job:
        yield job


def indexed_rows(
    spec: ScanSpec, columns: Sequence[str] | None = None, *, batch_size: int = DEFAULT_BATCH_SIZE
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """(raw path, rows) of the scan's rows, file after file in the order of `spec.files`.

    The last column of the rows, ROW_INDEX, has each one's place in its file (int64, from 0,
    physical order). Otherwise as `scan_batches`.
    """
    conditions = spec.rows.conditions
    plan, files = _plan(spec, _with_conditions(spec, columns), None, None, batch_size)
    test = spec.rows.test
    known = test is not None and is_plain(test, spec.schema.arrow)
    plan = replace(plan, row_index=True, test=test if known else None)
    wanted = None if columns is None else [*columns, ROW_INDEX]

    def read(file: DataFile) -> Iterator[tuple[str, pa.RecordBatch]]:
        found = partial(read_file if plan.predicate is None else read_places, file, plan)
        for batch in _satisfying(found, conditions, wanted) if conditions else found():
            yield file.path, batch

    jobs = (partial(read, file) for file in data_files(spec, files))
    return in_order(jobs, _workers(spec, files.num_rows))


def _with_conditions(spec: ScanSpec, columns: Sequence[str] | None) -> Sequence[str] | None:
    """The columns to read: the wanted ones and those that conditions look at."""
    if columns is None or not spec.rows.conditions:
        return columns
    names = [spec.schema.field(name).name for name in columns]
    looked_at = (name for condition in spec.rows.conditions for name in condition.columns)
    # What looks at nothing still has to see rows.
    more = dict.fromkeys([*looked_at] or [*names, spec.schema.fields[0].name])
    return [*names, *(name for name in more if name not in names)]


def _satisfying(
    read: Callable[[], Iterator[pa.RecordBatch]],
    conditions: Sequence[RowCondition],
    columns: Sequence[str] | None,
) -> Iterator[pa.RecordBatch]:
    """The batches without the rows that a condition rejects, of the wanted columns."""
    for batch in read():
        for condition in conditions:
            if batch.num_rows:
                batch = condition.filter(batch)
        if batch.num_rows:
            yield batch if columns is None else batch.select(list(columns))


def count_rows(spec: ScanSpec, predicate: pc.Expression | None = None) -> int:
    """Live rows that satisfy the predicate.

    Without one nothing but the footers of files whose statistics lack `numRecords` is read.
    """
    if predicate is not None or spec.rows:
        return sum(batch.num_rows for batch in scan_batches(spec, [], predicate))
    plan, files = _plan(spec, [], None, None, DEFAULT_BATCH_SIZE)

    def count(file: DataFile) -> Iterator[int]:
        yield count_file(file, plan)

    jobs: Iterator[Callable[[], Iterator[int]]] = (
        partial(count, file) for file in data_files(spec, files)
    )
    known = files.column("num_records").null_count == 0
    return sum(in_order(jobs, 1 if known else _workers(spec, files.num_rows)))


def both(first: pc.Expression | None, second: pc.Expression | None) -> pc.Expression | None:
    """The two joined by AND; None for none."""
    if first is None or second is None:
        return second if first is None else first
    return first & second


def prune_files(spec: ScanSpec, predicate: pc.Expression) -> pa.Table:
    """The rows of `spec.files` whose partition values don't contradict the predicate."""
    if not spec.partition_columns or not spec.files.num_rows:
        return spec.files
    texts = spec.files.column("partition_values").combine_chunks().dictionary_encode()
    guarantees: list[pc.Expression | None] = []
    whose: list[int] = []
    for number, text in enumerate(texts.dictionary.to_pylist()):
        found = partition_guarantees(partition_scalars(text, spec.schema), spec.schema.arrow)
        guarantees += found
        whose += [number] * len(found)
    kept = surviving(guarantees, predicate, spec.schema.arrow)
    if len(kept) == len(guarantees):
        return spec.files
    flags = np.zeros(len(texts.dictionary), dtype=bool)
    flags[np.array(whose)[kept]] = True
    return spec.files.filter(pa.array(flags[texts.indices.to_numpy()]))


def data_files(spec: ScanSpec, files: pa.Table) -> Iterator[DataFile]:
    """The files, located and their partition values parsed (once per distinct text)."""
    schema = spec.schema
    partitions: dict[str, PartitionValues] = {}
    own_store = spec.opened
    own = own_store.arrow_filesystem()
    roots = {id(own_store): own}
    for chunk in files.select(_FILE_COLUMNS).to_batches(max_chunksize=_CHUNK):
        for raw, values, vector, records in zip(
            *(column.to_pylist() for column in chunk.columns), strict=True
        ):
            scalars = partitions.get(values)
            if scalars is None:
                scalars = partitions[values] = partition_scalars(values, schema)
            store, name = own_store, decode_path(raw)
            filesystem, root = own
            if is_absolute(raw):
                store, name = store.resolve(name)
                if id(store) not in roots:
                    roots[id(store)] = store.arrow_filesystem()
                filesystem, root = roots[id(store)]
            descriptor = None if vector is None else orjson.loads(vector)
            yield DataFile(
                raw, store, name, filesystem, f"{root}/{name}", scalars, descriptor, records
            )


def _plan(
    spec: ScanSpec,
    columns: Sequence[str] | None,
    predicate: pc.Expression | None,
    prune: pc.Expression | None,
    batch_size: int,
) -> tuple[ReadPlan, pa.Table]:
    """What to read of every file, and the files that are left to be read."""
    schema = spec.schema
    output = schema.readable(columns)
    names = [field.name for field in output]
    if len(set(names)) < len(names):
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"a column is asked for twice: {', '.join(names)}; name each once",
        )
    needed = list(output)
    asked = both(predicate, prune)
    predicate = both(spec.rows.arrow, predicate)
    pruned_by: list[str] = []
    if predicate is not None:
        pruned_by = _looked_at(spec, predicate)
        needed += schema.readable([name for name in pruned_by if name not in names])
        if not needed:  # a predicate on no column still has to see rows
            needed = [f for f in schema.fields if f.refusal is None][:1]
        prune = predicate if prune is None else prune & predicate
    if prune is not None and prune is not predicate:
        pruned_by = referenced_columns(prune, schema.arrow)
    files = spec.files if asked is None else spec.planned(asked)
    if spec.rows.arrow is not None:
        files = prune_files(spec.with_files(files), spec.rows.arrow)
    return ReadPlan(
        store=spec.opened,
        schema=schema,
        output=output,
        needed=tuple(needed),
        predicate=predicate,
        prune=prune,
        pruned_by=frozenset(pruned_by),
        batch_size=batch_size,
        use_threads=False,
        of_table=spec.of_table,
        tally=spec.tally,
    ), files


def _looked_at(spec: ScanSpec, predicate: pc.Expression) -> list[str]:
    """The columns that a predicate looks at. INVALID_PREDICATE where it doesn't fit the table."""
    schema = spec.schema.arrow
    test = spec.rows.test
    if test is not None and predicate is spec.rows.arrow:
        # It was made of the table's own columns.
        names = {column.path[0] for column in columns_of(test)}
        if names.issubset(schema.names):
            return [name for name in schema.names if name in names]
    check_predicate(predicate, schema)
    return referenced_columns(predicate, schema)


def output_schema(schema: ReadSchema, columns: Sequence[str] | None) -> pa.Schema:
    """The Arrow schema of a scan's batches; errors as `ReadSchema.readable` and `field`."""
    return pa.schema([field.arrow_field for field in schema.readable(columns)])


def _workers(spec: ScanSpec, files: int) -> int:
    """Files to read at a time: as many as there are cores, more where each waits for a network."""
    least = _REMOTE_WORKERS if spec.place.is_s3 else 1
    return int(min(files, max(least, pa.cpu_count())))
