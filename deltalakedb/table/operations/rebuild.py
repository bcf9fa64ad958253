"""A lost log, written anew from the catalog.

What a log needs is a checkpoint and the commits after it (PROTOCOL.md, "Checkpoints"). The exact
bytes of a commit are in the catalog only until they are durable in the log; older ones aren't made
up, for the history would claim files that nobody wrote. The versions stay readable in the catalog.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import xxhash

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.records import TableRow
from deltalakedb.commit.staged import StagedTable
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit_writer import metadata_body
from deltalakedb.log.paths import CommitFile, parse_log_name
from deltalakedb.log.reader import read_listing
from deltalakedb.log.segment import latest_segment
from deltalakedb.mirror import checkpoint, publish, tend
from deltalakedb.mirror.lease import LEASE_SECONDS, Lease, acquire, extended, lease_name, release
from deltalakedb.storage.store import ObjectStore
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.operations.provenance import commit_info
from deltalakedb.table.transaction import ratify

_LOST = frozenset(
    {
        DeltaLakeErrorKind.NOT_FOUND,
        DeltaLakeErrorKind.NOT_A_DELTA_TABLE,
        DeltaLakeErrorKind.EMPTY_LOG,
        DeltaLakeErrorKind.MISSING_COMMIT,
        DeltaLakeErrorKind.CORRUPT_CHECKPOINT,
    }
)
_PATIENCE_SECONDS = 2.0 * LEASE_SECONDS


@dataclass(frozen=True)
class RebuiltLog:
    """`checkpoint_version`: from where the new log is; `version`: the commit that says so, under
    which the state is that of the version before."""

    table: str
    checkpoint_version: int
    version: int


def rebuild_log(
    catalog: LightCatalog, reference: str, storage_options: Mapping[str, Any] | None
) -> RebuiltLog:
    """Write a table's log anew where nobody can read it: a checkpoint, the commits that wait, one
    that records it, and a checkpoint of that.

    File-based readers read every version from the checkpoint on. What writers have put there since
    it was lost stays. Raises INVALID_ARGUMENT where a whole log is there, or the table's checkpoint
    protection forbids it, LOG_DISAGREES for commits that aren't the catalog's, CONCURRENCY_ERROR
    while another process tends the log.
    """
    base = Base.named(catalog, reference, storage_options)
    row = base.row
    log = publish.log_of(row, storage_options)
    _check_lost(catalog, log, row)
    version = _newest_durable(catalog, row)
    _checkpoint(catalog, row, log, version)
    tend.tend_now(catalog.reader.url, row, log)
    base = Base.named(catalog, reference, storage_options)
    options = CommitOptions()
    parameters = {"checkpointVersion": version}
    [done] = ratify(
        catalog,
        [
            StagedTable(
                table=base.row,
                read_version=base.row.head_version,
                info=commit_info("REBUILD LOG", parameters, {}, options, blind=False),
                metadata=metadata_body(base.metadata),
                if_version=base.row.head_version,
                in_commit_timestamps=base.in_commit_timestamps,
                tracks_rows=base.tracks_rows,
            )
        ],
        options,
        storage_options,
    )
    tend.tend_now(catalog.reader.url, row, log)
    _checkpoint(catalog, row, log, done.version)
    return RebuiltLog(row.full_name, version, done.version)


def what_is_lost(catalog: LightCatalog | Catalog, row: TableRow, log: ObjectStore) -> str | None:
    """What a log that the catalog has made lacks, so that nobody can read it; None for nothing.

    What isn't durable there yet doesn't count: publishing puts it there again.
    """
    [(durable,)] = catalog.reader.rows(
        "SELECT durable_version FROM dl_mirror WHERE table_key = ?", (row.table_key,)
    ) or [(-1,)]
    if int(durable) < 0:
        return None
    try:
        found = read_listing(log)
        found = replace(found, commits=tuple(c for c in found.commits if c.version <= durable))
        reaches = latest_segment(found).head if found.commits or found.checkpoints else -1
    except DeltaLakeError as error:
        if error.kind not in _LOST:
            raise
        return error.message
    if reaches < int(durable):
        ends = f"it ends at version {reaches}" if reaches >= 0 else "no version is left"
        return f"{ends}, and {durable} was in it"
    return None


def check_there(catalog: LightCatalog | Catalog, row: TableRow, log: ObjectStore) -> None:
    """INVALID_LOG where a log that the catalog has made lacks what nobody can read it without."""
    if row.authority == "log":
        return
    lost = what_is_lost(catalog, row, log)
    if lost is not None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_LOG,
            f"the log of {row.full_name} is lost, or a part of it ({lost}); the catalog has all "
            f"that it had: `dl mirror rebuild {row.full_name}` writes it anew",
            table=row.full_name,
        )


def _check_lost(catalog: LightCatalog, log: ObjectStore, row: TableRow) -> None:
    """What a lost log has left has to be the catalog's."""
    if what_is_lost(catalog, row, log) is None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{row.full_name} has a log: {log.describe()}; only one that is lost is written anew "
            "(`dl mirror drain` publishes what it lacks, `dl diff` compares)",
            table=row.full_name,
        )
    for version in _left(log):
        name = publish.commit_name(version)
        known = catalog.reader.rows(
            "SELECT log_digest FROM dl_versions WHERE load_id = ? AND version = ?",
            (row.live_load, version),
        )
        if not known or known[0][0] != xxhash.xxh3_128_hexdigest(log.read(name)):
            raise DeltaLakeError(
                DeltaLakeErrorKind.LOG_DISAGREES,
                f"{log.describe(name)} isn't version {version} of {row.full_name} in the catalog; "
                "move it away, and what else others have put there, then run this again",
                table=row.full_name,
                version=version,
            )


