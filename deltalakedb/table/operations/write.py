"""Appending and replacing rows."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit.refusal import table_exists
from deltalakedb.commit.staged import NO_READS, Reads, StagedTable, no_files
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit_writer import metadata_body
from deltalakedb.log.features import protocol_for
from deltalakedb.log.few_files import Files, values_of
from deltalakedb.log.metadata import Metadata, TableSchema
from deltalakedb.log.partition import parse_partition_value
from deltalakedb.log.protocol import Protocol
from deltalakedb.log.schema import PrimitiveType, StructType, column_mapping_mode, is_string
from deltalakedb.log.schema_writer import schema_string
from deltalakedb.log.table_properties import AUTO_COMPACT
from deltalakedb.predicate.tree import Column, Comparison, Expr, IsNull, conjunction
from deltalakedb.table.operations.base import Base, check_enforceable
from deltalakedb.table.operations.identity_numbers import IdentityNumbers
from deltalakedb.table.operations.operation import Operation, Staged, run
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.operations.provenance import commit_info, now_ms
from deltalakedb.table.operations.registration import Registration
from deltalakedb.table.operations.spellings import partitions_like
from deltalakedb.table.transaction import WriteResult
from deltalakedb.write.constraints import RowChecks
from deltalakedb.write.dask import DaskParts, is_dask
from deltalakedb.write.files import WrittenFiles, write_files
from deltalakedb.write.input import batches_of
from deltalakedb.write.properties import WriterProperties
from deltalakedb.write.schema import merged_schema, schema_of, with_column_mapping
from deltalakedb.write.target import FileTarget
from deltalakedb.write.widening import widening_of

Mode = Literal["error", "append", "overwrite", "ignore"]
MODES: tuple[Mode, ...] = ("error", "append", "overwrite", "ignore")
OF_ADDRESS = frozenset(
    {
        "partition_by",
        "name",
        "description",
        "configuration",
        "location",
        "storage_options",
        "sql_config",
    }
)
"""Parameters of `write_deltalake` that matter where it opens or makes the table by its address."""
SchemaMode = Literal["merge", "overwrite"]


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """How rows are written; delta-rs's parameters of `write_deltalake`."""

    mode: Mode = "error"
    schema_mode: SchemaMode | None = None
    partition_overwrite: Literal["static", "dynamic"] = "static"
    predicate: Any = None
    target_file_size: int | None = None
    writer_properties: Any = None
    progress: Callable[[int], None] | None = None
    commit: CommitOptions = field(default_factory=CommitOptions)

    @classmethod
    def of(
        cls,
        *,
        mode: Mode,
        partition_overwrite: str = "static",
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
        token: str | None = None,
        if_version: int | None = None,
        mirror: str | None = None,
        durability: str | None = None,
        isolation: str | None = None,
        **options: Any,
    ) -> WriteOptions:
        """What `write_deltalake` was called with; `options` are fields of this class."""
        commit = CommitOptions.of(
            commit_properties,
            token,
            post_commithook_properties,
            if_version=if_version,
            mirror=mirror,
            durability=durability,
            isolation=isolation,
        )
        overwrite: Any = partition_overwrite
        return cls(mode=mode, partition_overwrite=overwrite, commit=commit, **options)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise _invalid(f"no mode {self.mode!r}; use {', '.join(MODES)}")
        if self.schema_mode not in (None, "merge", "overwrite"):
            raise _invalid(f"no schema_mode {self.schema_mode!r}; use merge or overwrite")
        if self.schema_mode == "overwrite" and self.mode != "overwrite":
            raise _invalid("schema_mode='overwrite' goes with mode='overwrite' alone")
        if self.target_file_size is not None and self.target_file_size <= 0:
            raise _invalid("target_file_size is in bytes, above 0")
        if self.predicate is not None:
            if self.mode != "overwrite":
                raise _invalid("a predicate goes with mode='overwrite' alone")
            if self.schema_mode == "overwrite":
                raise _invalid("an overwrite of a predicate keeps other rows, so their schema too")
        if self.partition_overwrite not in ("static", "dynamic"):
            raise _invalid(f"no partition_overwrite {self.partition_overwrite!r}; use dynamic")
        if self.partition_overwrite == "dynamic":
            if self.mode != "overwrite" or self.predicate is not None:
                raise _invalid(
                    "partition_overwrite='dynamic' goes with mode='overwrite' and no predicate"
                )
            if self.schema_mode == "overwrite":
                raise _invalid("a dynamic overwrite keeps other partitions, so their schema too")


