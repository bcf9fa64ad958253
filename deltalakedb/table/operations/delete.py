"""DELETE: rows that satisfy a predicate go."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit.staged import Reads, StagedTable
from deltalakedb.error import DeltaLakeError
from deltalakedb.planning.pruning.normal_form import is_whole
from deltalakedb.planning.pruning.partitions import PartitionTuples
from deltalakedb.predicate.row_filter import row_filter
from deltalakedb.predicate.text import sql
from deltalakedb.predicate.tree import TRUE, Expr, columns_of
from deltalakedb.scan.scan import indexed_rows
from deltalakedb.scan.types import partition_scalars
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.rewrite import Rewrite, RewriteOptions
from deltalakedb.table.operations.settle import settle
from deltalakedb.table.operations.spread import spread


def delete(
    catalog: LightCatalog, base: Base, predicate: Any, options: RewriteOptions
) -> dict[str, Any]:
    """Delete the rows for which `predicate` is TRUE, None for all; metrics by delta-rs's names.

    Only files that may hold such rows are opened, none where partitions decide. Nothing is
    committed where no row matches. Raises READ_ONLY for an append-only table, INVALID_PREDICATE,
    UNSUPPORTED_FEATURE, and what `rewrite.settle` raises.
    """
    started = time.monotonic()

    def make(catalog: LightCatalog, base: Base) -> tuple[Rewrite, StagedTable]:
        base.check_may_write(removes=True)
        parsed = base.parsed(predicate)
        began = time.monotonic()
        with Rewrite(base, base.planned(catalog, parsed), options) as rewrite:
            select(rewrite, parsed)
            rewrite.counts.scan_ms = since(began)
            staged = rewrite.staged(
                "DELETE", {"predicate": told(predicate, parsed)}, reads(parsed), _metrics(started)
            )
        return rewrite, staged

    result, rewrite = settle(catalog, base, options, make)
    metrics = result.metrics
    return {
        "num_added_files": metrics.get("numAddedFiles", 0),
        "num_removed_files": metrics.get("numRemovedFiles", 0),
        "num_deleted_rows": rewrite.counts.deleted,
        "num_copied_rows": rewrite.counts.copied,
        "num_deletion_vectors_added": metrics.get("numDeletionVectorsAdded", 0),
        "execution_time_ms": since(started),
        "scan_time_ms": rewrite.counts.scan_ms,
        "rewrite_time_ms": rewrite.counts.rewrite_ms,
        "version": result.version,
    }


def select(rewrite: Rewrite, predicate: Expr | None) -> None:
    """The rows of the planned files that satisfy a predicate go."""
    whole = decided(rewrite, predicate)
    for path in rewrite.files.filter(pa.array(whole, pa.bool_())).column("path").to_pylist():
        rewrite.removes_file(path)
    rest = rewrite.files.filter(pa.array([not each for each in whole], pa.bool_()))
    if predicate is None or not rest.num_rows:
        return
    if rewrite.client is not None:
        spread(rewrite, rest, rewrite.client, partial(remove_matching, predicate))
    else:
        remove_matching(predicate, rewrite, rest)


def remove_matching(predicate: Expr, rewrite: Rewrite, files: pa.Table | None = None) -> None:
    """Rows of the files (None: all of the rewrite's) go where the predicate is TRUE."""
    names = sorted({column.path[0] for column in columns_of(predicate)})
    spec = rewrite.spec(row_filter(predicate), files)
    for path, batch in indexed_rows(spec, None if rewrite.tells_changes else names or None):
        last = batch.num_columns - 1
        rewrite.removes_rows(path, batch.column(last).to_numpy())
        if rewrite.tells_changes:
            rewrite.tells(batch.remove_column(last), "delete")


def decided(rewrite: Rewrite, predicate: Expr | None) -> list[bool]:
    """Of which planned files every row goes, as their partition says."""
    texts = rewrite.files.column("partition_values").to_pylist()
    if predicate is None:
        return [True] * len(texts)
    columns = rewrite.base.metadata.partition_columns
    if not is_whole(predicate) or not columns or not texts:
        return [False] * len(texts)
    distinct = list(dict.fromkeys(texts))
    tuples = PartitionTuples(distinct)
    left, which = tuples.residuals(predicate, columns)
    readable = tuples.readable(predicate, columns)
    schema = rewrite.spec().schema
    sure = {
        text
        for text, number, known in zip(distinct, which, readable, strict=True)
        if known
        and left[number] == TRUE
        # A text that is no value of its column passes for any: reading the file tells of it.
        and not any(
            isinstance(value, DeltaLakeError) for value in partition_scalars(text, schema).values()
        )
    }
    found = [text in sure for text in texts]
    # A version with any change data file has all its changes there, so all rows are read.
    return [False] * len(texts) if rewrite.tells_changes and not all(found) else found


def reads(predicate: Expr | None) -> Reads:
    """What a choice of rows by predicate counts on: nothing but the rows themselves.

    Files in which nothing matched may go, rows of others may: none of them was wanted.
    """
    return Reads(whole_table=True) if predicate is None else Reads(predicates=(predicate,))


def told(predicate: Any, parsed: Expr | None) -> list[str]:
    """A predicate as commitInfo has it."""
    if predicate is None:
        return ["true"]
    if isinstance(predicate, str):
        return [predicate]
    return ["true" if parsed is None else sql(parsed)]


def since(started: float) -> int:
    """Milliseconds since a `time.monotonic()`."""
    return round((time.monotonic() - started) * 1000)


def _metrics(started: float) -> Callable[[Rewrite], dict[str, int]]:
    def metrics(rewrite: Rewrite) -> dict[str, int]:
        counts = rewrite.counts
        rows = {} if counts.deleted is None else {"numDeletedRows": counts.deleted}
        return rows | {
            "numCopiedRows": counts.copied,
            "executionTimeMs": since(started),
            "scanTimeMs": counts.scan_ms,
            "rewriteTimeMs": counts.rewrite_ms,
        }

    return metrics
