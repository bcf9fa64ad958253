"""Changes of rows, committed: made again where files changed under them.

docs/architecture.md, "Commit".
"""

from __future__ import annotations

from collections.abc import Callable

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit.staged import StagedTable
from deltalakedb.error import DeltaLakeError
from deltalakedb.table.operations.auto_compact import auto_compact
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.operation import Operation, Staged, run
from deltalakedb.table.operations.rewrite import Rewrite, RewriteOptions
from deltalakedb.table.transaction import WriteResult


def settle(
    catalog: LightCatalog,
    base: Base,
    options: RewriteOptions,
    make: Callable[[LightCatalog, Base], tuple[Rewrite, StagedTable]],
    *,
    again: bool = True,
) -> tuple[WriteResult, Rewrite]:
    """Commit what `make` finds to do at the newest version, and again where files changed under it.

    CONCURRENCY_ERROR where both changed the same rows of a file by vectors (rule concurrent_rows),
    and by the other rules of `commit.conflict`. `again`: whether `make` can be called again.
    """
    made: list[Rewrite] = []
    try:
        result = run(catalog, base, operation_of(make, made.append, again=again), options.commit)
    except DeltaLakeError as error:
        if error.outcome == "failed":
            for rewrite in made:
                rewrite.discard()
        raise
    if not result.repeated:
        made[-1].vectors.drop_superseded()
        auto_compact(catalog, base, result)
    return result, made[-1]


def operation_of(
    make: Callable[[LightCatalog, Base], tuple[Rewrite, StagedTable]],
    seen: Callable[[Rewrite], None] = lambda rewrite: None,
    *,
    again: bool = True,
) -> Operation:
    """The operation that `make` stages; on a newer version it is made again from its rows."""

    def stage(catalog: LightCatalog, base: Base) -> Staged:
        rewrite, table = make(catalog, base)
        seen(rewrite)
        written = tuple(rewrite.names)
        return Staged(table, written, (lambda newer: stage(catalog, newer)) if again else None)

    return stage
