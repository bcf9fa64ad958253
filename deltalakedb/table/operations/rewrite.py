"""Rows that leave a table and rows that come: by deletion vectors, whole files, or copies.

PROTOCOL.md, "Deletion Vectors", "Change Data Files" and "Add File and Remove File". DELETE, UPDATE,
MERGE and overwriting by predicate say which rows of which files go and which rows come; how
files, vectors and change data follow from that is told here.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from deltalakedb.commit.conflict import Places
from deltalakedb.commit.staged import Reads, StagedTable, no_files
from deltalakedb.log.columns import table_of_dicts
from deltalakedb.log.commit_writer import metadata_body
from deltalakedb.log.deletion_vector import cardinality
from deltalakedb.log.features import enabled
from deltalakedb.log.few_files import table_of
from deltalakedb.log.metadata import Metadata
from deltalakedb.log.protocol import Protocol
from deltalakedb.log.rows import FILE_SCHEMA
from deltalakedb.log.schema import GENERATION
from deltalakedb.predicate.row_filter import ALL_ROWS, RowFilter
from deltalakedb.scan.scan import ScanSpec, data_files, indexed_rows
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.identity_numbers import IdentityNumbers
from deltalakedb.table.operations.parts import Counts, Part
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.operations.provenance import commit_info, now_ms
from deltalakedb.table.operations.row_columns import KeptIds
from deltalakedb.table.operations.vectors import (
    Life,
    Vectors,
    vector_metrics,
    with_more,
    with_vector,
)
from deltalakedb.write.change_data import ChangeType, ChangeWriter, change_target
from deltalakedb.write.constraints import RowChecks
from deltalakedb.write.deletion_vector import inline_descriptor
from deltalakedb.write.files import FileWriter, WrittenFiles
from deltalakedb.write.input import slices
from deltalakedb.write.properties import WriterProperties
from deltalakedb.write.schema import RowConverter
from deltalakedb.write.target import FileTarget


@dataclass(frozen=True, kw_only=True)
class RewriteOptions:
    """How files are written (`paired`: as by `ChangeWriter`), the commit, and the Dask client."""

    target_file_size: int | None = None
    writer_properties: Any = None
    commit: CommitOptions = field(default_factory=CommitOptions)
    client: Any = None
    paired: bool = False


class Rewrite:
    """Gathers the changes of one commit. A context manager: an exception removes what it wrote.

    `files` (FILE_SCHEMA) are the planned ones. `removes_rows` of a path may be called often;
    `finish` decides each file's fate.
    """

    def __init__(
        self,
        base: Base,
        files: pa.Table,
        options: RewriteOptions,
        numbers: IdentityNumbers | None = None,
        *,
        write_id: str | None = None,
    ) -> None:
        """`numbers`: for identity columns of rows that come; `write_id`: names what is written."""
        self.base = base
        self.files = files
        self.counts = Counts()
        configuration = base.metadata.configuration
        self.by_vector = enabled(
            configuration, "delta.enableDeletionVectors"
        ) and base.protocol.supports_writer_feature("deletionVectors")
        self.tells_changes = enabled(configuration, "delta.enableChangeDataFeed")
        self._options = options
        # Within a transaction other changes of the same rows may follow.
        self._paired = options.paired or base.enlist is not None
        self._properties = WriterProperties.of(options.writer_properties)
        self._target = FileTarget.of(base.metadata, base.protocol)
        self._kept = KeptIds.of(base)
        struct = base.struct
        self._numbers = numbers
        self._checks = RowChecks(struct, base.metadata.configuration, numbers)
        self._generated = frozenset(f.name for f in struct.fields if GENERATION in f.metadata)
        self._id = write_id or str(uuid.uuid4())
        self._rows: FileWriter | None = None
        self._changes: ChangeWriter | None = None
        self._converters: dict[pa.Schema, RowConverter] = {}
        self._gone: dict[str, list[Places]] = {}
        self._read: dict[str, list[Places]] = {}
        self._whole: set[str] = set()
        self._names: list[str] = []
        self._parts: list[Part] = []
        self.vectors = Vectors(base.data, base.row.full_name, write_id)
        self.written = WrittenFiles()
        self.cdc = WrittenFiles()

    def spec(self, rows: RowFilter = ALL_ROWS, files: pa.Table | None = None) -> ScanSpec:
        """What reading the planned files takes."""
        base = self.base
        return ScanSpec(
            store=base.data,
            files=self.files if files is None else files,
            schema_string=base.metadata.schema.schema_string,
            partition_columns=tuple(base.metadata.partition_columns),
            configuration=base.metadata.configuration,
            protocol=base.protocol,
            version=base.row.head_version,
            rows=rows,
        )

    def removes_file(self, path: str) -> None:
        """All rows of a file go; it isn't opened."""
        self._whole.add(path)

    def removes_rows(self, path: str, places: Places) -> None:
        """Rows of a file go: their places among its physical rows."""
        if len(places):
            self._gone.setdefault(path, []).append(places)
            if self.counts.deleted is not None:
                self.counts.deleted += len(places)

    def reads_rows(self, path: str, places: Places) -> None:
        """Rows that decided something, without being changed: nobody else may change them."""
        if len(places):
            self._read.setdefault(path, []).append(places)

    @property
    def read_paths(self) -> list[str]:
        """The files that `reads_rows` was told of."""
        return list(self._read)

    def indexed_rows(self, spec: ScanSpec) -> Iterator[tuple[str, pa.RecordBatch]]:
        """`scan.indexed_rows`, of rows that are to be written again, with their ids."""
        if self._kept is None:
            return indexed_rows(spec)
        return self._kept.rows(spec, self.base.struct)

    def inserts(
        self,
        rows: pa.RecordBatch,
        given: frozenset[str] | None = None,
        *,
        updated: bool = False,
    ) -> pa.RecordBatch:
        """Write new rows; what was written, with all columns.

        `given`: the columns whose values were said; generated ones that weren't are computed.
        None: all that the rows have, and defaults fill the others. Rows with ids were others,
        as `updated` ones were.
        """
        rows, ids = self._apart(rows)
        converter = self._converter(rows.schema)
        missing = converter.missing
        if given is not None:
            missing = missing | (self._generated - given)
        whole = converter.convert(rows)
        if not self._checks.is_empty:
            whole = self._checks(whole, missing, updated=updated)
        self._write(whole, ids, changed=True)
        return whole

    def copies(self, rows: pa.RecordBatch) -> None:
        """Rows that stay, in a file that goes."""
        self.counts.copied += rows.num_rows
        rows, ids = self._apart(rows)
        self._write(self._converter(rows.schema).convert(rows), ids, changed=False)

    def _apart(self, rows: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
        return (rows, None) if self._kept is None else self._kept.apart(rows)

    def _write(self, rows: pa.RecordBatch, ids: pa.RecordBatch | None, *, changed: bool) -> None:
        if self._kept is not None:
            rows = self._kept.joined(rows, ids, changed=changed)
        self._writer().write(rows)

    def tells(self, rows: pa.RecordBatch, kind: ChangeType) -> None:
        """Change data, where the table has a change data feed."""
        if not self.tells_changes or not rows.num_rows:
            return
        if self._changes is None:
            target = change_target(self._target)
            self._changes = ChangeWriter(
                self.base.data, target, self._id, properties=self._properties, paired=self._paired
            )
        rows, _ = self._apart(rows)
        self._changes.write_changes(self._converter(rows.schema).convert(rows), kind)

    def _converter(self, schema: pa.Schema) -> RowConverter:
        found = self._converters.get(schema)
        if found is None:
            found = self._converters[schema] = RowConverter(schema, self.base.struct)
        return found

    def _writer(self) -> FileWriter:
        if self._rows is None:
            self._rows = FileWriter(
                self.base.data,
                self._target if self._kept is None else self._kept.target(self._target),
                self._id,
                target_file_size=self._options.target_file_size,
                properties=self._properties,
            )
        return self._rows

    @property
    def client(self) -> Any:
        """The Dask client whose workers read and write; None for this process."""
        return self._options.client

    @property
    def portable_options(self) -> RewriteOptions:
        """What a part of it that is done elsewhere has to know."""
        size = self._options.target_file_size
        return RewriteOptions(
            target_file_size=size, writer_properties=self._properties, paired=self._paired
        )

    def takes(self, part: Part) -> None:
        """What was done elsewhere, of some of the files, is part of this commit."""
        self._parts.append(part)
        for name in part.names:
            (self.vectors.names if name.endswith(".bin") else self._names).append(name)
        mine, its = self.counts, part.counts
        mine.deleted = (
            None if mine.deleted is None or its.deleted is None else mine.deleted + its.deleted
        )
        mine.copied += its.copied
        for path, places in part.read.items():
            self.reads_rows(path, places)

    def finish(self) -> tuple[pa.Table, pa.Table]:
        """(adds, removes), FILE_SCHEMA tables; every object is there when this returns."""
        own = self.part()
        removed = set(own.removed)
        for part in self._parts:
            removed.update(part.removed)
            for all, its in ((self.written, part.written), (self.cdc, part.changes)):
                all.extend(its)
        adds = pa.concat_tables([own.adds, *(part.adds for part in self._parts)])
        chosen = pa.array([path in removed for path in self._paths], pa.bool_())
        return adds, self.files.filter(chosen) if removed else no_files()

    def part(self) -> Part:
        """What was told to this rewrite itself; every object is there when this returns."""
        lives = self._lives()
        adds: list[Life] = []
        copied: list[tuple[Life, Places]] = []
        for path, life in lives.items():
            old = self.vectors.rows(life)
            gone = with_more(old, self._gone[path])
            records = self._num_records(life)
            if len(gone) == records:
                continue
            if self.by_vector:
                adds.append(with_vector(life, self.vectors.add(gone), records))
            else:
                copied.append((life, gone))
        self._copy(copied)
        self.vectors.close()
        if self._rows is not None:
            self.written = self._rows.finish()
            self._names += self.written.names
        if self._changes is not None:
            self.cdc = self._changes.finish()
            self._names += self.cdc.names
        self._count_whole()
        mine = table_of_dicts(adds, FILE_SCHEMA)
        if self.written.adds:
            mine = pa.concat_tables([mine, table_of(self.written.rows(self.base.row.head_version))])
        ended = [*{*self._whole, *lives}]
        return Part(
            mine, ended, self.counts, self.written, self.cdc, self.names, self._read_places()
        )

    def _read_places(self) -> dict[str, Places]:
        return {path: np.concatenate(rows) for path, rows in self._read.items()}

    @property
    def _paths(self) -> list[str]:
        found: list[str] = self.files.column("path").to_pylist()
        return found

    def _lives(self) -> dict[str, Life]:
        """The files of which single rows go, in the order of the plan."""
        places = {path: number for number, path in enumerate(self._paths)}
        numbers = sorted(places[path] for path in self._gone)
        return {
            row["path"]: row for row in self.files.take(pa.array(numbers, pa.int64())).to_pylist()
        }

    def _count_whole(self) -> None:
        if not self._whole or self.counts.deleted is None:
            return
        for path, records, dv in zip(
            *(self.files.column(n).to_pylist() for n in ("path", "num_records", "dv")),
            strict=True,
        ):
            if path in self._whole:
                if records is None:
                    self.counts.deleted = None
                    return
                gone = 0 if dv is None else cardinality(orjson.loads(dv))
                self.counts.deleted += records - gone

    def _num_records(self, life: Life) -> int:
        """Physical rows of a file; of one whose statistics don't say, from its footer."""
        if life["num_records"] is not None:
            return int(life["num_records"])
        one = table_of_dicts([life], FILE_SCHEMA)
        [file] = data_files(self.spec(), one)
        with file.filesystem.open_input_file(file.arrow_path) as source:
            return int(pq.read_metadata(source).num_rows)

    def _copy(self, files: Sequence[tuple[Life, Places]]) -> None:
        """The rows that are left of files that go, to new ones."""
        for life, gone in files:
            # As if they were deleted already.
            left = dict(life) | {"dv": orjson.dumps(inline_descriptor(gone)).decode()}
            one = table_of_dicts([left], FILE_SCHEMA)
            for _, batch in self.indexed_rows(self.spec(files=one)):
                for piece in slices(batch.remove_column(batch.num_columns - 1)):
                    self.copies(piece)

    def staged(
        self,
        operation: str,
        parameters: Mapping[str, Any],
        reads: Reads,
        metrics: Callable[[Rewrite], Mapping[str, int]],
        *,
        names: Mapping[str, str] | None = None,
        metadata: Metadata | None = None,
        protocol: Protocol | None = None,
    ) -> StagedTable:
        """The commit of what was gathered; `metrics` are asked for when all is written.

        `names`: what the operation calls numbers of files; `metadata` and `protocol`: new ones.
        """
        base, commit = self.base, self._options.commit
        began = time.monotonic()
        adds, removes = self.finish()
        self.counts.rewrite_ms = round((time.monotonic() - began) * 1000)
        files = self.file_metrics(adds, removes)
        said = dict(metrics(self)) | {(names or {}).get(n, n): v for n, v in files.items()}
        staged = StagedTable(
            table=base.row,
            read_version=base.row.head_version,
            info=commit_info(operation, parameters, said, commit, blind=False),
            reads=reads,
            added=adds,
            removes=removes,
            metadata=None if metadata is None else metadata_body(metadata),
            protocol=None if protocol is None else protocol.action(),
            txns=commit.txns,
            changes=tuple(self.cdc.adds),
            pairs=self.cdc.pairs,
            if_version=commit.if_version,
            in_commit_timestamps=base.in_commit_timestamps,
            tracks_rows=base.tracks_rows,
            identity_marks=tuple(self._numbers.marks) if self._numbers else (),
            deletion_time=now_ms(),
        )
        return self.vectors.attached(staged, self._read_places())

    def file_metrics(self, adds: pa.Table, removes: pa.Table) -> dict[str, int]:
        """Spark's numbers of files, bytes and vectors."""
        return vector_metrics(adds, removes) | {
            "numAddedFiles": len(self.written.adds),
            "numAddedBytes": self.written.num_bytes,
            "numAddedChangeFiles": len(self.cdc.adds),
        }

    @property
    def names(self) -> list[str]:
        """The objects that were made: data files, change data files and vectors."""
        return [*self._names, *self.vectors.names]

    def discard(self) -> None:
        """Remove the objects that this rewrite made, and no others."""
        for writer in (self._rows, self._changes):
            if writer is not None and not writer.is_finished:
                writer.abort()
        self.base.data.discard(self.names)

    def __enter__(self) -> Rewrite:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Where nobody knows whether the commit is there, the log may name these files.
        if error is not None and getattr(error, "outcome", "failed") == "failed":
            self.discard()
