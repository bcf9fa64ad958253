"""Real Parquet files for small synthetic tables: rows that meet the statistics exactly."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.synthetic import SCORE_SCALE, STATS_COLUMNS, Day, Files, Ints

ROWS = 20
"""Records in each appended file of a table with data."""

# The column positions of Files.nulls: uid, due, amt, lat, sku.
_NULLABLE = {2: 0, 3: 1, 4: 2, 5: 3, 6: 4}


def write_day(root: Path, day: Day) -> None:
    """Write the appended files of a day, and the compacted ones as the union of their members."""
    tables = [_table(day.appended, i) for i in range(len(day.appended))]
    _write(root, day.appended, tables)
    if day.compacted is not None:
        _write(root, day.compacted, [pa.concat_tables([tables[i] for i in m]) for m in day.members])


def _write(root: Path, files: Files, tables: list[pa.Table]) -> None:
    for position, (path, table) in enumerate(zip(files.paths(), tables, strict=True)):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, target, compression="snappy")
        files.size[position] = target.stat().st_size


def _table(files: Files, position: int) -> pa.Table:
    rows = int(files.num_records[position])
    columns = []
    for index in range(files.low.shape[0]):
        low, high = int(files.low[index, position]), int(files.high[index, position])
        # Integer steps keep both ends exact, which a float ramp would not for 64-bit values.
        values = np.array([low + (high - low) * k // (rows - 1) for k in range(rows)], np.int64)
        empty = np.zeros(rows, dtype=np.bool_)
        if index in _NULLABLE:
            empty[1 : 1 + int(files.nulls[_NULLABLE[index], position])] = True
        columns.append(_column(index, values, empty))
    return pa.table(dict(zip([name for name, _ in STATS_COLUMNS], columns, strict=True)))


def _column(
    index: int, values: Ints, empty: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> pa.Array:
    if index == 1:
        return pa.array(values * 1000, pa.timestamp("us", "UTC"), mask=empty)
    if index == 3:
        return pa.array(values.astype(np.int32), pa.int32(), mask=empty).cast(pa.date32())
    if index == 4:
        cents = [None if e else Decimal(int(v)) / 100 for v, e in zip(values, empty, strict=True)]
        return pa.array(cents, pa.decimal128(10, 2))
    if index == 5:
        return pa.array(values / SCORE_SCALE, pa.float64(), mask=empty)
    if index == 6:
        return pa.array([f"{v:06x}" for v in values.tolist()], pa.string(), mask=empty)
    if index == 7:
        return pa.array(values.astype(np.int32), pa.int32(), mask=empty)
    return pa.array(values, pa.int64(), mask=empty)
