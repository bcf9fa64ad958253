"""From its log to the catalog: a table whose log ratifies, in one transaction that sees it stand.

Who puts into the log asks no catalog, so the head is locked, the log's next slot looked at, and
whoever has reserved it waited for, before the catalog's transaction alone ratifies.
"""

from __future__ import annotations

import time
from typing import Any

from deltalakedb.catalog.dialects.writer import LostConnectionError, Statement
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.catalog.holder import is_dead
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.records import TableRow
from deltalakedb.commit.slot import slot_name
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.place import table_of_log
from deltalakedb.log.protocol import FENCE_FEATURE
from deltalakedb.log.rows import LIVE
from deltalakedb.mirror import publish
from deltalakedb.mirror.adopt import adopt
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import ObjectStore
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.fence import is_fenced
from deltalakedb.uri import normalise_location

_SETTLE_SECONDS = 20.0
_PAUSE_SECONDS = 0.002
_SILENT_MS = 60_000
"""So long after its reservation has expired nobody's put is waited for."""
_NO_ROW = (-1, -1, "", "", "", False)


def check_own_log(row: TableRow) -> None:
    """Refuse to hand over a table whose log isn't its own: INVALID_ARGUMENT.

    An import may read a log from elsewhere than where the table's data is; file-based writers go by
    the one that stands in the table's folder.
    """
    theirs = table_of_log(StoreSpec(row.log_location))
    if normalise_location(theirs) == normalise_location(row.location):
        return
    raise DeltaLakeError(
        DeltaLakeErrorKind.INVALID_ARGUMENT,
        f"{row.full_name} was imported from {row.log_location}, which isn't the log in its folder "
        f"{row.location}: a fence there would keep nobody out; let the catalog follow the table's "
        f"own log first: `dl relocate {row.full_name} --log-dir {row.location}`",
        table=row.full_name,
        log_location=row.log_location,
    )


def read_base(catalog: LightCatalog, table_id: str, options: Any) -> Base:
    """The table at its head. TABLE_NOT_FOUND when it was dropped."""
    found = Base.read(catalog, None, table_id, options)
    if found is None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.TABLE_NOT_FOUND,
            f"table {table_id} was dropped meanwhile",
            table=table_id,
        )
    return found


def hand_over(
    catalog: LightCatalog, row: TableRow, log: ObjectStore, options: Any, *, fence: bool
) -> Base:
    """From here on the catalog's transaction alone ratifies; `fence`: behind one that stands.

    Decided under the head's lock, with the log's next slot free and nobody about to put into it.
    Raises CONCURRENCY_ERROR when that never was so: the log goes on ratifying.
    """
    database = catalog.reader.url
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        state = _handed_over(catalog, row, log, fence)
        if state == "done":
            return read_base(catalog, row.table_id, options)
        if state == "behind":
            adopt(database, row, log)
            base = read_base(catalog, row.table_id, options)
            row = base.row
            if row.authority == "sql":
                return base
            if fence and not is_fenced(base.protocol):
                raise DeltaLakeError(
                    DeltaLakeErrorKind.CONCURRENCY_ERROR,
                    f"the fence of {row.full_name} was taken down meanwhile; run the cutover again",
                    table=row.full_name,
                    rule="fence",
                )
        if time.monotonic() > deadline:
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONCURRENCY_ERROR,
                f"versions of {row.full_name} were on their way into its log for all of "
                f"{_SETTLE_SECONDS:g} s ({state}), so the log goes on ratifying; run this again",
                table=row.full_name,
                rule="settle",
            )
        time.sleep(_PAUSE_SECONDS)


def _handed_over(catalog: LightCatalog, row: TableRow, log: ObjectStore, fence: bool) -> str:
    """`done`, `behind` the log or what was read, or who is putting a version into the log."""
    locking = Statement(
        "SELECT table_key FROM dl_heads WHERE table_key = ? FOR UPDATE", (row.table_key,)
    )
    with writing(catalog.reader.url) as writer:
        asked = Statement(
            "SELECT h.head_version, h.epoch, h.authority, p.body, l.holder, "
            f"l.expires_at + {_SILENT_MS} > {writer.now} FROM dl_heads h "
            f"JOIN dl_protocols p ON p.load_id = h.live_load AND p.removed_version = {LIVE} "
            "LEFT JOIN dl_leases l ON l.name = ? WHERE h.table_key = ?",
            (slot_name(row.table_id), row.table_key),
        )
        found = writer.begin(locking, asked, 10.0)
        head, epoch, authority, protocol, holder, may_put = found[0] if found else _NO_ROW
        same = (epoch, authority) == (row.epoch, "log") and (not fence or FENCE_FEATURE in protocol)
        # One that is silent may still put, one that is dead doesn't.
        busy = bool(may_put) and not is_dead(holder)
        if busy or not same or log.exists(publish.commit_name(head + 1)):
            writer.rollback()
            return str(holder) if busy and same else "behind"
        moved = Statement(
            "UPDATE dl_heads SET authority = 'sql', epoch = epoch + 1 "
            "WHERE table_key = ? AND head_version = ?",
            (row.table_key, head),
            rows=1,
        )
        try:
            writer.commit([moved])
        except LostConnectionError:
            # Looked at again: it is done, or it isn't.
            return "behind"
    return "done"