def write(catalog: LightCatalog, base: Base, data: Any, options: WriteOptions) -> WriteResult:
    """Write rows to a table that exists. Raises TABLE_EXISTS in mode error, SCHEMA_MISMATCH and
    CONSTRAINT_VIOLATION by column, CONCURRENCY_ERROR, and whatever `commit.commit` raises."""
    if options.mode == "error":
        raise table_exists(base.row.full_name)
    if options.mode == "ignore":
        return WriteResult(base.row.full_name, base.row.head_version)
    if options.predicate is not None:
        from deltalakedb.table.operations.replace import replacing
        from deltalakedb.table.operations.settle import settle

        how, make = replacing(data, options, evolved_for(options))
        return settle(catalog, base, how, make, again=False)[0]
    result = run(catalog, base, writing_of(data, options), options.commit)
    if AUTO_COMPACT in base.metadata.configuration:
        # Reading rows takes what a write doesn't.
        from deltalakedb.table.operations.auto_compact import auto_compact

        auto_compact(catalog, base, result)
    return result


def writing_of(data: Any, options: WriteOptions) -> Operation:
    """The operation that appends rows, or replaces rows by them."""
    if options.predicate is not None:
        # Reading rows takes what a write doesn't: half a second of imports.
        from deltalakedb.table.operations.replace import replacing
        from deltalakedb.table.operations.settle import operation_of

        return operation_of(replacing(data, options, evolved_for(options))[1], again=False)

    def stage(catalog: LightCatalog, base: Base) -> Staged:
        return _Write(catalog, base, options).stage(data)

    return stage


class _Write:
    def __init__(self, catalog: LightCatalog, base: Base, options: WriteOptions) -> None:
        self._catalog = catalog
        self._base = base
        self._options = options
        self._numbers = IdentityNumbers(catalog.reader.url, base.row, base.marks)

    def stage(self, data: Any) -> Staged:
        base, options = self._base, self._options
        base.check_may_write(removes=options.mode == "overwrite")
        reader = rows_of(data)
        metadata, protocol = evolved_for(options)(base, reader.schema)
        changed = metadata is not base.metadata
        registration = Registration(self._catalog, base.row) if base.enlist is None else None
        written = put_files(base, metadata, protocol, reader, options, registration, self._numbers)

        def on(base: Base) -> Staged:
            self._base = base
            staged = self._staged(adds, written, metadata if changed else None, protocol)
            if registration is not None:
                guards = registration.guards()
                if guards:
                    staged = staged.but(guards=guards, claims=registration.claims())
            again = None if changed else on
            return Staged(staged, tuple(written.names), again, registration)

        try:
            adds = written.rows()
            return on(base)
        except BaseException:
            base.data.discard(written.names)
            if registration is not None:
                registration.close()
            raise

    def _staged(
        self,
        adds: Files,
        written: WrittenFiles,
        metadata: Metadata | None,
        protocol: Protocol,
    ) -> StagedTable:
        base, options = self._base, self._options
        removes, reads = self._replaced(adds)
        overwrite = options.mode == "overwrite"
        parameters: dict[str, Any] = {
            "mode": options.mode.capitalize(),
            "partitionBy": list(base.metadata.partition_columns),
        }
        if options.partition_overwrite == "dynamic":
            parameters["partitionOverwriteMode"] = "dynamic"
        metrics = {
            "numFiles": len(written.adds),
            "numOutputRows": written.num_rows,
            "numOutputBytes": written.num_bytes,
        }
        if overwrite:
            metrics["numRemovedFiles"] = removes.num_rows
            metrics["numRemovedBytes"] = pc.sum(removes.column("size")).as_py() or 0
        changed_protocol = protocol != base.protocol
        return StagedTable(
            table=base.row,
            read_version=base.row.head_version,
            info=commit_info("WRITE", parameters, metrics, options.commit, blind=not overwrite),
            reads=reads,
            added=adds,
            removes=removes,
            metadata=metadata_body(metadata) if metadata is not None else None,
            protocol=protocol.action() if changed_protocol else None,
            txns=options.commit.txns,
            if_version=options.commit.if_version,
            is_remembered=base.is_remembered,
            in_commit_timestamps=base.in_commit_timestamps,
            tracks_rows=base.tracks_rows,
            identity_marks=tuple(self._numbers.marks),
            deletion_time=now_ms() if overwrite else 0,
        )

    def _replaced(self, adds: Files) -> tuple[pa.Table, Reads]:
        base, options = self._base, self._options
        if options.mode != "overwrite":
            return no_files(), NO_READS
        if options.partition_overwrite == "dynamic":
            if not base.metadata.partition_columns:
                raise _invalid(
                    f"{base.row.full_name} has no partitions, so none can be overwritten; leave "
                    "partition_overwrite out"
                )
            texts = sorted(set(values_of(adds, "partition_values")))
            ids = set(values_of(adds, "partition_id"))
            ids |= partitions_like(self._catalog, base, texts)
            found = base.live_files(self._catalog, partitions=sorted(ids))
            return found, Reads(
                predicates=tuple(of_partition(base.metadata, text) for text in texts),
                paths=frozenset(found.column("path").to_pylist()),
            )
        found = base.live_files(self._catalog)
        return found, Reads(whole_table=True)


