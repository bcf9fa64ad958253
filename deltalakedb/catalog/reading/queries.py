"""Questions to the catalog: which table, what held at a version, which files, which history."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from deltalakedb.catalog.reading.proof import (
    complete_batches,
    proven,
    proven_batches,
    proven_rows,
)
from deltalakedb.catalog.records import (
    HEAD_COLUMNS,
    TABLE_COLUMNS,
    TableRow,
    TableState,
    load_condition,
    load_files_name,
)
from deltalakedb.catalog.table_name import is_uuid, may_be_stored
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.location import location_hash

if TYPE_CHECKING:
    import pyarrow as pa

    from deltalakedb.catalog.dialects.reader import Reader

__all__ = ["TableRow", "TableState"]


class Readable(Protocol):
    """A catalog, or the light side of one: whatever has a reader."""

    @property
    def reader(self) -> Reader: ...


ROW = ", ".join(f"{'h' if name in HEAD_COLUMNS else 't'}.{name}" for name in TABLE_COLUMNS)
TABLES = "dl_tables t JOIN dl_heads h ON h.table_key = t.table_key"
METADATA = (
    "metadata_id",
    "name",
    "description",
    "format_provider",
    "created_time",
    "schema_string",
    "partition_columns",
    "configuration",
)
PROTOCOL = ("min_reader_version", "min_writer_version", "reader_features", "writer_features")


def all_tables(catalog: Readable) -> list[TableRow]:
    """Every table of the catalog, by name."""
    found = catalog.reader.rows(f"SELECT {ROW} FROM {TABLES} ORDER BY t.namespace, t.name")
    return [TableRow(*row) for row in found]


def lookup_table(catalog: Readable, reference: str) -> TableRow | None:
    """A table by uuid, name or `namespace.name`; None when there is none.

    Raises INVALID_ARGUMENT when a bare name stands in several namespaces.
    """
    if not may_be_stored(reference):
        return None
    reader = catalog.reader
    select = f"SELECT {ROW} FROM {TABLES} WHERE"
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
    catalog: Readable, full_name: str, advice: str, besides: Collection[str] = ()
) -> None:
    """Raise TABLE_EXISTS when a table is called so, however its dots are split.

    `besides`: ids of tables that may be.
    """
    pieces = full_name.split(".")
    splits = [(".".join(pieces[:at]), ".".join(pieces[at:])) for at in range(len(pieces))]
    where = " OR ".join(["t.namespace = ? AND t.name = ?"] * len(splits))
    found = catalog.reader.rows(
        f"SELECT t.table_id, t.location FROM dl_tables t WHERE {where}", sum(splits, ())
    )
    for table_id, location in found:
        if table_id not in besides:
            raise DeltaLakeError(
                DeltaLakeErrorKind.TABLE_EXISTS,
                f"the name {full_name} is taken by the table at {location}; {advice}",
                table=full_name,
            )


def table_at(catalog: Readable, location: str) -> TableRow | None:
    """The table of a location, whatever its name."""
    found = catalog.reader.rows(
        f"SELECT {ROW} FROM {TABLES} WHERE t.location_hash = ?", (location_hash(location),)
    )
    return TableRow(*found[0]) if found else None


def state_at(
    catalog: Readable, table: TableRow, version: int, *, small: bool = False
) -> TableState:
    """Metadata, protocol, transactions and domains at a version of the live load.

    `small` leaves transactions and domains out: planning doesn't need them.
    """
    where = "load_id = ? AND added_version <= ? AND removed_version > ?"
    params = (table.live_load, version, version)

    def held(columns: tuple[str, ...], source: str) -> list[tuple[Any, ...]]:
        picked = ("added_version", *columns)
        select = f"SELECT {', '.join(picked)} FROM {source} WHERE {where}"
        found = proven_rows(catalog.reader, table, version, picked, select, params)
        return [row[1:] for row in found]

    txns = [] if small else held(("app_id", "version", "last_updated"), "dl_txns")
    domains = [] if small else held(("domain", "configuration"), "dl_domains")
    # Last, since there always is one: that it is found proves that the load's rows were all there.
    metadata = held(METADATA, "dl_metadata")
    protocol = held(PROTOCOL, "dl_protocols")
    if not metadata or not protocol:
        what = "protocol" if metadata else "metaData"
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_LOG,
            f"version {version} of table {table.full_name} has no {what} action",
            version=version,
        )
    return TableState(
        version=version,
        metadata=metadata_state(metadata[0]),
        protocol=protocol_state(protocol[0]),
        txns={app: {"version": v, "last_updated": at} for app, v, at in txns},
        domains=dict(domains),
    )


def metadata_state(row: tuple[Any, ...]) -> dict[str, Any]:
    """`TableState.metadata` of a row with the columns METADATA."""
    found = dict(zip(("id", *METADATA[1:]), row, strict=True))
    found["partition_columns"] = json.loads(found["partition_columns"] or "[]")
    found["configuration"] = json.loads(found["configuration"] or "{}")
    return found


def protocol_state(row: tuple[Any, ...]) -> dict[str, Any]:
    """`TableState.protocol` of a row with the columns PROTOCOL."""
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
    found = proven_rows(
        catalog.reader,
        table,
        table.head_version,
        ("versions", "version"),
        "SELECT count(*), max(version) FROM dl_versions WHERE load_id = ? AND commit_time <= ? "
        "AND readable AND version <= ?",
        (table.live_load, time_ms, table.head_version),
    )
    return None if found[0][1] is None else int(found[0][1])


def earliest_time(catalog: Readable, table: TableRow) -> int | None:
    """When the oldest readable version was committed, in ms."""
    found = proven_rows(
        catalog.reader,
        table,
        table.head_version,
        ("versions", "commit_time"),
        "SELECT count(*), min(commit_time) FROM dl_versions WHERE load_id = ? AND readable",
        (table.live_load,),
    )
    return None if found[0][1] is None else int(found[0][1])


def live_predicate(table: TableRow, version: int, alias: str = "") -> str:
    """The SQL condition of a row of the live load's files that is part of `version`."""
    prefix = f"{alias}." if alias else ""
    return (
        f"{load_condition(table.live_load, alias)}"
        f"{prefix}added_version <= {int(version)} AND {prefix}removed_version > {int(version)}"
    )


