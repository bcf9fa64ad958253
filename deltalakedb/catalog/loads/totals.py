"""Live files and bytes of each version: what a complete list of a version must add up to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from deltalakedb.catalog.tables import versions

CHANGE_SCHEMA = pa.schema([("version", pa.int64()), ("files", pa.int64()), ("bytes", pa.int64())])
"""By how much a version changes the live files; one row a version."""
_CHUNK = 400


def live_changes(files: pa.Table) -> pa.Table:
    """CHANGE_SCHEMA of lives (`added_version`, `removed_version`, `size`).

    An end at 2^63-1 is that of no version; lives of no length are left out.
    """
    added, removed = files.column("added_version"), files.column("removed_version")
    lives = pa.table(
        {"added": added, "removed": removed, "bytes": pc.fill_null(files.column("size"), 0)}
    ).filter(pc.less(added, removed))
    size = lives.column("bytes")
    begins = pa.table([lives.column("added"), _ones(len(size), 1), size], schema=CHANGE_SCHEMA)
    ends = pa.table(
        [lives.column("removed"), _ones(len(size), -1), pc.negate(size)], schema=CHANGE_SCHEMA
    )
    return sum_changes([begins, ends])


def _ones(count: int, value: int) -> pa.Array:
    return pa.array(np.full(count, value, dtype=np.int64))


def sum_changes(changes: Sequence[pa.Table]) -> pa.Table:
    """The changes of several sets of lives added up."""
    summed = (
        pa.concat_tables([CHANGE_SCHEMA.empty_table(), *changes])
        .group_by("version", use_threads=False)
        .aggregate([("files", "sum"), ("bytes", "sum")])
    )
    return pa.table(
        [summed.column(n) for n in ("version", "files_sum", "bytes_sum")], schema=CHANGE_SCHEMA
    )


def live_totals(
    changes: pa.Table, wanted: Sequence[int], before: tuple[int, int] = (0, 0)
) -> Iterator[tuple[int, int]]:
    """(files, bytes) at each of `wanted`, ascending, when there were `before` ahead of all."""
    ordered = changes.sort_by("version")
    at = np.searchsorted(
        ordered.column("version").to_numpy(), np.asarray(wanted, np.int64), "right"
    )
    files, size = (
        np.concatenate([[0], np.cumsum(ordered.column(n).to_numpy())]) + start
        for n, start in zip(("files", "bytes"), before, strict=True)
    )
    yield from zip(files[at].tolist(), size[at].tolist(), strict=True)


def write_totals(connection: sa.Connection, load_id: int, changes: pa.Table) -> None:
    """Set the totals of all readable versions of a load that nobody sees yet."""
    v = versions.c
    mine = sa.and_(v.load_id == load_id, v.readable)
    wanted = list(connection.scalars(sa.select(v.version).where(mine).order_by(v.version)))
    totals = list(live_totals(changes, wanted))
    for start in range(0, len(wanted), _CHUNK):
        some = wanted[start : start + _CHUNK]
        pairs = totals[start : start + _CHUNK]
        cases = [
            " ".join(
                f"WHEN {version} THEN {pair[n]}" for version, pair in zip(some, pairs, strict=True)
            )
            for n in (0, 1)
        ]
        connection.exec_driver_sql(
            f"UPDATE dl_versions SET live_files = CASE version {cases[0]} END, "
            f"live_bytes = CASE version {cases[1]} END WHERE load_id = {load_id} "
            f"AND version BETWEEN {some[0]} AND {some[-1]} AND readable"
        )
