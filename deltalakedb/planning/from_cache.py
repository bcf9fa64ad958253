"""The files of a group of partitions that the keys leave, chosen from a cached file list."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from deltalakedb.catalog.reading.catalog import PartitionRow
from deltalakedb.catalog.reading.queries import file_schema
from deltalakedb.log.columns import array_of, numbers_of
from deltalakedb.planning.pruning.keys import KeyExpr, evaluate_keys, slots_used
from deltalakedb.planning.pruning.partitions import among


def from_cache(
    cached: pa.Table,
    matching: list[PartitionRow] | None,
    condition: KeyExpr | None,
    columns: tuple[str, ...],
) -> tuple[pa.Table, str]:
    """Batch by batch, so that what is looked at stays mapped and what is copied is small."""
    if matching is None and condition is None:
        return cached.select(columns), "cached file list"
    used = sorted(slots_used(condition)) if condition is not None else []
    ids = np.array(sorted(p.partition_id for p in matching or ()), dtype=np.int64)
    pieces = []
    for batch in cached.to_batches():
        mask = np.ones(batch.num_rows, dtype=bool)
        if matching is not None:
            mask &= among(numbers_of(batch.column("partition_id")), ids)
        if condition is not None:
            lo: list[Any] = [None] * (used[-1] + 1 if used else 0)
            hi = list(lo)
            for slot in used:
                lo[slot], hi[slot] = (
                    numbers_of(batch.column(f"lo{slot}")),
                    numbers_of(batch.column(f"hi{slot}")),
                )
            mask &= evaluate_keys(condition, lo, hi)
        rows = np.flatnonzero(mask)
        if len(rows):
            pieces.append(batch.select(columns).take(array_of(rows)))
    how = "cached file list" + (", vectorised keys" if condition is not None else "")
    return pa.Table.from_batches(pieces, file_schema(columns)), how
