"""Handing a table over from its file-based writers to SQL, while they go on.

Up to the fence the log ratifies, and so it does for the fence itself: one put. The catalog adopts
it like any commit; from there on SQL alone commits, and claims each slot of the log first, until
the probation is over. docs/cutover.md, "The cutover".
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from deltalakedb import tracing
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.records import TableRow
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit_writer import CommitInfo
from deltalakedb.log.features import enabled
from deltalakedb.log.metadata import Metadata
from deltalakedb.log.protocol import Protocol
from deltalakedb.migrate.slot import Tail, put_in_next_slot
from deltalakedb.migrate.steps import On
from deltalakedb.mirror.adopt import adopt
from deltalakedb.storage.store import ObjectStore
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.fence import (
    OPERATION,
    check_own_fence,
    fenced,
)
from deltalakedb.table.operations.provenance import engine_info

TRY_SECONDS = 3.0
"""How long one try may go on losing slots to others."""


@dataclass(frozen=True)
class Fenced:
    """A fence that stands: its version and its bytes, and how many slots others took before."""

    version: int
    body: bytes
    lost: int


def new_cutover_id() -> str:
    """A name for a cutover: the token of its fence."""
    return f"cutover-{uuid.uuid4()}"


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
