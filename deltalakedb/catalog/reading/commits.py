"""What the catalog has of each commit: its provenance, and the fingerprint of its log file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deltalakedb.catalog.reading.proof import proven_rows
from deltalakedb.catalog.reading.queries import Readable
from deltalakedb.catalog.records import TableRow

if TYPE_CHECKING:
    import pyarrow as pa

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
    """Rows of `dl_versions`, newest first."""
    cut = "" if limit is None else f" LIMIT {max(int(limit), 1)}"
    names = ", ".join(HISTORY)
    found = proven_rows(
        catalog.reader,
        table,
        table.head_version,
        HISTORY,
        f"SELECT {names} FROM (SELECT {names} FROM dl_versions WHERE load_id = ? "
        f"ORDER BY version DESC{cut}) newest",
        (table.live_load,),
    )
    found.sort(key=lambda row: -row[0])
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
    found = proven_rows(
        catalog.reader,
        table,
        table.head_version,
        schema.names,
        "SELECT version, log_bytes, file_time, log_digest FROM dl_versions "
        "WHERE load_id = ? AND log_digest IS NOT NULL",
        (table.live_load,),
    )
    found.sort()
    columns = list(zip(*found, strict=True)) if found else [()] * 4
    return pa.Table.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
    )
