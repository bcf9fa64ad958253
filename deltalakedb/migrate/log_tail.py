"""Protocol and metadata at the end of a log, from the log alone and few of its bytes."""

from __future__ import annotations

from typing import Any

import orjson

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.metadata import Metadata
from deltalakedb.log.protocol import Protocol
from deltalakedb.log.reader import plan_ranges, read_listing, read_ranges
from deltalakedb.log.segment import latest_segment
from deltalakedb.migrate.slot import Tail
from deltalakedb.mirror.publish import commit_name
from deltalakedb.storage.store import ObjectStore
from deltalakedb.table.operations.fence import said_by


def tail_of_log(log: ObjectStore) -> Tail:
    """Read backwards until both are known: commits, their checksums, at last the checkpoint.

    Raises EMPTY_LOG, CORRUPT_CHECKPOINT, MISSING_COMMIT, INVALID_LOG where neither is said.
    """
    listing = read_listing(log)
    names = {each.name for each in log.list("0")}
    protocol: Protocol | None = None
    metadata: Metadata | None = None
    stamp: int | None = None
    for version in range(listing.head, -1, -1):
        if commit_name(version) not in names:
            break
        said = said_by(log.read(commit_name(version)))
        if version == listing.head:
            stamp = said.in_commit_timestamp
        protocol, metadata = protocol or said.protocol, metadata or said.metadata
        if protocol is None or metadata is None:
            checksum = _checksum(log, names, version)
            protocol = protocol or checksum[0]
            metadata = metadata or checksum[1]
        if protocol is not None and metadata is not None:
            return Tail(listing.head, protocol, metadata, stamp)
    return _from_checkpoint(log, listing.head, protocol, metadata, stamp)


def _checksum(
    log: ObjectStore, names: set[str], version: int
) -> tuple[Protocol | None, Metadata | None]:
    """What a version's `.crc` says, which any engine may have written or not."""
    name = f"{version:020d}.crc"
    if name not in names:
        return None, None
    try:
        found: dict[str, Any] = orjson.loads(log.read(name))
        return Protocol.from_action(found["protocol"]), Metadata.from_action(found["metadata"])
    except (ValueError, KeyError, TypeError, DeltaLakeError):
        # Advisory: what it says wrongly is said by the commits.
        return None, None


def _from_checkpoint(
    log: ObjectStore,
    head: int,
    protocol: Protocol | None,
    metadata: Metadata | None,
    stamp: int | None,
) -> Tail:
    ranges = plan_ranges(log, latest_segment(read_listing(log)))
    for rows in read_ranges(log, ranges):
        for change in rows.state:
            if change.action == "protocol" and protocol is None:
                protocol = Protocol.from_action(change.body)
            elif change.action == "metaData" and metadata is None:
                metadata = Metadata.from_action(change.body)
        if protocol is not None and metadata is not None:
            return Tail(head, protocol, metadata, stamp)
    raise DeltaLakeError(
        DeltaLakeErrorKind.INVALID_LOG,
        f"{log.describe()} says nothing of the table's protocol or metadata; restore it from a "
        "backup",
    )
