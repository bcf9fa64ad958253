"""Group commit: blind appends that wait for one table become one version of it.

Versions go to a log one after the other, so where a put takes 30 ms there are 33 of them a second,
whatever the database does. With the table property `deltalakedb.groupCommit` the appends of a
process that come while a commit is under way are committed together next. Each caller gets the
version, under its own token; all `txn` actions are kept.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from deltalakedb import fork
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit.staged import StagedTable
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.features import enabled
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.compose import earliest
from deltalakedb.table.operations.properties import CommitOptions, new_token
from deltalakedb.table.transaction import WriteResult, ratify

PROPERTY = "deltalakedb.groupCommit"
_MOST = 500
"""Appends in one version."""


@dataclass(eq=False)
class _Append:
    """An append, and what became of it."""

    catalog: LightCatalog
    base: Base
    staged: StagedTable
    options: CommitOptions
    outcome: WriteResult | DeltaLakeError | None = None


@dataclass(eq=False)
class _Gate:
    """Of one table: who waits, and whether somebody commits."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    waiting: list[_Append] = field(default_factory=list)
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
    mine = _Append(catalog, base, staged, options)
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
            _commit(some)
        finally:
            for each in some:
                each.outcome = each.outcome or _interrupted(each)
            with gate.changed:
                gate.is_busy = False
                gate.changed.notify_all()
    if isinstance(mine.outcome, DeltaLakeError):
        raise mine.outcome
    return mine.outcome


def _taken(waiting: list[_Append]) -> list[_Append]:
    """Those that fit with the one that waits longest; the others go on waiting."""
    first = waiting[0]
    taken: list[_Append] = []
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


def _fits(first: _Append, each: _Append) -> bool:
    one, other = first.base, each.base
    return (
        (one.row.location, one.row.epoch) == (other.row.location, other.row.epoch)
        and one.storage_options == other.storage_options
        and replace(first.options, properties=each.options.properties, token=each.options.token)
        == each.options
    )


def _commit(some: Sequence[_Append]) -> None:
    if len(some) == 1:
        _alone(some[0])
        return
    first = min(some, key=lambda each: each.staged.read_version)
    options = replace(first.options, token=new_token())
    try:
        [result] = ratify(
            first.catalog,
            [_joined(first, some, options)],
            options,
            first.base.storage_options,
            members=[each.options.token for each in some],
        )
    except DeltaLakeError as error:
        for each in some:
            if error.outcome == "failed":
                # The fault of one of them, or a repeated call among them.
                _alone(each)
            else:
                facts = {**error.facts, "token": each.options.token}
                each.outcome = DeltaLakeError(
                    error.kind, error.message, outcome=error.outcome, **facts
                )
        return
    for each in some:
        metrics = {name: int(value) for name, value in each.staged.info.metrics.items()}
        each.outcome = replace(result, metrics=metrics)


def _joined(first: _Append, some: Sequence[_Append], options: CommitOptions) -> StagedTable:
    """One commit with the files and `txn` actions of all, based on the oldest version read."""
    metrics: dict[str, int | str] = {}
    for each in some:
        for name, value in each.staged.info.metrics.items():
            metrics[name] = int(metrics.get(name, 0)) + int(value)
    return replace(
        first.staged,
        info=replace(first.staged.info, metrics=metrics, txn_id=options.token),
        added=pa.concat_tables([each.staged.adds for each in some]),
        txns=tuple(txn for each in some for txn in each.staged.txns),
        began=earliest([each.staged for each in some]),
    )


def _alone(each: _Append) -> None:
    try:
        [each.outcome] = ratify(
            each.catalog, [each.staged], each.options, each.base.storage_options
        )
    except DeltaLakeError as error:
        each.outcome = error


def _interrupted(each: _Append) -> DeltaLakeError:
    return DeltaLakeError(
        DeltaLakeErrorKind.COMMIT_UNKNOWN,
        "the thread that committed this append with its own was interrupted; run the same write "
        f"with token={each.options.token!r}: it finds what became of it",
        token=each.options.token,
    )
