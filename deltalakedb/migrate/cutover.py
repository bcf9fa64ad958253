"""Handing a table over from its file-based writers to SQL, while they go on.

Up to the fence the log ratifies, and so it does for the fence itself: one put. The catalog adopts
it like any commit; from there on SQL alone commits, and claims each slot of the log first, until
the probation is over. docs/cutover.md, "The cutover".
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Any

from deltalakedb import tracing
from deltalakedb.catalog.dialects.writer import LostConnectionError, Statement
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.catalog.holder import is_dead
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.records import TableRow
from deltalakedb.commit.slot import slot_name
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit_writer import CommitInfo
from deltalakedb.log.features import enabled
from deltalakedb.log.metadata import Metadata
from deltalakedb.log.protocol import FENCE_FEATURE, Protocol
from deltalakedb.log.rows import LIVE
from deltalakedb.migrate.slot import Tail, put_in_next_slot
from deltalakedb.migrate.steps import On
from deltalakedb.mirror import publish
from deltalakedb.mirror.adopt import adopt
from deltalakedb.storage.store import ObjectStore
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.fence import (
    OPERATION,
    check_own_fence,
    fenced,
    is_fenced,
)
from deltalakedb.table.operations.provenance import engine_info

TRY_SECONDS = 3.0
"""How long one try may go on losing slots to others."""
_SETTLE_SECONDS = 20.0
_PAUSE_SECONDS = 0.002
_SILENT_MS = 60_000
"""So long after its reservation has expired nobody's put is waited for."""
_NO_ROW = (-1, -1, "", "", "", False)


@dataclass(frozen=True)
class Fenced:
    """A fence that stands: its version and its bytes, and how many slots others took before."""

    version: int
    body: bytes
    lost: int


def new_cutover_id() -> str:
    """A name for a cutover: the token of its fence."""
    return f"cutover-{uuid.uuid4()}"


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


@tracing.traced("cutover")
def put_fence(
    catalog: LightCatalog,
    base: Base,
    log: ObjectStore,
    *,
    cutover_id: str,
    contact: str | None,
    take_over: bool,
    seconds: float,
    on: On,
) -> Fenced:
    """Put the fence behind the newest commit of the log, and adopt all up to it.

    `base` is the table where the log ratifies, at a head that is near the log's. Idempotent by
    `cutover_id`. Raises as `put_in_next_slot` does, and MIRROR_CONFLICT where another catalog has
    fenced the table.
    """
    row = base.row
    catalog_id = catalog.catalog_id

    def change(protocol: Protocol, metadata: Metadata) -> tuple[Protocol, Metadata]:
        if not take_over:
            check_own_fence(catalog, protocol, metadata)
        return fenced(protocol, metadata, row, catalog_id, row.epoch + 1, contact)

    info = CommitInfo(
        operation=OPERATION,
        parameters={"authority": "sql", "fence": True},
        is_blind_append=False,
        engine_info=engine_info(),
        txn_id=cutover_id,
    )
    put = put_in_next_slot(log, tail_of(catalog, base), change, info, seconds=seconds)
    on("fence-put", {"version": put.version})
    adopt(catalog.reader.url, row, log)
    if fence_of(catalog, row, cutover_id) != put.version:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONCURRENCY_ERROR,
            f"the fence of {row.full_name}, version {put.version} in its log, was written over "
            "at once by a writer that asks no condition; pause those, or run this again",
            table=row.full_name,
            rule="slot",
        )
    return Fenced(put.version, put.body, put.lost)


def fence_of(catalog: LightCatalog, row: TableRow, cutover_id: str) -> int | None:
    """The version of a cutover's fence, once the catalog has it."""
    found = catalog.reader.rows(
        "SELECT version FROM dl_commits WHERE table_key = ? AND token = ?",
        (row.table_key, cutover_id),
    )
    return int(found[0][0]) if found else None


def tail_of(catalog: LightCatalog, base: Base) -> Tail:
    """The end of the log as the catalog knows it."""
    stamp = None
    if enabled(base.metadata.configuration, "delta.enableInCommitTimestamps"):
        [(stamp,)] = catalog.reader.rows(
            "SELECT in_commit_time FROM dl_versions WHERE load_id = ? AND version = ?",
            (base.row.live_load, base.row.head_version),
        ) or [(None,)]
    return Tail(base.row.head_version, base.protocol, base.metadata, stamp)


def settle(catalog: LightCatalog, row: TableRow, log: ObjectStore, options: Any) -> Base:
    """End the probation: from here on the catalog's transaction alone ratifies.

    Decided under the head's lock, with the log's next slot free and nobody about to put into it.
    Raises CONCURRENCY_ERROR when that never was so: the table stays in its probation.
    """
    database = catalog.reader.url
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        state = _handed_over(catalog, row, log)
        if state == "done":
            return read_base(catalog, row.table_id, options)
        if state == "behind":
            adopt(database, row, log)
            base = read_base(catalog, row.table_id, options)
            row = base.row
            if row.authority == "sql":
                return base
            if not is_fenced(base.protocol):
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
                f"{_SETTLE_SECONDS:g} s ({state}), so its probation isn't over; run this again",
                table=row.full_name,
                rule="settle",
            )
        time.sleep(_PAUSE_SECONDS)


def _handed_over(catalog: LightCatalog, row: TableRow, log: ObjectStore) -> str:
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
        same = (epoch, authority) == (row.epoch, "log") and FENCE_FEATURE in protocol
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
