"""Several blind appends of this process as one commit, and each alone where that can't be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit.staged import StagedTable
from deltalakedb.error import DeltaLakeError
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.compose import earliest
from deltalakedb.table.operations.properties import CommitOptions, new_token
from deltalakedb.table.transaction import WriteResult, ratify


@dataclass(eq=False)
class Append:
    """An append, and what became of it."""

    catalog: LightCatalog
    base: Base
    staged: StagedTable
    options: CommitOptions
    outcome: WriteResult | DeltaLakeError | None = None

    def done(self, result: WriteResult) -> None:
        """It is in a commit that has others' rows too."""
        metrics = {name: int(value) for name, value in self.staged.info.metrics.items()}
        self.outcome = replace(result, metrics=metrics)

    def failed(self, error: DeltaLakeError) -> None:
        """What became of the commit that it was part of isn't known, or it is there with a flaw."""
        facts = {**error.facts, "token": self.options.token}
        self.outcome = DeltaLakeError(error.kind, error.message, outcome=error.outcome, **facts)


def commit_here(some: Sequence[Append]) -> None:
    """Commit appends together, or each alone where one of them is in the way."""
    if len(some) == 1:
        _alone(some[0])
        return
    try:
        result = commit_joined(some, joined([each.staged for each in some]), tokens(some))
    except DeltaLakeError as error:
        for each in some:
            if error.outcome == "failed":
                # The fault of one of them, or a repeated call among them.
                _alone(each)
            else:
                each.failed(error)
        return
    for each in some:
        each.done(result)


def commit_joined(
    some: Sequence[Append],
    staged: StagedTable,
    members: Sequence[str],
    takes: tuple[Statement, ...] = (),
) -> WriteResult:
    """Commit what was joined, with the options that `some` have in common."""
    first = some[0]
    options = replace(first.options, token=new_token())
    staged = replace(staged, info=replace(staged.info, txn_id=options.token), takes=takes)
    [result] = ratify(first.catalog, [staged], options, first.base.storage_options, members=members)
    return result


def joined(parts: Sequence[StagedTable]) -> StagedTable:
    """One commit with the files and `txn` actions of all, based on the oldest version read."""
    if len(parts) == 1:
        return parts[0]
    first = min(parts, key=lambda staged: staged.read_version)
    metrics: dict[str, int | str] = {}
    for each in parts:
        for name, value in each.info.metrics.items():
            metrics[name] = int(metrics.get(name, 0)) + int(value)
    return replace(
        first,
        info=replace(first.info, metrics=metrics),
        added=pa.concat_tables([each.adds for each in parts]),
        txns=tuple(txn for each in parts for txn in each.txns),
        began=earliest(parts),
    )


def tokens(some: Sequence[Append]) -> tuple[str, ...]:
    """By which each call is known."""
    return tuple(each.options.token for each in some)


def _alone(each: Append) -> None:
    try:
        [each.outcome] = ratify(
            each.catalog, [each.staged], each.options, each.base.storage_options
        )
    except DeltaLakeError as error:
        each.outcome = error
