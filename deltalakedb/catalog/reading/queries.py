"""Questions to the catalog: which table, what held at a version, which files, which history."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from deltalakedb.catalog.records import (
    HEAD_COLUMNS,
    TABLE_COLUMNS,
    TableRow,
    TableState,
    load_files_name,
)
from deltalakedb.catalog.schema_version import check_schema_version
from deltalakedb.catalog.table_name import is_uuid, may_be_stored
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.location import location_hash
from deltalakedb.log.rows import LIVE

if TYPE_CHECKING:
    import pyarrow as pa

    from deltalakedb.catalog.dialects.reader import Reader

__all__ = ["TableRow", "TableState"]


class Readable(Protocol):
    """A catalog, or the light side of one: whatever has a reader."""

    @property
    def reader(self) -> Reader: ...


_ROW = ", ".join(f"{'h' if name in HEAD_COLUMNS else 't'}.{name}" for name in TABLE_COLUMNS)
_TABLES = "dl_tables t JOIN dl_heads h ON h.table_key = t.table_key"
_METADATA = (
    "metadata_id",
    "name",
    "description",
    "format_provider",
    "created_time",
    "schema_string",
    "partition_columns",
    "configuration",
)
_PROTOCOL = ("min_reader_version", "min_writer_version", "reader_features", "writer_features")


def all_tables(catalog: Readable) -> list[TableRow]:
    """Every table of the catalog, by name."""
    found = catalog.reader.rows(f"SELECT {_ROW} FROM {_TABLES} ORDER BY t.namespace, t.name")
    return [TableRow(*row) for row in found]


def lookup_table(catalog: Readable, reference: str) -> TableRow | None:
    """A table by uuid, name or `namespace.name`; None when there is none.

    Raises INVALID_ARGUMENT when a bare name stands in several namespaces.
    """
    if not may_be_stored(reference):
        return None
    reader = catalog.reader
    select = f"SELECT {_ROW} FROM {_TABLES} WHERE"
    if is_uuid(reference):
        found = reader.rows(f"{select} t.table_id = ?", (str(uuid.UUID(reference)),))
        return TableRow(*found[0]) if found else None
    rows = [TableRow(*row) for row in reader.rows(f"{select} t.name = ?", (reference,))]
    if not rows and "." in reference:
        namespace, _, name = reference.rpartition(".")
        found = reader.rows(f"{select} t.name = ? AND t.namespace = ?", (name, namespace))
        return TableRow(*found[0]) if found else None
    if len(rows) > 1:
        exact = [r for r in rows if not r.namespace]
        if len(exact) == 1:
            return exact[0]
        names = ", ".join(r.full_name for r in rows)
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{reference} is the name of several tables: {names}; name one of them",
            table=reference,
        )
    return rows[0] if rows else None


def no_table(catalog: Readable, reference: str) -> DeltaLakeError:
    """TABLE_NOT_FOUND for a reference that means no table."""
    return DeltaLakeError(
        DeltaLakeErrorKind.TABLE_NOT_FOUND,
        f"no table {reference} in {catalog.reader.url}; `dl tables` lists those there are",
        table=reference,
    )


def find_table(catalog: Readable, reference: str) -> TableRow:
    """A table by uuid, name or `namespace.name`. Raises TABLE_NOT_FOUND."""
    found = lookup_table(catalog, reference)
    if found is None:
        raise no_table(catalog, reference)
    return found


def check_name_is_free(
    catalog: Readable, full_name: str, advice: str, own: TableRow | None = None
) -> None:
    """Raise TABLE_EXISTS when another table than `own` is called so, however its dots are split."""
    pieces = full_name.split(".")
    splits = [(".".join(pieces[:at]), ".".join(pieces[at:])) for at in range(len(pieces))]
    where = " OR ".join(["t.namespace = ? AND t.name = ?"] * len(splits))
    found = catalog.reader.rows(
        f"SELECT t.table_id, t.location FROM dl_tables t WHERE {where}", sum(splits, ())
    )
    for table_id, location in found:
        if own is None or table_id != own.table_id:
            raise DeltaLakeError(
                DeltaLakeErrorKind.TABLE_EXISTS,
                f"the name {full_name} is taken by the table at {location}; {advice}",
                table=full_name,
            )


def table_at(catalog: Readable, location: str) -> TableRow | None:
    """The table of a location, whatever its name."""
    found = catalog.reader.rows(
        f"SELECT {_ROW} FROM {_TABLES} WHERE t.location_hash = ?", (location_hash(location),)
    )
    return TableRow(*found[0]) if found else None


def open_head(
    catalog: Readable, namespace: str | None, name: str
) -> tuple[TableRow, TableState] | None:
    """A table and what holds at its head (without txns and domains), in one question.

    `namespace` None: the name decides, as in `lookup_table`. None when there is no such table.
    """
    if not may_be_stored(f"{namespace}.{name}"):
        return None
    metadata = ", ".join(f"m.{c}" for c in _METADATA)
    protocol = ", ".join(f"p.{c}" for c in _PROTOCOL)
    where = "t.table_id = ?" if is_uuid(name) else "t.name = ?"
    params = [name]
    if namespace is not None:
        where += " AND t.namespace = ?"
        params.append(namespace)
    found = catalog.reader.rows(
        f"SELECT s.version_num, {_ROW}, {metadata}, {protocol} FROM dl_schema_version s "
        f"CROSS JOIN {_TABLES} "
        f"LEFT JOIN dl_metadata m ON m.load_id = h.live_load AND m.removed_version = {LIVE} "
        f"LEFT JOIN dl_protocols p ON p.load_id = h.live_load AND p.removed_version = {LIVE} "
        f"WHERE {where} ORDER BY t.namespace",
        params,
    )
    if not found:
        return None
    check_schema_version(found[0][0], str(catalog.reader.url))
    if len(found) > 1 and found[0][3] != "":
        lookup_table(catalog, name)  # raises, naming them
    row = found[0][1:]
    table = TableRow(*row[: len(TABLE_COLUMNS)])
    rest = row[len(TABLE_COLUMNS) :]
    state = TableState(
        table.head_version,
        _metadata(rest[: len(_METADATA)]),
        _protocol(rest[len(_METADATA) :]),
        {},
        {},
    )
    return table, state


def state_at(
    catalog: Readable, table: TableRow, version: int, *, small: bool = False
) -> TableState:
    """Metadata, protocol, transactions and domains at a version of the live load.

    `small` leaves transactions and domains out: planning doesn't need them.
    """
    reader = catalog.reader
    where = "load_id = ? AND added_version <= ? AND removed_version > ?"
    params = (table.live_load, version, version)

    def held(columns: tuple[str, ...], source: str) -> list[tuple[Any, ...]]:
        return reader.rows(f"SELECT {', '.join(columns)} FROM {source} WHERE {where}", params)

    txns = [] if small else held(("app_id", "version", "last_updated"), "dl_txns")
    domains = [] if small else held(("domain", "configuration"), "dl_domains")
    # Last, since there always is one: that it is found proves that the load's rows were all there.
    metadata = held(_METADATA, "dl_metadata")
    protocol = held(_PROTOCOL, "dl_protocols")
    if not metadata or not protocol:
        what = "protocol" if metadata else "metaData"
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_LOG,
            f"version {version} of table {table.full_name} has no {what} action",
            version=version,
        )
    return TableState(
        version=version,
        metadata=_metadata(metadata[0]),
        protocol=_protocol(protocol[0]),
        txns={app: {"version": v, "last_updated": at} for app, v, at in txns},
        domains=dict(domains),
    )


def _metadata(row: tuple[Any, ...]) -> dict[str, Any]:
    found = dict(zip(("id", *_METADATA[1:]), row, strict=True))
    found["partition_columns"] = json.loads(found["partition_columns"] or "[]")
    found["configuration"] = json.loads(found["configuration"] or "{}")
    return found


def _protocol(row: tuple[Any, ...]) -> dict[str, Any]:
    reader, writer, readers, writers = row
    return {
        "min_reader_version": reader,
        "min_writer_version": writer,
        "reader_features": _features(readers),
        "writer_features": _features(writers),
    }


def _features(text: str | None) -> list[str] | None:
    return None if text is None else list(json.loads(text))


def version_before(catalog: Readable, table: TableRow, time_ms: int) -> int | None:
    """The newest readable version committed at `time_ms` (since 1970) or before; None if none."""
    found = catalog.reader.rows(
        "SELECT max(version) FROM dl_versions WHERE load_id = ? AND commit_time <= ? "
        "AND readable AND version <= ?",
        (table.live_load, time_ms, table.head_version),
    )
    return None if found[0][0] is None else int(found[0][0])


def earliest_time(catalog: Readable, table: TableRow) -> int | None:
    """When the oldest readable version was committed, in ms."""
    found = catalog.reader.rows(
        "SELECT min(commit_time) FROM dl_versions WHERE load_id = ? AND readable",
        (table.live_load,),
    )
    return None if found[0][0] is None else int(found[0][0])


def live_predicate(version: int, alias: str = "") -> str:
    """The SQL condition of an interval row that is part of `version`."""
    prefix = f"{alias}." if alias else ""
    return f"{prefix}added_version <= {int(version)} AND {prefix}removed_version > {int(version)}"


def totals_at(catalog: Readable, table: TableRow, version: int) -> tuple[int, int]:
    """Count and bytes of the files at a version."""
    if version == table.head_version:
        return table.num_files, table.total_bytes
    [(count, size)] = catalog.reader.rows(
        f"SELECT count(*), coalesce(sum(size), 0) FROM {load_files_name(table.live_load)} "
        f"WHERE {live_predicate(version)}"
    )
    return int(count), int(size)


LISTING = (
    "path",
    "dv_id",
    "size",
    "modification_time",
    "num_records",
    "stats",
    "partition_values",
)


def file_schema(columns: Sequence[str]) -> pa.Schema:
    """Arrow types of columns of `dl_files` (and `partition_values`)."""
    import pyarrow as pa

    from deltalakedb.log.rows import FILE_SCHEMA

    known = set(FILE_SCHEMA.names)
    return pa.schema(
        [
            FILE_SCHEMA.field(c).with_nullable(True) if c in known else (c, pa.int64())
            for c in columns
        ]
    )


def stream_files(
    catalog: Readable,
    table: TableRow,
    version: int,
    columns: tuple[str, ...] = LISTING,
    *,
    ordered: bool = True,
    where: str = "",
) -> Iterator[pa.RecordBatch]:
    """The files of a version as Arrow batches (`partition_values` joined in), by path.

    `where`: more SQL, beginning with AND; columns are those of `f` (files).
    """
    dialect = catalog.reader.dialect
    picked = ", ".join(f"p.{c}" if c == "partition_values" else f"f.{c}" for c in columns)
    join = (
        "JOIN dl_partitions p ON p.load_id = f.load_id AND p.partition_id = f.partition_id "
        if "partition_values" in columns
        else ""
    )
    sql = (
        f"SELECT {picked} FROM {load_files_name(table.live_load)} f {join}"
        f"WHERE {live_predicate(version, 'f')} {where}"
    )
    if ordered:
        # Databases disagree on where null comes and in which order letters do.
        dv = dialect.binary_order("coalesce(f.dv_id, '')")
        sql += f" ORDER BY {dialect.binary_order('f.path')}, {dv}"
    with dialect.errors():
        yield from dialect.stream(sql, file_schema(columns))


HISTORY = (
    "version",
    "readable",
    "commit_time",
    "file_time",
    "in_commit_time",
    "info_time",
    "operation",
    "operation_parameters",
    "operation_metrics",
    "engine_info",
    "txn_id",
    "read_version",
    "isolation_level",
    "is_blind_append",
    "user_metadata",
    "commit_info",
    "num_adds",
    "num_removes",
    "bytes_added",
    "log_bytes",
    "log_digest",
    "live_files",
    "live_bytes",
)
_BOOLEANS = ("readable", "is_blind_append")


def history(catalog: Readable, table: TableRow, limit: int | None = None) -> list[dict[str, Any]]:
    """Rows of `dl_versions`, newest first.

    Raises CONCURRENCY_ERROR when the load is gone: a table that is there has its head's row.
    """
    cut = "" if limit is None else f" LIMIT {max(int(limit), 1)}"
    found = catalog.reader.rows(
        f"SELECT {', '.join(HISTORY)} FROM dl_versions WHERE load_id = ? "
        f"ORDER BY version DESC{cut}",
        (table.live_load,),
    )
    if not found or found[0][0] < table.head_version:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONCURRENCY_ERROR,
            f"table {table.full_name} was imported anew while its history was read; ask again",
            table=table.full_name,
        )
    result = []
    for row in found[:limit]:
        entry = dict(zip(HISTORY, row, strict=True))
        for name in _BOOLEANS:
            if entry[name] is not None:
                entry[name] = bool(entry[name])
        result.append(entry)
    return result


def commit_fingerprints(catalog: Readable, table: TableRow) -> pa.Table:
    """(version, log_bytes, file_time, log_digest) of every commit that was imported."""
    import pyarrow as pa

    schema = pa.schema(
        [
            ("version", pa.int64()),
            ("log_bytes", pa.int64()),
            ("file_time", pa.int64()),
            ("log_digest", pa.string()),
        ]
    )
    found = catalog.reader.rows(
        "SELECT version, log_bytes, file_time, log_digest FROM dl_versions "
        "WHERE load_id = ? AND log_digest IS NOT NULL ORDER BY version",
        (table.live_load,),
    )
    columns = list(zip(*found, strict=True)) if found else [()] * 4
    return pa.Table.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
    )