def _left(log: ObjectStore) -> list[int]:
    try:
        names = [parse_log_name(found.name) for found in log.list()]
    except DeltaLakeError as error:
        if error.kind is not DeltaLakeErrorKind.NOT_FOUND:
            raise
        return []
    return sorted(name.version for name in names if isinstance(name, CommitFile))


def _newest_durable(catalog: LightCatalog, row: TableRow) -> int:
    """The newest version whose commit the catalog no longer has, if it can be read there."""
    [(first,)] = catalog.reader.rows(
        "SELECT min(version) FROM dl_outbox WHERE table_key = ?", (row.table_key,)
    )
    if first is None or int(first) - 1 < row.known_since:
        return row.head_version
    return int(first) - 1


def _lease(catalog: LightCatalog, row: TableRow) -> Lease:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        # This process tends it too, once it has written.
        tend.forget(catalog.reader.url, row)
        with writing(catalog.reader.url) as writer:
            lease = acquire(writer, lease_name(row))
        if lease is not None:
            return lease
        if time.monotonic() > deadline:
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONCURRENCY_ERROR,
                f"another process tends the log of {row.full_name}; stop its writers and run this "
                "again",
                table=row.full_name,
            )
        time.sleep(0.1)


def _checkpoint(catalog: LightCatalog, row: TableRow, log: ObjectStore, version: int) -> None:
    database = catalog.reader.url
    lease = _lease(catalog, row)

    def still_ours() -> None:
        with writing(database) as writer:
            writer.transact([extended(writer, lease)])

    try:
        name = checkpoint.checkpoint_now(database, row, log, version, still_ours, cleanup=False)
        # What the lost log had is no promise of the new one's.
        with writing(database) as writer:
            writer.transact(
                [
                    extended(writer, lease),
                    Statement(
                        "UPDATE dl_mirror SET checkpoint_version = ? WHERE table_key = ?",
                        (version, row.table_key),
                    ),
                ]
            )
    finally:
        with writing(database) as writer:
            release(writer, lease)
    if name is None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"the checkpoint protection of {row.full_name} forbids a checkpoint of version "
            f"{version}; drop that feature first",
            table=row.full_name,
        )
