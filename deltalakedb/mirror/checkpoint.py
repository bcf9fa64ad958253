"""Checkpoints of published versions, streamed from the catalog; and the cleanup that they allow.

PROTOCOL.md, "Checkpoints", "Last Checkpoint File", "Version Checksum File", "Metadata Cleanup".
Made by whoever tends the log, under its lease: where two wrote at once, a hint could lead back.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import orjson

from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.reading.proof import compare_totals
from deltalakedb.catalog.reading.queries import Readable
from deltalakedb.catalog.records import TableRow, load_files_name
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.checkpoint_writer import (
    CheckpointState,
    CheckpointWriter,
    WrittenCheckpoint,
    sidecar_rows,
)
from deltalakedb.log.checksum import version_checksum
from deltalakedb.log.features import enabled
from deltalakedb.log.metadata import Metadata, protocol_of
from deltalakedb.log.paths import CheckpointFile, parse_log_name
from deltalakedb.log.table_properties import (
    DAY_MS,
    DELETED_FILE_RETENTION,
    EXPIRED_LOG_CLEANUP,
    LOG_RETENTION,
    duration_ms,
    switch,
)
from deltalakedb.mirror.publish import STAGED
from deltalakedb.mirror.sidecars import file_rows, referenced, sidecars_in, upon_earlier
from deltalakedb.replay.retention import (
    Cleanup,
    LogObject,
    cutoff,
    first_checkpoint_version,
    log_cleanup,
)
from deltalakedb.storage.output import give_up
from deltalakedb.storage.store import ObjectStore

LAST_CHECKPOINT = "_last_checkpoint"
_BODY = re.compile(rf"{STAGED}[0-9a-f-]{{36}}\.json")


def checkpoint(
    catalog: Readable,
    row: TableRow,
    log: ObjectStore,
    version: int,
    still_ours: Callable[[], None] = lambda: None,
) -> WrittenCheckpoint | None:
    """Write a checkpoint of a version that is in the log, its checksum, and the hint to it.

    `still_ours` raises where another tends the log by now; it is asked before the hint is moved.
    None where a table's protection leaves the version to others.
    """
    state = queries.state_at(catalog, row, version)
    protocol = protocol_of(state.protocol)
    metadata = Metadata.of(state.metadata)
    if version < first_checkpoint_version(protocol, metadata.configuration):
        return None
    txns = [
        {"appId": app, "version": found["version"], "lastUpdated": found["last_updated"]}
        for app, found in sorted(state.txns.items())
    ]
    domains = [
        {"domain": name, "configuration": text, "removed": False}
        for name, text in sorted(state.domains.items())
    ]
    now = time.time_ns() // 1_000_000
    num_files, size = queries.totals_at(catalog, row, version)

    opened: list[Any] = []

    def open_output(name: str) -> Any:
        opened.append(log.open_output(name, whole=True))
        return opened[-1]

    def writer() -> CheckpointWriter:
        return CheckpointWriter(
            open_output,
            CheckpointState(version, protocol, metadata, txns, domains),
            sidecar_rows=sidecar_rows(num_files),
            source=f"{row.table_id}/{row.live_load}",
            now=now,
        )

    kept = duration_ms(metadata.configuration, DELETED_FILE_RETENTION) or 0
    hint = _hint(log)
    written = kept_sidecars = None
    try:
        if isinstance(hint.get("v2Checkpoint"), dict):
            written, kept_sidecars = upon_earlier(
                catalog, row, log, writer, hint, version, now - kept, (num_files, size)
            )
        if written is None:
            _check_rows(catalog, row, version, (num_files, size))
            written = _whole(catalog, row, writer(), version, now - kept)
    finally:
        # A part of a checkpoint would be taken for one.
        for file in opened:
            give_up(file)
    new = [
        f"_sidecars/{each.name}"
        for each in written.sidecars or ()
        if each.name not in (kept_sidecars or ())
    ]
    log.sync([*new, written.name])
    _put_checksum(catalog, row, log, state, num_files, size, txns, domains)
    still_ours()
    if _hint(log).get("version", -1) <= version:
        log.put(LAST_CHECKPOINT, written.hint())
    return written


def checkpoint_now(
    database: DatabaseUrl,
    table: TableRow,
    log: ObjectStore,
    version: int,
    still_ours: Callable[[], None] = lambda: None,
    *,
    cleanup: bool = True,
) -> str | None:
    """Make a checkpoint of a published version and record it; its name."""
    with closing(LightCatalog(database)) as catalog:
        row = queries.find_table(catalog, table.table_id)
        # Restored meanwhile, the catalog may not know the version.
        known = version <= row.head_version
        written = checkpoint(catalog, row, log, version, still_ours) if known else None
        if written is None:
            return None
        with writing(database) as writer:
            writer.transact(
                [
                    Statement(
                        "UPDATE dl_mirror SET checkpoint_version = ?, "
                        f"checkpoint_at = {writer.now} WHERE table_key = ? "
                        "AND (checkpoint_version IS NULL OR checkpoint_version < ?)",
                        (version, table.table_key, version),
                    )
                ]
            )
        if cleanup:
            clean_up(catalog, row, log, keep_from=version)
        return written.name


def _check_rows(catalog: Readable, row: TableRow, version: int, totals: tuple[int, int]) -> None:
    """Rows that were lost or added without a commit don't get into the log."""
    [found] = catalog.reader.rows(
        f"SELECT count(*), coalesce(sum(size), 0) FROM {load_files_name(row.live_load)} "
        f"WHERE {queries.live_predicate(row, version)}"
    )
    compare_totals(row, version, totals, int(found[0]), int(found[1]))