def totals_at(catalog: Readable, table: TableRow, version: int) -> tuple[int, int]:
    """Count and bytes of the files at a version, as they were counted when it was added.

    Versions of a catalog that is yet to be upgraded in full are counted now.
    """
    if version == table.head_version:
        return table.num_files, table.total_bytes
    columns = ("version", "live_files", "live_bytes")
    counted = proven_rows(
        catalog.reader,
        table,
        version,
        columns,
        f"SELECT {', '.join(columns)} FROM dl_versions WHERE load_id = ? AND version = ?",
        (table.live_load, version),
    )
    if not counted or counted[0][1] is None:
        counted = proven_rows(
            catalog.reader,
            table,
            version,
            columns,
            f"SELECT {version}, count(*), coalesce(sum(size), 0) "
            f"FROM {load_files_name(table.live_load)} WHERE {live_predicate(table, version)}",
        )
    [(_, count, size)] = counted
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


def few_files(rows: Sequence[Sequence[Any]], columns: Sequence[str]) -> pa.Table:
    """Rows of files as a reader has them, as Arrow's, of `file_schema`."""
    import pyarrow as pa

    schema = file_schema(columns)
    values = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    return pa.Table.from_arrays(
        [
            pa.array(
                # SQLite and MySQL have 0 and 1.
                [v if v is None else bool(v) for v in each]
                if pa.types.is_boolean(field.type)
                else each,
                field.type,
            )
            for each, field in zip(values, schema, strict=True)
        ],
        schema=schema,
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
    sql = proven(
        table,
        version,
        columns,
        f"SELECT {picked} FROM {load_files_name(table.live_load)} f {join}"
        f"WHERE {live_predicate(table, version, 'f')} {where}",
    )
    if ordered:
        # Databases disagree on where null comes and in which order letters do.
        dv = dialect.binary_order("coalesce(u.dv_id, '')")
        order = f"{dialect.binary_order('u.path')}, {dv}"
        sql = f"SELECT {', '.join(columns)} FROM ({sql}) u ORDER BY {order}"
    with dialect.errors():
        batches = dialect.stream(sql, file_schema(columns))
        found = proven_batches(batches, table, version, "path")
        if where:
            yield from found
        else:
            yield from complete_batches(found, table, version, totals_at(catalog, table, version))
