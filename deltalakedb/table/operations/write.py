"""Appending and replacing rows."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit.refusal import table_exists
from deltalakedb.commit.staged import Reads, StagedTable, no_files
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit_writer import CommitInfo, metadata_body
from deltalakedb.log.features import protocol_for
from deltalakedb.log.metadata import Metadata, TableSchema
from deltalakedb.log.partition import parse_partition_value
from deltalakedb.log.protocol import Protocol
from deltalakedb.log.schema import PrimitiveType, StructType, column_mapping_mode, is_string
from deltalakedb.log.schema_writer import schema_string
from deltalakedb.predicate.tree import Column, Comparison, Expr, IsNull, conjunction
from deltalakedb.table.operations.base import Base, check_enforceable
from deltalakedb.table.operations.operation import Operation, Staged, run
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.transaction import WriteResult
from deltalakedb.write.constraints import RowChecks
from deltalakedb.write.files import WrittenFiles, write_files
from deltalakedb.write.input import batches_of
from deltalakedb.write.properties import WriterProperties
from deltalakedb.write.schema import merged_schema, schema_of, with_column_mapping
from deltalakedb.write.target import FileTarget

if TYPE_CHECKING:
    from deltalakedb.table.operations.replace import Check, Replaced

Mode = Literal["error", "append", "overwrite", "ignore"]
MODES: tuple[Mode, ...] = ("error", "append", "overwrite", "ignore")
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

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise _invalid(f"no mode {self.mode!r}; use {', '.join(MODES)}")
        if self.schema_mode not in (None, "merge", "overwrite"):
            raise _invalid(f"no schema_mode {self.schema_mode!r}; use merge or overwrite")
        if self.schema_mode == "overwrite" and self.mode != "overwrite":
            raise _invalid("schema_mode='overwrite' goes with mode='overwrite' alone")
        if self.predicate is not None and self.mode != "overwrite":
            raise _invalid("a predicate goes with mode='overwrite' alone")
        if self.partition_overwrite not in ("static", "dynamic"):
            raise _invalid(f"no partition_overwrite {self.partition_overwrite!r}; use dynamic")
        if self.partition_overwrite == "dynamic":
            if self.mode != "overwrite" or self.predicate is not None:
                raise _invalid(
                    "partition_overwrite='dynamic' goes with mode='overwrite' and no predicate"
                )
            if self.schema_mode == "overwrite":
                raise _invalid("a dynamic overwrite keeps other partitions, so their schema too")


def engine_info() -> str:
    """What commitInfo says of who wrote."""
    from deltalakedb import __version__

    return f"deltalakedb/{__version__}"


def write(catalog: LightCatalog, base: Base, data: Any, options: WriteOptions) -> WriteResult:
    """Write rows to a table that exists. Raises TABLE_EXISTS in mode error, SCHEMA_MISMATCH and
    CONSTRAINT_VIOLATION by column, CONCURRENCY_ERROR, and whatever `commit.commit` raises."""
    if options.mode == "error":
        raise table_exists(base.row.full_name)
    if options.mode == "ignore":
        return WriteResult(base.row.full_name, base.row.head_version)
    return run(catalog, base, writing_of(data, options), options.commit)


def writing_of(data: Any, options: WriteOptions) -> Operation:
    """The operation that appends rows, or replaces rows by them."""

    def stage(catalog: LightCatalog, base: Base) -> Staged:
        return _Write(catalog, base, options).stage(data)

    return stage


class _Write:
    def __init__(self, catalog: LightCatalog, base: Base, options: WriteOptions) -> None:
        self._catalog = catalog
        self._base = base
        self._options = options
        self._replacing: Replaced | None = None
        self._copied = 0

    def stage(self, data: Any) -> Staged:
        base, options = self._base, self._options
        base.check_may_write(removes=options.mode == "overwrite")
        reader = batches_of(data)
        metadata, protocol = self._evolved(reader.schema)
        changed = metadata is not base.metadata
        if options.predicate is not None:
            # Reading rows takes what a write doesn't: half a second of imports.
            from deltalakedb.table.operations.replace import replaced

            self._replacing = replaced(self._catalog, base, options.predicate)
        written = put_files(base, metadata, protocol, reader, options, self._replacing)

        def on(base: Base) -> Staged:
            self._base = base
            staged = self._staged(adds, written, metadata if changed else None, protocol)
            again = None if changed or self._replacing is not None else on
            return Staged(staged, tuple(written.names), again)

        try:
            if self._replacing is not None and self._replacing.kept is not None:
                kept = put_files(base, metadata, protocol, self._replacing.kept, options)
                self._copied = kept.num_rows
                written.adds.extend(kept.adds)
                written.names.extend(kept.names)
                written.num_bytes += kept.num_bytes
            adds = written.rows()
            return on(base)
        except BaseException:
            base.data.delete(written.names)
            raise

    def _evolved(self, source: pa.Schema) -> tuple[Metadata, Protocol]:
        base, mode = self._base, self._options.schema_mode
        if mode is None:
            return base.metadata, base.protocol
        configuration = dict(base.metadata.configuration)
        struct = merged_schema(base.struct, source) if mode == "merge" else schema_of(source)
        if struct == base.struct:
            return base.metadata, base.protocol
        return evolved(base, struct, configuration)

    def _staged(
        self,
        adds: pa.Table,
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
        if options.predicate is not None:
            parameters["predicate"] = str(options.predicate)
        metrics = {
            "numFiles": len(written.adds),
            "numOutputRows": written.num_rows,
            "numOutputBytes": written.num_bytes,
        }
        if overwrite:
            metrics["numCopiedRows"] = self._copied
            metrics["numRemovedFiles"] = removes.num_rows
            metrics["numRemovedBytes"] = pc.sum(removes.column("size")).as_py() or 0
        changed_protocol = protocol != base.protocol
        return StagedTable(
            table=base.row,
            read_version=base.row.head_version,
            info=commit_info("WRITE", parameters, metrics, options.commit, blind=not overwrite),
            reads=reads,
            adds=adds,
            removes=removes,
            metadata=metadata_body(metadata) if metadata is not None else None,
            protocol=protocol.action() if changed_protocol else None,
            txns=options.commit.txns,
            if_version=options.commit.if_version,
            in_commit_timestamps=base.in_commit_timestamps,
            deletion_time=now_ms() if overwrite else 0,
        )

    def _replaced(self, adds: pa.Table) -> tuple[pa.Table, Reads]:
        base, options = self._base, self._options
        if options.mode != "overwrite":
            return no_files(), Reads()
        if self._replacing is not None:
            lives = self._replacing.lives
            return lives, Reads(
                predicates=(self._replacing.predicate,),
                paths=frozenset(lives.column("path").to_pylist()),
            )
        if options.partition_overwrite == "dynamic":
            if not base.metadata.partition_columns:
                raise _invalid(
                    f"{base.row.full_name} has no partitions, so none can be overwritten; leave "
                    "partition_overwrite out"
                )
            ids = pc.unique(adds.column("partition_id")).to_pylist()
            found = base.live_files(self._catalog, partitions=ids)
            texts = pc.unique(adds.column("partition_values")).to_pylist()
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


def put_files(
    base: Base,
    metadata: Metadata,
    protocol: Protocol,
    reader: Any,
    options: WriteOptions,
    replacing: Replaced | None = None,
) -> WrittenFiles:
    """Write the rows of a stream as data files; with `replacing`, only rows of its predicate."""
    target = FileTarget.of(metadata, protocol)
    checks = RowChecks(metadata.schema.struct, metadata.configuration)
    check: Check | None = None if checks.is_empty else checks
    if replacing is not None:
        from deltalakedb.table.operations.replace import only_within

        check = only_within(replacing.predicate, options.predicate, check)
    return write_files(
        base.data,
        target,
        reader,
        str(uuid.uuid4()),
        check=check,
        progress=options.progress,
        target_file_size=options.target_file_size,
        properties=WriterProperties.of(options.writer_properties),
    )


def commit_info(
    operation: str,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, int | str],
    options: CommitOptions,
    *,
    blind: bool,
) -> CommitInfo:
    """The commitInfo of an operation."""
    extra = dict(options.properties.custom_metadata or {})
    user = extra.pop("userMetadata", None)
    return CommitInfo(
        operation=operation,
        parameters=parameters,
        metrics=metrics,
        isolation_level=options.isolation,
        is_blind_append=blind,
        engine_info=engine_info(),
        txn_id=options.token,
        user_metadata=None if user is None else str(user),
        extra=extra,
    )


def now_ms() -> int:
    """This machine's clock, for what a log says of files."""
    return time.time_ns() // 1_000_000


def _invalid(what: str) -> DeltaLakeError:
    return DeltaLakeError(DeltaLakeErrorKind.INVALID_ARGUMENT, what)
