"""Whether a version of a table can be read, and why not."""

from __future__ import annotations

from deltalakedb.catalog.reading.queries import Readable, state_at
from deltalakedb.catalog.records import TableRow, TableState
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.protocol import Protocol, check_known


def check_version(catalog: Readable, table: TableRow, version: int) -> None:
    """Raises VERSION_NOT_FOUND, with the reason, for a version that can't be read."""
    if version > table.head_version or version < 0:
        raise DeltaLakeError(
            DeltaLakeErrorKind.VERSION_NOT_FOUND,
            f"table {table.full_name} has no version {version}; its newest is {table.head_version}",
            version=version,
            head=table.head_version,
        )
    if version < table.known_since:
        raise DeltaLakeError(
            DeltaLakeErrorKind.VERSION_NOT_FOUND,
            f"version {version} of table {table.full_name} is older than what was imported: "
            f"versions from {table.known_since} on are known ({_why_unknown(table)})",
            version=version,
            known_since=table.known_since,
        )
    if version in (table.head_version, table.known_since):
        return
    found = catalog.reader.rows(
        "SELECT readable FROM dl_versions WHERE load_id = ? AND version = ?",
        (table.live_load, version),
    )
    if not found or not found[0][0]:
        raise DeltaLakeError(
            DeltaLakeErrorKind.VERSION_NOT_FOUND,
            f"version {version} of table {table.full_name} can't be read: its log was cleaned up "
            "before it was imported",
            version=version,
        )


def _why_unknown(table: TableRow) -> str:
    if table.mode == "fast":
        return "imported with --mode fast; --mode full-history --rebuild reads what the log has"
    return "the log before was cleaned up"


def state_to_read(
    catalog: Readable, table: TableRow, version: int, *, small: bool = False
) -> TableState:
    """`state_at` of a version that passes `check_version` and could be imported as a head.

    Raises also INVALID_LOG (no metaData, no protocol, no schema) and UNSUPPORTED_FEATURE: the
    head was checked when it was imported, but what held before it may be another matter.
    """
    check_version(catalog, table, version)
    state = state_at(catalog, table, version, small=small)
    protocol = state.protocol
    features = (protocol[f"{side}_features"] for side in ("reader", "writer"))
    check_known(
        Protocol(
            protocol["min_reader_version"],
            protocol["min_writer_version"],
            *(None if f is None else tuple(f) for f in features),
        )
    )
    if state.metadata["schema_string"] is None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_LOG,
            f"the metaData action that holds at version {version} of table {table.full_name} has "
            "no schemaString (PROTOCOL.md requires it); read a version after it was set",
            version=version,
        )
    return state
