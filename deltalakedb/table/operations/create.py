"""New tables, empty or with their first rows."""

from __future__ import annotations

import time
import typing
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.records import TableRow, TableState
from deltalakedb.catalog.settings import warehouse
from deltalakedb.catalog.table_name import check_table_name
from deltalakedb.commit.refusal import log_exists, table_exists
from deltalakedb.commit.staged import StagedTable, no_files
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit_writer import metadata_body
from deltalakedb.log.features import logged_configuration, protocol_for
from deltalakedb.log.metadata import Metadata, TableSchema
from deltalakedb.log.protocol import Protocol
from deltalakedb.log.row_tracking import with_column_names
from deltalakedb.log.schema import StructType
from deltalakedb.log.schema_writer import schema_string
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import ObjectStore
from deltalakedb.table.operations.base import Base, check_enforceable
from deltalakedb.table.operations.identity_numbers import IdentityNumbers
from deltalakedb.table.operations.provenance import commit_info
from deltalakedb.table.operations.settings import check_known, check_value, property_texts
from deltalakedb.table.operations.write import WriteOptions, put_files, rows_of
from deltalakedb.table.transaction import WriteResult, ratify
from deltalakedb.write.files import WrittenFiles
from deltalakedb.write.schema import schema_of, with_column_mapping
from deltalakedb.write.target import FileTarget


@dataclass(frozen=True, kw_only=True)
class NewTable:
    """What a table is to be. Without `location` it goes below the catalog's warehouse."""

    name: str
    namespace: str = ""
    location: str | None = None
    partition_by: Sequence[str] = ()
    title: str | None = None
    description: str | None = None
    configuration: Mapping[str, str | None] | None = None
    storage_options: Mapping[str, Any] | None = None
    known_properties: bool = True
    """Whether a `delta.…` property that nobody knows is refused."""

    @property
    def full_name(self) -> str:
        return f"{self.namespace}.{self.name}" if self.namespace else self.name


def create_table(
    database: DatabaseUrl,
    new: NewTable,
    schema: Any,
    options: WriteOptions,
    *,
    authority: str = "sql",
) -> WriteResult:
    """Make an empty table; `schema` as `write.schema.schema_of` takes it.

    The catalog is made in an empty database. Raises TABLE_EXISTS for a taken name and for a
    location that has a log, UNSUPPORTED_FEATURE for what can't be written here.
    """
    return _create(database, new, schema_of(schema), None, options, authority)


def create_with_rows(
    database: DatabaseUrl,
    new: NewTable,
    data: Any,
    options: WriteOptions,
    *,
    authority: str = "sql",
) -> WriteResult:
    """Make a table with the columns and the rows of a stream, as its version 0."""
    reader = rows_of(data)
    if not reader.schema.names:
        raise DeltaLakeError(
            DeltaLakeErrorKind.SCHEMA_MISMATCH,
            f"the rows for {new.full_name} have no columns, so there is no table to make of them",
        )
    return _create(database, new, schema_of(reader.schema), reader, options, authority)


def _create(
    database: DatabaseUrl,
    new: NewTable,
    struct: StructType,
    rows: Any,
    options: WriteOptions,
    authority: str,
) -> WriteResult:
    with Catalog(database, create=True) as catalog:
        base = new_base(catalog, new, struct, options.commit.token, authority)
        row = base.row
        numbers = IdentityNumbers(database, row)
        written = (
            None
            if rows is None
            else put_files(base, base.metadata, base.protocol, rows, options, numbers=numbers)
        )
        staged = replace(creation(base, options, written), identity_marks=tuple(numbers.marks))
        return _commit(catalog, base, staged, written, options)


def new_base(
    catalog: Catalog,
    new: NewTable,
    struct: StructType,
    token: str,
    authority: str = "sql",
    freed: Collection[str] = (),
) -> Base:
    """The table before its first version; of one that `token` has made already, with its ids.

    `freed`: ids of tables that are about to leave their names. Raises TABLE_EXISTS for a taken
    name or location.
    """
    there = queries.lookup_table(catalog, new.full_name)
    if there is None or there.table_id in freed:
        row = _row(catalog, new)
        _check_location(row, new.storage_options)
    elif _made_by(catalog, there, token):
        row = replace(there, head_version=-1)
    else:
        raise table_exists(new.full_name)
    base = _base(new, replace(row, authority=authority), struct)
    FileTarget.of(base.metadata, base.protocol).partitioning  # noqa: B018 - refuses early
    return base


def _made_by(catalog: Catalog, row: TableRow, token: str) -> bool:
    found = catalog.reader.rows(
        "SELECT version FROM dl_commits WHERE table_key = ? AND token = ? AND version = 0",
        (row.table_key, token),
    )
    return bool(found)


class FoundFiles(typing.Protocol):
    """Files that are there, of a table that is to be made of them."""

    def written(self, base: Base) -> WrittenFiles:
        """What a write of them would tell; without names, since a failure is not to remove them."""

    def staged(self, table: StagedTable, options: WriteOptions) -> StagedTable:
        """The commit as the operation calls it."""


