"""Who ratifies a table's commits, and the fence that keeps file-based writers out.

`log`: the first file in a slot of the log. `sql`: the catalog's transaction; file-based writers are
kept out by agreement, or by the fence: a writer feature of ours in the protocol, which they have to
refuse, and a `metaData` action in the same commit, which stops those that have the table open.
Readers go on, for the feature is the writers' alone. PROTOCOL.md, "Table Features".
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from deltalakedb.catalog.dialects.writer import Statement, WrongCountError
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit.staged import StagedTable
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit_writer import metadata_body
from deltalakedb.mirror import publish, tend
from deltalakedb.mirror.adopt import adopt
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.fence import (
    OPERATION,
    check_own_fence,
    fenced,
    is_fenced,
    unfenced,
)
from deltalakedb.table.operations.handover import check_own_log, hand_over, read_base
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.operations.provenance import commit_info
from deltalakedb.table.transaction import ratify

Authority = Literal["log", "sql", "fence"]
AUTHORITIES: tuple[Authority, ...] = ("log", "sql", "fence")


@dataclass(frozen=True)
class AuthorityState:
    """Who ratifies, since which epoch, and how far the log follows."""

    table: str
    authority: str
    fenced: bool
    epoch: int
    version: int
    published_version: int


def authority_of(catalog: LightCatalog, base: Base) -> AuthorityState:
    """What holds now."""
    [(published,)] = catalog.reader.rows(
        "SELECT published_version FROM dl_mirror WHERE table_key = ?", (base.row.table_key,)
    ) or [(-1,)]
    row = base.row
    return AuthorityState(
        row.full_name,
        row.authority,
        is_fenced(base.protocol),
        row.epoch,
        row.head_version,
        published,
    )


def set_authority(catalog: LightCatalog, base: Base, wanted: Authority) -> AuthorityState:
    """Hand the table over. What the log has is adopted, what the catalog has is published first.

    With a fence to put up or to take down, one commit does both, ratified by its slot in the log.
    Raises INVALID_ARGUMENT for another word, and where the log isn't the table's own,
    CONCURRENCY_ERROR when the table moves meanwhile,
    MIRROR_CONFLICT where the log has foreign versions.
    """
    if wanted not in AUTHORITIES:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"no authority {wanted!r}; use {', '.join(AUTHORITIES)}",
        )
    row = base.row
    log = publish.log_of(row, base.storage_options)
    if wanted != "log":
        check_own_log(row)
    if row.authority == "log":
        adopt(catalog.reader.url, row, log)
    else:
        tend.tend_now(catalog.reader.url, row, log)
    base = _read(catalog, base)
    check_own_fence(catalog, base.protocol, base.metadata)
    fence = wanted == "fence"
    authority = "sql" if fence else wanted
    if (base.row.authority, is_fenced(base.protocol)) == (authority, fence):
        return authority_of(catalog, base)
    if fence == is_fenced(base.protocol) and authority == "sql":
        hand_over(catalog, base.row, log, base.storage_options, fence=fence)
    elif fence != is_fenced(base.protocol):
        _commit(catalog, base, authority, fence=fence)
        base = _read(catalog, base)
        tend.tend_now(catalog.reader.url, base.row, log)
    else:
        _to_log(catalog, base)
    return authority_of(catalog, _read(catalog, base))


def _read(catalog: LightCatalog, base: Base) -> Base:
    return read_base(catalog, base.row.table_id, base.storage_options)


def _commit(catalog: LightCatalog, base: Base, authority: str, *, fence: bool) -> None:
    row = base.row
    token = str(uuid.uuid4())
    options = CommitOptions(token=token)
    protocol, metadata = (
        fenced(base.protocol, base.metadata, row, catalog.catalog_id, row.epoch + 1)
        if fence
        else unfenced(base.protocol, base.metadata)
    )
    parameters: Mapping[str, Any] = {"authority": authority, "fence": fence}
    staged = StagedTable(
        table=row,
        read_version=row.head_version,
        info=commit_info(OPERATION, parameters, {}, options, blind=False),
        protocol=protocol.action(),
        metadata=metadata_body(metadata),
        if_version=row.head_version,
        in_commit_timestamps=base.in_commit_timestamps,
        tracks_rows=base.tracks_rows,
        authority=authority,
        # The removal is the catalog's last word, and goes to the log after all it has said: who
        # dies in between leaves nothing in the log that the catalog doesn't know of.
        ratified=fence,
    )
    ratify(catalog, [staged], options, base.storage_options)


def _to_log(catalog: LightCatalog, base: Base) -> None:
    """Without a commit: only while the head stands where it was seen, all of it in the log."""
    row = base.row
    moved = Statement(
        "UPDATE dl_heads SET authority = 'log', epoch = epoch + 1 "
        "WHERE table_key = ? AND head_version = ? AND epoch = ?",
        (row.table_key, row.head_version, row.epoch),
        rows=1,
    )
    try:
        with writing(catalog.reader.url) as writer:
            writer.transact([moved])
    except WrongCountError:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONCURRENCY_ERROR,
            f"{row.full_name} was written to meanwhile; run this again",
            table=row.full_name,
        ) from None
