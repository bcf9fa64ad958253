"""Overwriting the rows of a predicate: which files go, and which of their rows stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit.staged import no_files
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.features import enabled
from deltalakedb.predicate.row_filter import to_arrow_expression
from deltalakedb.predicate.tree import Expr, columns_of
from deltalakedb.scan.scan import scan_batches
from deltalakedb.table.operations.base import Base

_SHOWN = 100
Check = Callable[[pa.RecordBatch, frozenset[str]], pa.RecordBatch]


@dataclass(frozen=True)
class Replaced:
    """What an overwrite of a predicate takes away: lives, and the rows of them that stay."""

    predicate: Expr
    lives: pa.Table = field(default_factory=no_files)
    kept: pa.RecordBatchReader | None = None


def replaced(catalog: LightCatalog, base: Base, predicate: Any) -> Replaced:
    """The files that may hold rows of the predicate. INVALID_PREDICATE for one that is none.

    UNSUPPORTED_FEATURE where rows of a file stay and the table has a change data feed.
    """
    snapshot = base.snapshot(catalog)
    expr = snapshot.where(predicate)
    if expr is None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_PREDICATE,
            "the predicate of an overwrite selects all rows; leave it out",
        )
    spec = snapshot.scan_spec(expr)
    if not spec.files.num_rows:
        return Replaced(expr)
    lives = base.live_files(catalog)
    paths = spec.files.column("path").combine_chunks()
    lives = lives.filter(pc.is_in(lives.column("path"), paths))
    partitions = set(base.metadata.partition_columns)
    if all(column.path[0] in partitions for column in columns_of(expr)):
        return Replaced(expr, lives)
    if enabled(base.metadata.configuration, "delta.enableChangeDataFeed"):
        raise DeltaLakeError(
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
            f"{base.row.full_name} has a change data feed, and an overwrite of a part of its files "
            "doesn't write one yet; overwrite whole partitions",
            features=["changeDataFeed"],
        )
    stays = pc.invert(pc.coalesce(to_arrow_expression(expr), pc.scalar(False)))
    batches = scan_batches(spec, None, stays)
    kept = pa.RecordBatchReader.from_batches(snapshot.schema, batches)
    return Replaced(expr, lives, kept)


def only_within(predicate: Expr, text: Any, before: Check | None) -> Check:
    """A check that rows are those of the predicate, after another check."""
    condition = to_arrow_expression(predicate)

    def check(rows: pa.RecordBatch, missing: frozenset[str]) -> pa.RecordBatch:
        if before is not None:
            rows = before(rows, missing)
        table = pa.Table.from_batches([rows])
        outside = table.filter(pc.invert(pc.coalesce(condition, pc.scalar(False))))
        if outside.num_rows:
            shown = str(outside.slice(0, 1).to_pylist()[0])[:_SHOWN]
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONSTRAINT_VIOLATION,
                f"the row {shown} isn't one of those that the overwrite replaces ({text}); leave "
                "such rows out, or widen the predicate",
                row=shown,
            )
        return rows

    return check
