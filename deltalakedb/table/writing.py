"""`create_table` and `write_deltalake`: from a `deltasql://` URI to a version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.config import SqlConfig
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.table.connect import connect_to_table, open_catalog
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.operations.write import Mode, SchemaMode, WriteOptions, write
from deltalakedb.table.table import Table
from deltalakedb.table.transaction import WriteResult
from deltalakedb.uri import TableUri, parse_table_uri

if TYPE_CHECKING:
    from deltalakedb.table.operations.create import NewTable


def create_table(
    uri: str,
    schema: Any,
    *,
    location: str | None = None,
    partition_by: str | Sequence[str] | None = None,
    properties: Mapping[str, str | None] | None = None,
    name: str | None = None,
    description: str | None = None,
    mode: Mode = "error",
    authority: str = "sql",
    storage_options: Mapping[str, Any] | None = None,
    sql_config: SqlConfig | None = None,
    commit_properties: Any = None,
    token: str | None = None,
    raise_if_key_not_exists: bool = True,
) -> Table:
    """Make an empty table and open it; an empty database gets its catalog.

    `schema` is an Arrow or Delta schema. Without `location` the table goes below the catalog's
    warehouse (`dl init --warehouse URL`). `properties` are the table's: a `delta.…` one that Delta
    doesn't know is refused (INVALID_ARGUMENT) unless `raise_if_key_not_exists` is False. `name`
    and `description` are its metadata's. `mode`: error (TABLE_EXISTS when it is there) or
    ignore. `authority` is who ratifies its commits: `sql`, or `log` for a table to which
    file-based writers go on writing.
    """
    target = _target(uri, sql_config)
    if mode not in ("error", "ignore"):
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"create_table has no mode {mode!r}; use error or ignore, or write_deltalake with data",
        )
    from deltalakedb.table.operations.create import create_table as make_table

    if mode == "ignore" and _base(target, storage_options) is not None:
        return connect_to_table(uri, sql_config, storage_options=storage_options)
    new = _new(target, location, partition_by, name, description, properties, storage_options)
    new = replace(new, known_properties=raise_if_key_not_exists)
    options = WriteOptions(commit=CommitOptions.of(commit_properties, token))
    make_table(target.database, new, schema, options, authority=authority)
    return connect_to_table(uri, sql_config, storage_options=storage_options)


def write_deltalake(
    table_or_uri: str | Table,
    data: Any,
    *,
    mode: Mode = "error",
    partition_by: str | Sequence[str] | None = None,
    schema_mode: SchemaMode | None = None,
    predicate: Any = None,
    partition_overwrite: str = "static",
    name: str | None = None,
    description: str | None = None,
    configuration: Mapping[str, str | None] | None = None,
    location: str | None = None,
    target_file_size: int | None = None,
    writer_properties: Any = None,
    commit_properties: Any = None,
    post_commithook_properties: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    sql_config: SqlConfig | None = None,
    if_version: int | None = None,
    isolation: str | None = None,
    mirror: str | None = None,
    durability: str | None = None,
    token: str | None = None,
    progress: Any = None,
) -> WriteResult:
    """Write rows to a table, which is made where it isn't there; delta-rs's parameters, and ours.

    `data` is whatever has the Arrow C stream interface, a pandas data frame, or an iterable of
    batches; it is read as it is written. `mode`: error, append, overwrite or ignore. A new table
    takes `partition_by`, `name`, `description`, `configuration` and `location`.
    `partition_overwrite="dynamic"` replaces the partitions that the data has. `if_version`: only
    while the table is at that version. `token`: the same call again commits nothing more.
    `mirror="async"` returns before the version is in the log. `durability="synced"`: the data
    files survive a power failure before the commit does (also by the property
    `deltalakedb.durability`). `progress` is told the rows taken so far.
    Returns the version and metrics. Errors have `outcome`: failed, committed or unknown.
    """
    options = WriteOptions.of(
        mode=mode,
        schema_mode=schema_mode,
        partition_overwrite=partition_overwrite,
        predicate=predicate,
        target_file_size=target_file_size,
        writer_properties=writer_properties,
        progress=progress,
        commit_properties=commit_properties,
        post_commithook_properties=post_commithook_properties,
        token=token,
        if_version=if_version,
        mirror=mirror,
        durability=durability,
        isolation=isolation,
    )
    if isinstance(table_or_uri, Table):
        if partition_by is not None:
            table_or_uri._changed(lambda _, base: _check_partitions(base, partition_by))
        return table_or_uri.write_with(data, options)
    target = _target(table_or_uri, sql_config)
    base = _base(target, storage_options)
    if base is not None:
        _check_partitions(base, partition_by)
        return write(open_catalog(target.database), base, data, options)
    if if_version is not None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.TABLE_NOT_FOUND,
            f"there is no table {target.name}, so it isn't at version {if_version}",
            table=target.name,
        )
    from deltalakedb.table.operations.create import create_with_rows

    new = _new(target, location, partition_by, name, description, configuration, storage_options)
    try:
        return create_with_rows(target.database, new, data, options)
    except DeltaLakeError as error:
        # Another has made it meanwhile: theirs is there to be written to, if the data is too.
        taken = error.kind is DeltaLakeErrorKind.TABLE_EXISTS and mode != "error"
        base = _base(target, storage_options) if taken else None
        if base is None or not hasattr(data, "__arrow_c_stream__") or hasattr(data, "read_all"):
            raise
        return write(open_catalog(target.database), base, data, options)


def convert_to_deltalake(
    uri: str,
    mode: Literal["error", "ignore"] = "error",
    partition_by: Any = None,
    partition_strategy: Literal["hive", "directory"] | None = None,
    name: str | None = None,
    description: str | None = None,
    configuration: Mapping[str, str | None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    *,
    location: str | None = None,
    collect_stats: bool = True,
    commit_properties: Any = None,
    post_commithook_properties: Any = None,
    sql_config: SqlConfig | None = None,
) -> WriteResult | None:
    """Make a table of the Parquet files below `location` (default: its place in the warehouse).

    delta-rs's function, by a `deltasql://` URI. The files stay where they are. `partition_by`: the
    partition columns in the folders' order, as a schema, or names of strings; the strategy is
    `hive` (`day=1/…`) by default, or `directory` (`1/…`). Statistics are taken from the rows;
    without `collect_stats` from the footers alone, the numbers of rows. `mode="ignore"`: None where
    the table is there. Errors as `operations.convert.convert`.
    """
    from deltalakedb.table.operations.convert import convert

    target = _target(uri, sql_config)
    if mode == "ignore" and _base(target, storage_options) is not None:
        return None
    options = WriteOptions.of(
        mode="error",
        commit_properties=commit_properties,
        post_commithook_properties=post_commithook_properties,
    )
    new = _new(target, location, None, name, description, configuration, storage_options)
    strategy = partition_strategy or "hive"
    return convert(
        target.database, new, partition_by, strategy, options, collect_stats=collect_stats
    )


def _target(uri: str, sql_config: SqlConfig | None) -> TableUri:
    parsed = parse_table_uri(uri)
    if sql_config is None:
        return parsed
    return TableUri(sql_config.secret, parsed.namespace, parsed.table)


def _base(target: TableUri, storage_options: Mapping[str, Any] | None) -> Base | None:
    """The table to write to; None where there is none, or no catalog yet."""
    catalog: LightCatalog = open_catalog(target.database)
    try:
        return Base.read(catalog, target.namespace, target.table, storage_options)
    except DeltaLakeError as error:
        if error.kind is DeltaLakeErrorKind.NOT_FOUND:
            return None
        raise


def _new(
    target: TableUri,
    location: str | None,
    partition_by: str | Sequence[str] | None,
    name: str | None,
    description: str | None,
    configuration: Mapping[str, str | None] | None,
    storage_options: Mapping[str, Any] | None,
) -> NewTable:
    from deltalakedb.table.operations.create import NewTable

    columns = [partition_by] if isinstance(partition_by, str) else list(partition_by or ())
    return NewTable(
        name=target.table,
        namespace=target.namespace or "",
        location=location,
        partition_by=columns,
        title=name,
        description=description,
        configuration=configuration,
        storage_options=storage_options,
    )


def _check_partitions(base: Base, partition_by: str | Sequence[str] | None) -> None:
    if partition_by is None:
        return
    given = [partition_by] if isinstance(partition_by, str) else list(partition_by)
    if given != list(base.metadata.partition_columns):
        raise DeltaLakeError(
            DeltaLakeErrorKind.SCHEMA_MISMATCH,
            f"{base.row.full_name} is partitioned by {list(base.metadata.partition_columns)}, not "
            f"by {given}; leave partition_by out",
            table=base.row.full_name,
        )