def of_partition(metadata: Metadata, text: str) -> Expr:
    """The rows of one partition, by its canonical text."""
    given = json.loads(text)
    mapped = column_mapping_mode(metadata.configuration) != "none"
    parts: list[Expr] = []
    for name in metadata.partition_columns:
        field = metadata.schema.struct.field(name)
        assert field is not None
        assert isinstance(field.type, PrimitiveType)
        physical = field.physical_name if mapped else name
        type_ = "string" if is_string(field.type.name) else field.type.name
        column = Column((name,), (physical,), type_)
        value = parse_partition_value(given.get(physical), field.type.name)
        parts.append(IsNull(column) if value is None else Comparison(column, "=", value))
    return conjunction(parts)


def evolved_for(
    options: WriteOptions,
) -> Callable[[Base, pa.Schema], tuple[Metadata, Protocol]]:
    """Metadata and protocol of a table for the columns of a stream; the table's where they fit."""

    def evolve(base: Base, source: pa.Schema) -> tuple[Metadata, Protocol]:
        if options.schema_mode is None:
            return base.metadata, base.protocol
        merges = options.schema_mode == "merge"
        struct = (
            merged_schema(base.struct, source, widening_of(base.metadata, base.protocol))
            if merges
            else schema_of(source)
        )
        if struct == base.struct:
            return base.metadata, base.protocol
        return evolved(base, struct, dict(base.metadata.configuration))

    return evolve


def evolved(
    base: Base, struct: StructType, configuration: Mapping[str, str]
) -> tuple[Metadata, Protocol]:
    """Metadata and protocol of a table with another schema."""
    mapped, logged = with_column_mapping(struct, dict(configuration))
    check_enforceable(base.row.full_name, mapped, logged)
    protocol = protocol_for(mapped, logged, base.protocol)
    metadata = replace(
        base.metadata, schema=TableSchema(schema_string(mapped)), configuration=logged
    )
    return metadata, protocol


def rows_of(data: Any) -> Any:
    """What `put_files` writes: a stream of batches, or the parts of a Dask collection."""
    return DaskParts.of(data) if is_dask(data) else batches_of(data)


def put_files(
    base: Base,
    metadata: Metadata,
    protocol: Protocol,
    reader: Any,
    options: WriteOptions,
    registration: Registration | None = None,
    numbers: IdentityNumbers | None = None,
) -> WrittenFiles:
    """Write the rows of a stream as data files, those of a Dask collection by its workers.

    `registration` is told of a stream's files, and closed where they can't be written. `numbers`
    are for identity columns.
    """
    known = metadata is base.metadata and protocol is base.protocol
    target = base.target if known else FileTarget.of(metadata, protocol)
    if isinstance(reader, DaskParts):
        return reader.write(
            base.data,
            target,
            str(uuid.uuid4()),
            target_file_size=options.target_file_size,
            properties=WriterProperties.of(options.writer_properties),
        )
    free = known and base.demands_nothing
    checks = None if free else RowChecks(metadata.schema.struct, metadata.configuration, numbers)
    told = [each for each in (options.progress, registration and registration.tick) if each]

    def progress(rows: int) -> None:
        for each in told:
            each(rows)

    try:
        return write_files(
            base.data,
            target,
            reader,
            str(uuid.uuid4()),
            check=None if checks is None or checks.is_empty else checks,
            progress=progress if told else None,
            target_file_size=options.target_file_size,
            properties=WriterProperties.of(options.writer_properties),
            register=None if registration is None else registration.register,
        )
    except BaseException:
        if registration is not None:
            registration.close()
        raise


def _invalid(what: str) -> DeltaLakeError:
    return DeltaLakeError(DeltaLakeErrorKind.INVALID_ARGUMENT, what)
