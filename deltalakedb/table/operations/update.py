"""UPDATE: rows that satisfy a predicate get new values."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit.staged import StagedTable
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.predicate.row_filter import row_filter
from deltalakedb.predicate.tree import Expr
from deltalakedb.table.operations.assign import Assignments
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.delete import reads, since, told
from deltalakedb.table.operations.rewrite import Rewrite, RewriteOptions
from deltalakedb.table.operations.settle import settle
from deltalakedb.table.operations.spread import spread
from deltalakedb.write.constraints import refuse_setting_identity
from deltalakedb.write.input import slices


def update(
    catalog: LightCatalog,
    base: Base,
    updates: Mapping[str, str] | None,
    new_values: Any,
    predicate: Any,
    options: RewriteOptions,
) -> dict[str, Any]:
    """Set columns, by Spark SQL (`updates`) or values, where `predicate` is TRUE; None: everywhere.

    New rows meet the table's constraints; generated columns that aren't set follow the others.
    In place of `new_values` the predicate may stand. Returns metrics by delta-rs's names. Raises as
    `delete.delete`, CONSTRAINT_VIOLATION, SCHEMA_MISMATCH for a value that its column can't hold.
    """
    if updates is not None and predicate is None and not isinstance(new_values, Mapping):
        new_values, predicate = None, new_values
    if (updates is None) == (new_values is None) or not (updates or new_values):
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            "give what to set: updates (SQL expressions by column), or new_values",
        )
    started = time.monotonic()

    def make(catalog: LightCatalog, base: Base) -> tuple[Rewrite, StagedTable]:
        base.check_may_write(removes=True)
        assignments = _assignments(updates, new_values, base)
        refuse_setting_identity(base.struct, assignments.names)
        parsed = base.parsed(predicate)
        began = time.monotonic()
        with Rewrite(base, base.planned(catalog, parsed), options) as rewrite:
            work = partial(_set, assignments, parsed)
            if rewrite.client is not None:
                spread(rewrite, rewrite.files, rewrite.client, work)
            else:
                work(rewrite)
            rewrite.counts.scan_ms = since(began)
            staged = rewrite.staged(
                "UPDATE", {"predicate": told(predicate, parsed)}, reads(parsed), _metrics(started)
            )
        return rewrite, staged

    result, rewrite = settle(catalog, base, options, make)
    metrics = result.metrics
    return {
        "num_added_files": metrics.get("numAddedFiles", 0),
        "num_removed_files": metrics.get("numRemovedFiles", 0),
        "num_updated_rows": rewrite.counts.deleted,
        "num_copied_rows": rewrite.counts.copied,
        "num_deletion_vectors_added": metrics.get("numDeletionVectorsAdded", 0),
        "execution_time_ms": since(started),
        "scan_time_ms": rewrite.counts.scan_ms,
        "version": result.version,
    }


def _assignments(
    updates: Mapping[str, str] | None, new_values: Mapping[str, Any] | None, base: Base
) -> Assignments:
    if updates is not None:
        return Assignments.of_sql(updates, base.struct)
    return Assignments.of_values(new_values or {}, base.struct)


def _set(assignments: Assignments, predicate: Expr | None, rewrite: Rewrite) -> None:
    """Rows of the rewrite's files for which the predicate is TRUE become others."""
    for path, batch in rewrite.indexed_rows(rewrite.spec(row_filter(predicate))):
        last = batch.num_columns - 1
        rewrite.removes_rows(path, batch.column(last).to_numpy())
        for old in slices(batch.remove_column(last)):
            rewrite.tells(old, "update_preimage")
            new = rewrite.inserts(assignments.applied(old), assignments.names, updated=True)
            rewrite.tells(new, "update_postimage")


def _metrics(started: float) -> Callable[[Rewrite], dict[str, int]]:
    def metrics(rewrite: Rewrite) -> dict[str, int]:
        counts = rewrite.counts
        return {
            "numUpdatedRows": counts.deleted or 0,
            "numCopiedRows": counts.copied,
            "executionTimeMs": since(started),
            "scanTimeMs": counts.scan_ms,
            "rewriteTimeMs": counts.rewrite_ms,
        }

    return metrics
