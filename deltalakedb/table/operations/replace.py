"""Overwriting the rows of a predicate: those that satisfy it go, and all that come do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit.staged import StagedTable
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.metadata import Metadata
from deltalakedb.log.protocol import Protocol
from deltalakedb.predicate.row_filter import RowFilter, row_filter
from deltalakedb.scan.file import ROW_INDEX
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.delete import decided, reads, select
from deltalakedb.table.operations.identity_numbers import IdentityNumbers
from deltalakedb.table.operations.rewrite import Rewrite, RewriteOptions
from deltalakedb.write.input import batches_of, slices

if TYPE_CHECKING:
    from deltalakedb.table.operations.write import WriteOptions

_SHOWN = 100
_NAMES = {"numAddedFiles": "numFiles", "numAddedBytes": "numOutputBytes"}
Make = Callable[[LightCatalog, Base], tuple[Rewrite, StagedTable]]
Evolve = Callable[[Base, pa.Schema], tuple[Metadata, Protocol]]


def replacing(data: Any, options: WriteOptions, evolve: Evolve) -> tuple[RewriteOptions, Make]:
    """How the rows of `options.predicate` are replaced by those of a stream, read once.

    `evolve` gives metadata and protocol for the stream's columns. CONSTRAINT_VIOLATION for a row
    that isn't one of the predicate, INVALID_PREDICATE for a predicate of all rows.
    """
    how = RewriteOptions(
        target_file_size=options.target_file_size,
        writer_properties=options.writer_properties,
        commit=options.commit,
    )

    def make(catalog: LightCatalog, base: Base) -> tuple[Rewrite, StagedTable]:
        base.check_may_write(removes=True)
        parsed = base.parsed(options.predicate)
        if parsed is None:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_PREDICATE,
                "the predicate of an overwrite selects all rows; leave it out",
            )
        reader = batches_of(data)
        metadata, protocol = evolve(base, reader.schema)
        changed = metadata is not base.metadata
        wider = replace(base, metadata=metadata, protocol=protocol) if changed else base
        numbers = IdentityNumbers(catalog.reader.url, base.row, base.marks)
        with Rewrite(wider, base.planned(catalog, parsed), how, numbers) as rewrite:
            if all(decided(rewrite, parsed)):
                # Whole files go and come: readers know the changes.
                rewrite.tells_changes = False
            count = _insert(rewrite, reader, row_filter(parsed), options)
            select(rewrite, parsed)
            staged = rewrite.staged(
                "WRITE",
                {
                    "mode": "Overwrite",
                    "partitionBy": list(base.metadata.partition_columns),
                    "predicate": str(options.predicate),
                },
                reads(parsed),
                lambda done: {"numOutputRows": count, "numCopiedRows": done.counts.copied},
                names=_NAMES,
                metadata=metadata if changed else None,
                protocol=protocol if protocol != base.protocol else None,
            )
        return rewrite, staged

    return how, make


def _insert(
    rewrite: Rewrite, reader: pa.RecordBatchReader, wanted: RowFilter, options: WriteOptions
) -> int:
    # What doesn't fit is told though there be no rows.
    rewrite.inserts(pa.RecordBatch.from_pylist([], schema=reader.schema))
    taken = 0
    for batch in reader:
        for piece in slices(batch):
            rows = rewrite.inserts(piece)
            _check_within(rows, wanted, options.predicate)
            rewrite.tells(rows, "insert")
            taken += piece.num_rows
            if options.progress is not None:
                options.progress(taken)
    return taken


def _check_within(rows: pa.RecordBatch, wanted: RowFilter, text: Any) -> None:
    """CONSTRAINT_VIOLATION where a row isn't one of those that are replaced."""
    index = np.arange(rows.num_rows, dtype=np.int64)
    kept = rows.append_column(ROW_INDEX, pa.array(index))
    if wanted.arrow is not None:
        kept = kept.filter(wanted.arrow)
    for condition in wanted.conditions:
        kept = condition.filter(kept) if kept.num_rows else kept
    if kept.num_rows == rows.num_rows:
        return
    within = kept.column(kept.num_columns - 1).to_numpy()
    row = int(np.setdiff1d(index, within)[0])
    shown = str(rows.slice(row, 1).to_pylist()[0])[:_SHOWN]
    raise DeltaLakeError(
        DeltaLakeErrorKind.CONSTRAINT_VIOLATION,
        f"the row {shown} isn't one of those that the overwrite replaces ({text}); leave such rows "
        "out, or widen the predicate",
        row=shown,
    )
