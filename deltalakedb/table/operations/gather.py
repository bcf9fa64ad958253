"""Group commit: blind appends that wait for one table become one version of it.

Versions go to a log one after the other, so where a put takes 30 ms there are 33 of them a second,
whatever the database does. With the table property `deltalakedb.groupCommit` the appends that come
while a commit is under way are committed together next: those of this process, which wait here, and
those of others (`across`). Each caller gets the version, under its own token; all `txn` actions are
kept.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field, replace

from deltalakedb import fork
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit.staged import StagedTable
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.features import enabled
from deltalakedb.table.operations import across
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.joint import Append
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.transaction import WriteResult

PROPERTY = "deltalakedb.groupCommit"
_MOST = 500
"""Appends in one version."""


@dataclass(eq=False)
class _Gate:
    """Of one table: who waits, and whether somebody commits."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    waiting: list[Append] = field(default_factory=list)
    is_busy: bool = False


_gates: dict[tuple[int, DatabaseUrl, int], _Gate] = {}
_lock = fork.Lock()


def may_gather(base: Base, staged: StagedTable, options: CommitOptions) -> bool:
    """Whether an append may share a version: it has nothing to say of its own about it."""
    alone = (
        staged.metadata
        or staged.protocol
        or staged.domains
        or staged.others
        or staged.guards
        or staged.changes
        or staged.identity_marks
        or staged.info.extra
        or staged.info.user_metadata
        or options.if_version is not None
    )
    return (
        enabled(base.metadata.configuration, PROPERTY)
        and base.row.authority == "sql"
        and staged.is_blind_append
        and not alone
    )


def gathered(
    catalog: LightCatalog, base: Base, staged: StagedTable, options: CommitOptions
) -> WriteResult:
    """Commit an append, together with those that wait beside it. Errors are of this one alone."""
    mine = Append(catalog, base, staged, options)
    key = (os.getpid(), catalog.reader.url, base.row.table_key)
    with _lock:
        gate = _gates.setdefault(key, _Gate())
    with gate.changed:
        gate.waiting.append(mine)
    while True:
        with gate.changed:
            gate.changed.wait_for(lambda: mine.outcome is not None or not gate.is_busy)
            if mine.outcome is not None:
                break
            gate.is_busy = True
            some = _taken(gate.waiting)
        try:
            across.commit(some)
        finally:
            for each in some:
                each.outcome = each.outcome or _interrupted(each)
            with gate.changed:
                gate.is_busy = False
                gate.changed.notify_all()
    if isinstance(mine.outcome, DeltaLakeError):
        raise mine.outcome
    return mine.outcome


def _taken(waiting: list[Append]) -> list[Append]:
    """Those that fit with the one that waits longest; the others go on waiting."""
    first = waiting[0]
    taken: list[Append] = []
    apps: set[str] = set()
    tokens: set[str] = set()
    for each in list(waiting):
        mine = {str(txn["appId"]) for txn in each.staged.txns}
        if mine & apps or each.options.token in tokens or not _fits(first, each):
            continue
        taken.append(each)
        waiting.remove(each)
        apps |= mine
        tokens.add(each.options.token)
        if len(taken) == _MOST:
            break
    return taken


def _fits(first: Append, each: Append) -> bool:
    one, other = first.base, each.base
    return (
        (one.row.location, one.row.epoch) == (other.row.location, other.row.epoch)
        and one.storage_options == other.storage_options
        and replace(first.options, properties=each.options.properties, token=each.options.token)
        == each.options
    )


def _interrupted(each: Append) -> DeltaLakeError:
    return DeltaLakeError(
        DeltaLakeErrorKind.COMMIT_UNKNOWN,
        "the thread that committed this append with its own was interrupted; run the same write "
        f"with token={each.options.token!r}: it finds what became of it",
        token=each.options.token,
    )
