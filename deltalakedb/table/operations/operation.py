"""An operation: its actions staged against a table, and committed alone or with others.

What an operation does ends with staged actions. Whether they become a commit of their own
(`run`) or a part of a transaction's is not its business.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit.staged import StagedTable
from deltalakedb.error import DeltaLakeError
from deltalakedb.table.operations.base import Base, Enlist
from deltalakedb.table.operations.gather import gathered, may_gather
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.operations.registration import Registration
from deltalakedb.table.transaction import WriteResult, ratify

_CHOSEN_ANEW = ("concurrent_append", "concurrent_delete_read", "concurrent_delete_delete")
"""Rules whose conflicts are gone once the files to remove are chosen from the newest version."""


@dataclass(frozen=True)
class Staged:
    """What an operation does to a table, its files written.

    `written`: names of the objects that it put into the table's data store, which nobody needs if
    it doesn't commit. `again` stages the same on a newer version with the same metadata, writing
    only what that takes; None where it can't be. `registration` holds them against vacuum.
    """

    table: StagedTable
    written: tuple[str, ...] = ()
    again: Callable[[Base], Staged] | None = None
    registration: Registration | None = None


Operation = Callable[[LightCatalog, Base], Staged]
"""Stages on a base: the table as the operation sees it, with what its transaction did before."""


def run(
    catalog: LightCatalog,
    base: Base,
    operation: Operation,
    options: CommitOptions,
    *,
    began: float | None = None,
) -> WriteResult:
    """Stage an operation and commit it alone; staged again where others were in its way.

    `began`: by `time.monotonic()`, when the first of its files was not yet begun, where that was
    before the call. Nothing is committed where it does nothing. On a transaction's base it is
    enlisted, and the version of the result is the one it was based on. Raises what the operation
    and `commit.commit` do.
    """
    left = options.retries
    began = time.monotonic() if began is None else began
    staged = operation(catalog, base)
    try:
        return _run(catalog, base, staged, options, left, began)
    finally:
        if staged.registration is not None:
            staged.registration.close()


def _run(
    catalog: LightCatalog,
    base: Base,
    staged: Staged,
    options: CommitOptions,
    left: int,
    began: float,
) -> WriteResult:
    written, newest = set(staged.written), base
    if base.enlist is not None:
        # Also one that found nothing to do: what it looked for counts as read.
        return _enlisted(base, base.enlist, staged, options, began)
    try:
        while True:
            if staged.table.is_empty:
                # Others may have done all of it meanwhile.
                result = WriteResult(base.row.full_name, newest.row.head_version)
                break
            _sync(base, staged, options)
            try:
                result = _ratified(catalog, base, staged.table.but(began=began), options)
                break
            except DeltaLakeError as error:
                newer = _newer(catalog, base, error, options) if left > 0 else None
                if newer is None or staged.again is None:
                    raise
                left -= 1
                newest, staged = newer, staged.again(newer)
                written |= set(staged.written)
    except DeltaLakeError as error:
        if error.outcome == "failed":
            base.data.discard(sorted(written))
        raise
    # Of a repeated call an earlier one's files are the table's, these are nobody's.
    unused = written if result.repeated else written - set(staged.written)
    if unused:
        base.data.discard(sorted(unused))
    return result


def _sync(base: Base, staged: Staged, options: CommitOptions) -> None:
    """Have the files survive a power failure before the commit does, where that is asked for."""
    if staged.written and options.is_synced(base.metadata.configuration):
        base.data.sync(staged.written)


def _ratified(
    catalog: LightCatalog, base: Base, table: StagedTable, options: CommitOptions
) -> WriteResult:
    if may_gather(base, table, options):
        return gathered(catalog, base, table, options)
    [result] = ratify(catalog, [table], options, base.storage_options)
    return result


def _enlisted(
    base: Base, enlist: Enlist, staged: Staged, options: CommitOptions, began: float
) -> WriteResult:
    try:
        _sync(base, staged, options)
        enlist(staged.table.but(began=began), staged.written)
    except BaseException:
        base.data.discard(staged.written)
        raise
    metrics = {name: int(value) for name, value in staged.table.info.metrics.items()}
    row = base.row
    return WriteResult(row.full_name, row.head_version, metrics=metrics, published=False)


def _newer(
    catalog: LightCatalog, base: Base, error: DeltaLakeError, options: CommitOptions
) -> Base | None:
    """The table's newest version, where the operation may be staged again on it."""
    if error.facts.get("rule") not in _CHOSEN_ANEW or options.if_version is not None:
        return None
    row = base.row
    found = Base.read(catalog, row.namespace, row.name, base.storage_options)
    if found is None or found.metadata != base.metadata:
        return None
    return found