def create_of(
    database: DatabaseUrl,
    new: NewTable,
    find: Callable[[ObjectStore], tuple[StructType, FoundFiles]],
    options: WriteOptions,
) -> WriteResult:
    """Make a table of files that are at its location. Raises as `create_table`, and what `find`
    does."""
    with Catalog(database, create=True) as catalog:
        row = _new_row(catalog, new)
        _check_location(row, new.storage_options)
        struct, found = find(open_store(StoreSpec(row.location, dict(new.storage_options or {}))))
        base = _base(new, row, struct)
        FileTarget.of(base.metadata, base.protocol).partitioning  # noqa: B018 - refuses early
        written = found.written(base)
        assert not written.names
        staged = found.staged(creation(base, options, written), options)
        return _commit(catalog, base, staged, written, options)


def _new_row(catalog: Catalog, new: NewTable) -> TableRow:
    if queries.lookup_table(catalog, new.full_name) is not None:
        raise table_exists(new.full_name)
    return _row(catalog, new)


def _base(new: NewTable, row: TableRow, struct: StructType) -> Base:
    metadata, protocol = described(new, struct)
    state = TableState(-1, {}, {}, {}, {})
    return Base(row, metadata, protocol, state, dict(new.storage_options or {}))


def _commit(
    catalog: Catalog,
    base: Base,
    staged: StagedTable,
    written: WrittenFiles | None,
    options: WriteOptions,
) -> WriteResult:
    try:
        if written is not None and options.commit.is_synced(base.metadata.configuration):
            base.data.sync(written.names)
        light = LightCatalog(catalog.url)
        [result] = ratify(light, [staged], options.commit, base.storage_options)
        if written is not None and result.repeated:
            base.data.discard(written.names)
        return result
    except DeltaLakeError as error:
        if written is not None and error.outcome == "failed":
            base.data.discard(written.names)
        raise


def described(new: NewTable, struct: StructType) -> tuple[Metadata, Protocol]:
    """The metadata and protocol of a new table."""
    check_table_name(new.namespace, new.name)
    given = property_texts(new.configuration or {})
    for key, text in given.items():
        check_value(key, text)
        if new.known_properties:
            check_known(key)
    names = {field.name for field in struct.fields}
    for column in new.partition_by:
        if column not in names:
            raise DeltaLakeError(
                DeltaLakeErrorKind.SCHEMA_MISMATCH,
                f"there is no column {column} to partition {new.full_name} by; its columns are "
                f"{', '.join(sorted(names))}",
                column=column,
            )
    if len(set(new.partition_by)) < len(new.partition_by):
        raise DeltaLakeError(
            DeltaLakeErrorKind.SCHEMA_MISMATCH,
            f"{new.full_name} can't be partitioned by {', '.join(new.partition_by)}: a column is "
            "named twice; name each once",
        )
    mapped, configuration = with_column_mapping(
        struct, with_column_names(logged_configuration(given))
    )
    check_enforceable(new.full_name, mapped, configuration)
    protocol = protocol_for(mapped, {**given, **configuration})
    metadata = Metadata(
        id=str(uuid.uuid4()),
        name=new.title,
        description=new.description,
        format_provider="parquet",
        created_time=time.time_ns() // 1_000_000,
        schema=TableSchema(schema_string(mapped)),
        partition_columns=list(new.partition_by),
        configuration=configuration,
    )
    return metadata, protocol


def _row(catalog: Catalog, new: NewTable) -> TableRow:
    location = new.location
    if location is None:
        root = warehouse(catalog)
        location = "/".join([root.rstrip("/"), *filter(None, (new.namespace, new.name))])
    spec = StoreSpec(location, dict(new.storage_options or {}))
    now = time.time_ns() // 1_000_000
    return TableRow(
        table_key=0,
        table_id=str(uuid.uuid4()),
        namespace=new.namespace,
        name=new.name,
        location=spec.url,
        log_location=spec.child("_delta_log").url,
        mode="created",
        known_since=0,
        skipping="[]",
        unreadable_features="",
        created_at=now,
        changes_since=-1,
        head_version=-1,
        epoch=1,
        authority="sql",
        live_load=0,
        num_files=0,
        total_bytes=0,
        updated_at=now,
    )


def _check_location(row: TableRow, storage_options: Mapping[str, Any] | None) -> None:
    """Refuse a folder whose `_delta_log` has anything in it."""
    log = open_store(StoreSpec(row.log_location, dict(storage_options or {})))
    try:
        found = log.list(recursive=True)
    except DeltaLakeError as error:
        if error.kind is DeltaLakeErrorKind.NOT_FOUND:
            return
        raise
    if found:
        raise log_exists(row.location, found[0].name)


def creation(base: Base, options: WriteOptions, written: Any = None) -> StagedTable:
    """The first version, with the rows that were written."""
    metadata = base.metadata
    parameters = {
        "isManaged": "false",
        "description": metadata.description,
        "partitionBy": list(metadata.partition_columns),
        "properties": dict(metadata.configuration),
    }
    metrics: dict[str, int | str] = {}
    operation = "CREATE TABLE"
    if written is not None:
        operation = "CREATE TABLE AS SELECT"
        metrics = {
            "numFiles": len(written.adds),
            "numOutputRows": written.num_rows,
            "numOutputBytes": written.num_bytes,
        }
    return StagedTable(
        table=base.row,
        read_version=-1,
        info=commit_info(operation, parameters, metrics, options.commit, blind=True),
        added=no_files() if written is None else written.rows(),
        metadata=metadata_body(metadata),
        protocol=base.protocol.action(),
        txns=options.commit.txns,
        in_commit_timestamps=base.in_commit_timestamps,
        tracks_rows=base.tracks_rows,
    )