def _whole(
    catalog: Readable, row: TableRow, writer: CheckpointWriter, version: int, oldest: int
) -> WrittenCheckpoint:
    # What is together in a partition often changes together: one sidecar then, and not all.
    order = " ORDER BY f.partition_id" if writer.v2 else ""
    for batch in file_rows(catalog, row, queries.live_predicate(row, version, "f") + order):
        writer.add_files(batch)
    for batch in file_rows(catalog, row, _tombstones(row, version, oldest)):
        writer.add_removes(batch)
    return writer.finish()


def _tombstones(row: TableRow, version: int, oldest: int) -> str:
    """Removed files, but for those that came back and lives before the last one."""
    files = load_files_name(row.live_load)
    return (
        f"f.removed_version <= {version} AND f.removed_at > {oldest} AND NOT EXISTS ("
        f"SELECT 1 FROM {files} g WHERE g.load_id = f.load_id AND g.path_key = f.path_key "
        "AND g.path = f.path AND coalesce(g.dv_id, '') = coalesce(f.dv_id, '') "
        f"AND g.added_version <= {version} AND g.removed_version > f.removed_version)"
    )


def _put_checksum(
    catalog: Readable,
    row: TableRow,
    log: ObjectStore,
    state: Any,
    num_files: int,
    size: int,
    txns: list[dict[str, Any]],
    domains: list[dict[str, Any]],
) -> None:
    metadata = Metadata.of(state.metadata)
    [(txn_id, in_commit_time)] = catalog.reader.rows(
        "SELECT txn_id, in_commit_time FROM dl_versions WHERE load_id = ? AND version = ?",
        (row.live_load, state.version),
    ) or [(None, None)]
    timed = enabled(metadata.configuration, "delta.enableInCommitTimestamps")
    body = version_checksum(
        protocol=protocol_of(state.protocol),
        metadata=metadata,
        num_files=num_files,
        table_size_bytes=size,
        txn_id=txn_id,
        in_commit_timestamp=in_commit_time if timed else None,
        txns=txns,
        domains=domains,
    )
    log.put_if_absent(f"{state.version:020d}.crc", body)


def _hint(log: ObjectStore) -> dict[str, Any]:
    """The hint to the last checkpoint; empty without one that can be read."""
    try:
        found = orjson.loads(log.read(LAST_CHECKPOINT))
        return found if isinstance(found, dict) and isinstance(found.get("version"), int) else {}
    except DeltaLakeError as error:
        if error.kind is not DeltaLakeErrorKind.NOT_FOUND:
            raise
    except ValueError:
        pass
    return {}


def clean_up(
    catalog: Readable, row: TableRow, log: ObjectStore, *, keep_from: int, force: bool = False
) -> list[str]:
    """Remove log entries that the table's properties have expired; their names.

    Where `delta.enableExpiredLogCleanup` is false nothing goes unless `force`. Sidecars go once no
    checkpoint that stays names them, bodies of long commits that aren't there after a day.
    """
    configuration = Metadata.of(
        queries.state_at(catalog, row, row.head_version, small=True).metadata
    ).configuration
    if not force and not switch(configuration, EXPIRED_LOG_CLEANUP, default=True):
        return []
    # What can be gone back to is kept, with the checkpoint or the commits that it stands on.
    [(pinned,)] = catalog.reader.rows(
        "SELECT min(version) FROM dl_rollback_points WHERE table_key = ? AND retired_at IS NULL",
        (row.table_key,),
    )
    if pinned is not None:
        keep_from = min(keep_from, int(pinned))
    retention = duration_ms(configuration, LOG_RETENTION) or 0
    now = time.time_ns() // 1_000_000
    listing = [LogObject(each.name, each.modified_ms) for each in log.list()]
    times = dict(
        catalog.reader.rows(
            "SELECT version, commit_time FROM dl_versions WHERE load_id = ?", (row.live_load,)
        )
    )

    def going(referenced: set[str] | None) -> Cleanup:
        return log_cleanup(
            listing,
            before=cutoff(now, retention),
            now=now,
            referenced_sidecars=referenced,
            keep_from=keep_from,
            commit_times=times,
        )

    found = going(None)
    if any(isinstance(parse_log_name(name), CheckpointFile) for name in found.names):
        gone = set(found.names)
        listing += sidecars_in(log)
        found = going(referenced(log, [o.name for o in listing if o.name not in gone]))
    names = [*found.names, *_abandoned_bodies(catalog, row, log, now)]
    log.delete(names)
    return names


def _abandoned_bodies(catalog: Readable, row: TableRow, log: ObjectStore, now: int) -> list[str]:
    """Bodies beside the log of commits that never came about: who made them was killed."""
    try:
        found = log.list(STAGED)
    except DeltaLakeError as error:
        if error.kind is not DeltaLakeErrorKind.NOT_FOUND:
            raise
        return []
    old = [e.name for e in found if _BODY.fullmatch(e.name) and e.modified_ms < now - DAY_MS]
    if not old:
        return []
    waiting = catalog.reader.rows(
        "SELECT staged_name FROM dl_outbox WHERE table_key = ? AND staged_name IS NOT NULL",
        (row.table_key,),
    )
    return sorted(set(old) - {name for (name,) in waiting})
