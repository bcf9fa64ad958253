"""What a catalog knows of a table's files besides those of its head: older versions', ended ones.

`vacuum` and `restore` may be in each other's way, so both work under a lease; how far files have
been taken away is a property of the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pyarrow as pa

from deltalakedb.catalog.dialects.writer import Statement, WrongCountError, insert
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.records import TableRow, load_condition, load_files_name
from deltalakedb.commit.heads import LISTED_BEFORE
from deltalakedb.commit.slot import Reservation, slot_name, taken
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.rows import FILE_SCHEMA, file_keys
from deltalakedb.mirror.lease import Lease, acquire, extended, release
from deltalakedb.table.operations.registration import reaping

VACUUM_BEGUN = "vacuum_begun"
"""Files of lives that ended up to this version may be gone."""
VACUUM_DONE = "vacuum_done"
"""Those are."""
_LOCK_SECONDS = 30.0
_COLUMNS = tuple(name for name in FILE_SCHEMA.names if name != "path_key2")


def lives_at(catalog: LightCatalog, row: TableRow, version: int) -> pa.Table:
    """The files of a version, as rows of FILE_SCHEMA."""
    batches = queries.stream_files(catalog, row, version, _COLUMNS, ordered=False)
    return whole_rows(batches)


def whole_rows(batches: Iterator[pa.RecordBatch]) -> pa.Table:
    """Rows of `dl_files` and their partition values as rows of FILE_SCHEMA."""
    found = pa.Table.from_batches(list(batches), queries.file_schema(_COLUMNS))
    _, second = file_keys(found.column("path").to_pylist(), found.column("dv_id").to_pylist())
    found = found.append_column("path_key2", pa.array(second))
    return found.select(FILE_SCHEMA.names).cast(FILE_SCHEMA)


def lives_where(catalog: LightCatalog, row: TableRow, where: str) -> pa.Table:
    """Lives of the table's load by a condition on `f`, as rows of FILE_SCHEMA."""
    picked = ", ".join(f"p.{c}" if c == "partition_values" else f"f.{c}" for c in _COLUMNS)
    sql = (
        f"SELECT {picked} FROM {load_files_name(row.live_load)} f "
        "JOIN dl_partitions p ON p.load_id = f.load_id AND p.partition_id = f.partition_id "
        f"WHERE {load_condition(row.live_load, 'f')}{where}"
    )
    dialect = catalog.reader.dialect
    with dialect.errors():
        return whole_rows(dialect.stream(sql, queries.file_schema(_COLUMNS)))


@contextmanager
def files_lease(catalog: LightCatalog, row: TableRow) -> Iterator[Lease]:
    """The right to take files away or to bring them back. TIMEOUT_ERROR while another has it."""
    with writing(catalog.reader.url) as writer:
        lease = acquire(writer, f"files:{row.table_id}")
    if lease is None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.TIMEOUT_ERROR,
            f"a vacuum or a restore of {row.full_name} is under way; run this again when it is "
            "done, or half a minute after its process has died",
            table=row.full_name,
        )
    try:
        yield lease
    finally:
        with suppress(DeltaLakeError), writing(catalog.reader.url) as writer:
            release(writer, lease)


def still_held(lease: Lease) -> Statement:
    """A guard for a commit that the lease allows."""
    return Statement(
        "UPDATE dl_leases SET expires_at = expires_at + 1 WHERE name = ? AND token = ?",
        (lease.name, lease.token),
        rows=1,
    )


def extend(catalog: LightCatalog, row: TableRow, lease: Lease, also: Sequence[Statement]) -> None:
    """Renew the lease, and write something that it allows."""
    try:
        with writing(catalog.reader.url) as writer:
            writer.transact([extended(writer, lease), *also])
    except WrongCountError:
        raise lost(row) from None


def claim(
    catalog: LightCatalog, row: TableRow, lease: Lease, begun: int, *, listed_before: int | None
) -> None:
    """Under the table's lock: from here on files may be deleted, and no commit will name them.

    Those of lives that ended up to `begun`; those of writes that have let their lease run out; with
    `listed_before`, a time, all older ones that nobody knows of. TIMEOUT_ERROR while a version that
    may name some of them is on its way into the log.
    """
    locking = Statement(
        f"SELECT table_key FROM dl_heads WHERE table_key = {row.table_key} FOR UPDATE"
    )
    question = Statement(
        "SELECT h.head_version, l.expires_at, l.token, l.holder FROM dl_heads h "
        "LEFT JOIN dl_leases l ON l.name = ? WHERE h.table_key = ?",
        (slot_name(row.table_id), row.table_key),
    )
    statements = [*set_property(row, VACUUM_BEGUN, begun)]
    if listed_before is not None:
        newest = max(listed_before, property_of(catalog, row, LISTED_BEFORE))
        statements += set_property(row, LISTED_BEFORE, newest)
    with writing(catalog.reader.url) as writer:
        for head, *slot in writer.begin(locking, question, _LOCK_SECONDS):
            found = None if slot[0] is None else Reservation(*slot)
            if found is not None and found.version > head and not found.is_abandoned:
                writer.rollback()
                raise taken(row.full_name, found)
        try:
            writer.commit([extended(writer, lease), *statements, reaping(writer, row)])
        except WrongCountError:
            raise lost(row) from None


def lost(row: TableRow) -> DeltaLakeError:
    """Somebody else has the lease by now."""
    return DeltaLakeError(
        DeltaLakeErrorKind.CONCURRENCY_ERROR,
        f"this took so long that another vacuum or restore of {row.full_name} began; run it again",
        table=row.full_name,
    )


def property_of(catalog: LightCatalog, row: TableRow, name: str) -> int:
    """A version among our own properties of a table; -1 where it isn't set."""
    found = catalog.reader.rows(
        "SELECT value FROM dl_properties WHERE table_key = ? AND name = ?", (row.table_key, name)
    )
    return int(found[0][0]) if found else -1


def set_property(row: TableRow, name: str, value: int) -> list[Statement]:
    """Statements that set it."""
    return [
        Statement(
            "DELETE FROM dl_properties WHERE table_key = ? AND name = ?", (row.table_key, name)
        ),
        insert(
            "dl_properties", ("table_key", "name", "value"), [(row.table_key, name, str(value))]
        ),
    ]


def rollback_versions(catalog: LightCatalog, row: TableRow) -> list[int]:
    """Versions that can be gone back to, whatever the table's retention is."""
    found = catalog.reader.rows(
        "SELECT version FROM dl_rollback_points WHERE table_key = ? AND retired_at IS NULL",
        (row.table_key,),
    )
    return [int(version) for (version,) in found]
