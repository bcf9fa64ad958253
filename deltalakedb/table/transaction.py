"""From staged changes of 1..n tables to ratified, published versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit.commit import commit
from deltalakedb.commit.staged import StagedCommit, StagedTable
from deltalakedb.commit.version import Committed
from deltalakedb.mirror.committer import LogRatifier
from deltalakedb.table.operations.properties import CommitOptions

MAX_UNPUBLISHED = 2_000
"""Versions that may wait for the log before writers wait for it too."""


@dataclass(frozen=True)
class WriteResult:
    """What became of a write.

    `published` tells whether the version was in the log when the call returned, `repeated` that
    an earlier call with the same token or application version had made it. `metrics` have Spark's
    names.
    """

    table: str
    version: int
    timestamp: int | None = None
    metrics: Mapping[str, int] = field(default_factory=dict)
    published: bool = True
    repeated: bool = False


def ratify(
    catalog: LightCatalog,
    staged: Sequence[StagedTable],
    options: CommitOptions,
    storage_options: Mapping[str, Any] | None,
    *,
    group_id: str | None = None,
) -> list[WriteResult]:
    """Commit to all tables or none, then publish. Errors are those of `commit.commit`."""
    database = catalog.reader.url
    ratifier = LogRatifier(database, storage_options)
    whole = StagedCommit(
        tables=tuple(staged),
        isolation=options.isolation,
        token=options.token,
        group_id=group_id,
        catalog_id=catalog.catalog_id if group_id else "",
    )
    done = commit(database, whole, ratifier, wait=options.wait, max_unpublished=MAX_UNPUBLISHED)
    return [publish(ratifier, each, options) for each in done]


def publish(ratifier: LogRatifier, done: Committed, options: CommitOptions) -> WriteResult:
    """Wait until a version is in the log, as the options say."""
    wait = options.publish_wait if options.mirror == "published" else 0.0
    if wait:
        published = ratifier.publish(done, wait=wait, hooks=options.hooks)
    else:
        published = ratifier.leave(done, hooks=options.hooks)
    metrics = {name: int(value) for name, value in done.table.info.metrics.items()}
    return WriteResult(
        done.table.table.full_name,
        done.version,
        done.timestamp or None,
        metrics if not done.repeated else {},
        published,
        done.repeated,
    )
