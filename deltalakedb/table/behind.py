"""Whether a catalog is behind what is known of a table: restored from a backup, or a slow replica.

Reading can't mend it, and what is read is a version that was there; so it is told, as a warning.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable

from deltalakedb.catalog.records import TableRow, TableState

LAG_SECONDS = 10.0
"""What came into a log within this time may be on its way to a replica."""
_APART_SECONDS = 1.0
"""A log is asked no oftener."""

_asked: dict[tuple[str, str], float] = {}
_told: dict[tuple[str, str], int] = {}
"""By table and log: until when it isn't asked, and the version of which it was told."""


def looked_at(
    find: Callable[[], tuple[TableRow, TableState]], before: TableRow | None
) -> tuple[TableRow, TableState]:
    """What `find` asks the catalog for; with a warning where that is behind.

    `before`: the row that whoever reads has seen last.
    """
    found = find()
    row = found[0]
    if row.authority == "log":
        # Others write there, and a catalog may follow at its leisure.
        return found
    newest = newer_in_log(row)
    if newest is not None:
        # Another may have committed it since.
        found = find()
        if found[0].head_version < newest:
            tell(found[0], newest, "its log has")
    elif before is not None and _is_older(row, before):
        tell(row, before.head_version, "this process has seen")
    return found


def _is_older(row: TableRow, before: TableRow) -> bool:
    return row.table_id == before.table_id and row.head_version < before.head_version


def newer_in_log(row: TableRow) -> int | None:
    """A version that the log has had for a while and a catalog with this row can't know of.

    None where it isn't known: the log is far away, can't be read, or was asked within the last
    second. Nothing is listed: one or two files are asked for.
    """
    if not row.log_location.startswith("/"):
        return None
    key = (row.table_id, row.log_location)
    now = time.monotonic()
    if now < _asked.get(key, now):
        return None
    _asked[key] = now + _APART_SECONDS
    head, latest = row.head_version, time.time() - LAG_SECONDS
    if _written(row, _commit(head + 1)) < latest:
        return head + 1
    if not os.path.exists(f"{row.log_location}/{_commit(head)}"):
        # Not there yet, or no longer: a cleanup takes away what a checkpoint has.
        newest = _checkpointed(row)
        if newest > head and _written(row, "_last_checkpoint") < latest:
            return newest
    return None


def tell(row: TableRow, newest: int, where: str) -> None:
    """Warn, once a version, that `where` has a newer version than the catalog's row."""
    key = (row.table_id, row.log_location)
    if _told.get(key, -1) >= newest:
        return
    _told[key] = newest
    told = (
        f"{row.full_name} is at version {row.head_version} in its catalog, and {where} version "
        f"{newest}: the database was restored from an older backup, or is a replica that lags, or "
        f"others have written to the log; `dl mirror repair {row.full_name}` brings it up to date"
    )
    warnings.warn(told, RuntimeWarning, stacklevel=4)
    # Who opens a table whose catalog isn't behind needs neither.
    import logging

    from deltalakedb import logs

    log = logging.getLogger(__name__)
    facts = {"table": row.full_name, "table_id": row.table_id, "version": row.head_version}
    logs.note(log, logging.WARNING, told, step="read", **facts)


def _commit(version: int) -> str:
    """As `log.paths` has it, whose patterns opening a table is not to compile."""
    return f"{version:020d}.json"


def _written(row: TableRow, name: str) -> float:
    """When a file of the log was written, seconds since 1970; never where it isn't there."""
    try:
        return os.stat(f"{row.log_location}/{name}").st_mtime
    except OSError:
        return float("inf")


def _checkpointed(row: TableRow) -> int:
    """The version of the newest checkpoint, as the log says; -1 for none."""
    import json

    try:
        with open(f"{row.log_location}/_last_checkpoint", "rb") as file:
            return int(json.load(file)["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1
