"""From staged changes of 1..n tables to ratified, published versions."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

from deltalakedb import logs
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit import metrics as counted
from deltalakedb.commit.commit import commit, find_conflicts
from deltalakedb.commit.naming import NameChange
from deltalakedb.commit.staged import StagedCommit, StagedTable
from deltalakedb.commit.version import Committed
from deltalakedb.error import DeltaLakeError
from deltalakedb.mirror.committer import LogRatifier
from deltalakedb.table.operations.fence import check_own_head
from deltalakedb.table.operations.properties import CommitOptions

_log = logging.getLogger(__name__)
_PUTS = 16
"""Logs of one transaction that are put to at once."""
MAX_UNPUBLISHED = 2_000
"""Versions that may wait for the log before writers wait for it too."""


@dataclass(frozen=True)
class WriteResult:
    """What became of a write.

    `published` tells whether the version was in the log when the call returned, `repeated` that
    an earlier call with the same token or application version had made it. `metrics` have Spark's
    names. `lock_seconds` went by until the table's head was locked, `publish_seconds` between the
    COMMIT and the version being in the log, as far as the call has waited.
    """

    table: str
    version: int
    timestamp: int | None = None
    metrics: Mapping[str, int] = field(default_factory=dict)
    published: bool = True
    repeated: bool = False
    lock_seconds: float = field(default=0.0, compare=False, repr=False)
    publish_seconds: float = field(default=0.0, compare=False, repr=False)


def ratify(
    catalog: LightCatalog,
    staged: Sequence[StagedTable],
    options: CommitOptions,
    storage_options: Mapping[str, Any] | None,
    *,
    group_id: str | None = None,
    members: Sequence[str] = (),
    name_changes: Sequence[NameChange] = (),
) -> list[WriteResult]:
    """Commit to all tables or none, then publish. Errors are those of `commit.commit`.

    `members`: tokens of the calls whose appends are one commit here.
    """
    database = catalog.reader.url
    for table in staged:
        if table.table.authority == "log" and not table.makes_table:
            check_own_head(catalog, table.table)
    ratifier = LogRatifier(database, storage_options)
    whole = StagedCommit(
        tables=tuple(staged),
        isolation=options.isolation,
        token=options.token,
        members=tuple(members),
        group_id=group_id,
        catalog_id=catalog.catalog_id if group_id else "",
        name_changes=tuple(name_changes),
    )
    waited = counted.waited()
    try:
        done = commit(database, whole, ratifier, wait=options.wait, max_unpublished=MAX_UNPUBLISHED)
    except DeltaLakeError as error:
        counted.refused(error)
        raise
    counted.committed(sum(not each.repeated for each in done))
    if _log.isEnabledFor(logging.DEBUG):
        for each in done:
            row = each.table.table
            facts = {"table": row.full_name, "table_id": row.table_id, "version": each.version}
            logs.note(_log, logging.DEBUG, f"committed {each.version}", step="commit", **facts)
    seconds = counted.waited() - waited
    return _published(ratifier, done, options, seconds)


@dataclass(frozen=True)
class TransactionResult:
    """What became of a transaction: `tables` has a result for each table that was written.

    `group_id` names the group in the tables' logs, None for one table or none.
    """

    tables: tuple[WriteResult, ...] = ()
    group_id: str | None = None

    @property
    def versions(self) -> dict[str, int]:
        """The version that each table got, by its name."""
        return {each.table: each.version for each in self.tables}

    @property
    def repeated(self) -> bool:
        """Whether an earlier call with the same token has committed this."""
        return any(each.repeated for each in self.tables)


def ratify_group(
    catalog: LightCatalog,
    staged: Sequence[StagedTable],
    options: CommitOptions,
    storage_options: Mapping[str, Any] | None,
    name_changes: Sequence[NameChange] = (),
) -> TransactionResult:
    """Commit a transaction; tables that are only read (empty ones) are held against others."""
    writes = [table for table in staged if not table.is_empty]
    if not writes and not name_changes:
        return TransactionResult()
    group_id = str(uuid.uuid4()) if len(writes) > 1 else None
    found = ratify(
        catalog, staged, options, storage_options, group_id=group_id, name_changes=name_changes
    )
    return TransactionResult(tuple(found), group_id)


def conflicts(
    catalog: LightCatalog,
    staged: Sequence[StagedTable],
    options: CommitOptions,
    storage_options: Mapping[str, Any] | None,
    name_changes: Sequence[NameChange] = (),
) -> list[DeltaLakeError]:
    """What would be in the way of committing now."""
    if not staged:
        return []
    database = catalog.reader.url
    ratifier = LogRatifier(database, storage_options)
    whole = StagedCommit(
        tables=tuple(staged),
        isolation=options.isolation,
        token=options.token,
        name_changes=tuple(name_changes),
    )
    return find_conflicts(
        database, whole, ratifier, wait=options.wait, max_unpublished=MAX_UNPUBLISHED
    )


def _published(
    ratifier: LogRatifier, done: Sequence[Committed], options: CommitOptions, lock_seconds: float
) -> list[WriteResult]:
    """What is wrong with one table's log keeps no other from being published.

    Logs that are a network away are put to at once, local ones back to back.
    """

    def attempt(each: Committed) -> WriteResult | DeltaLakeError:
        try:
            return publish(ratifier, each, options, lock_seconds)
        except DeltaLakeError as error:
            return error

    if len(done) > 1 and any(ratifier.is_far(each.table.table) for each in done):
        with ThreadPoolExecutor(min(len(done), _PUTS)) as puts:
            begun = [puts.submit(copy_context().run, attempt, each) for each in done]
            found = [each.result() for each in begun]
    else:
        found = [attempt(each) for each in done]
    results = [each for each in found if isinstance(each, WriteResult)]
    if len(results) < len(found):
        raise next(each for each in found if isinstance(each, DeltaLakeError))
    return results


def publish(
    ratifier: LogRatifier, done: Committed, options: CommitOptions, lock_seconds: float = 0.0
) -> WriteResult:
    """Wait until a version is in the log, as the options say."""
    began = time.perf_counter()
    wait = options.publish_wait if options.mirror == "published" else 0.0
    if wait:
        published = ratifier.publish(done, wait=wait, hooks=options.hooks)
    else:
        published = ratifier.leave(done, hooks=options.hooks)
    seconds = time.perf_counter() - began
    counted.published(seconds, ready=published)
    metrics = {name: int(value) for name, value in done.table.info.metrics.items()}
    return WriteResult(
        done.table.table.full_name,
        done.version,
        done.timestamp or None,
        metrics if not done.repeated else {},
        published,
        done.repeated,
        lock_seconds=lock_seconds,
        publish_seconds=seconds,
    )
