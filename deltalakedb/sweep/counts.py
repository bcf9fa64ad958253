"""What a catalog's rows have to add up to, beside those of the newest version.

The history of files, which old versions are read from; versions that wait for their log; and how
many files a checkpoint lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.records import TableRow, load_condition, load_files_name
from deltalakedb.log.rows import LIVE
from deltalakedb.log.segment import CheckpointEntry
from deltalakedb.mirror.sidecars import sidecars_in
from deltalakedb.mirror.status import mirror_status
from deltalakedb.storage.open import open_store
from deltalakedb.storage.store import ObjectStore
from deltalakedb.sweep.findings import Finding
from deltalakedb.sweep.logs import Log

STUCK_SECONDS = 3600.0
"""So long a version may wait to be durable in its log before somebody is told."""
_V2_NAME = re.compile(r"\d{20}\.checkpoint\.[0-9a-f-]{36}\.(json|parquet)")


def history_wrong(catalog: Catalog, row: TableRow) -> Iterator[Finding]:
    """Files of versions before the newest, against what was counted when each was added."""
    source, mine = load_files_name(row.live_load), load_condition(row.live_load)
    steps: dict[int, list[int]] = {}
    for sign, column, those in (
        (1, "added_version", f"added_version <= {row.head_version}"),
        (-1, "removed_version", f"removed_version < {LIVE}"),
    ):
        for version, count, size in catalog.reader.rows(
            f"SELECT {column}, count(*), coalesce(sum(size), 0) FROM {source} "
            f"WHERE {mine}{those} GROUP BY {column}"
        ):
            step = steps.setdefault(int(version), [0, 0])
            step[0] += sign * int(count)
            step[1] += sign * int(size)
    waiting = sorted(steps, reverse=True)
    files = size = 0
    wrong = []
    for version, counted, summed in catalog.reader.rows(
        "SELECT version, live_files, live_bytes FROM dl_versions WHERE load_id = ? "
        "AND version BETWEEN ? AND ? AND live_files IS NOT NULL ORDER BY version",
        (row.live_load, row.known_since, row.head_version),
    ):
        while waiting and waiting[-1] <= version:
            more = steps[waiting.pop()]
            files, size = files + more[0], size + more[1]
        if (files, size) != (int(counted), int(summed or 0)):
            wrong.append((int(version), files, int(counted)))
    head = catalog.reader.rows(
        "SELECT version FROM dl_versions WHERE load_id = ? AND version = ?",
        (row.live_load, row.head_version),
    )
    if not head:
        yield Finding(
            "head-moved",
            f"the head is version {row.head_version}, of which the catalog has no commit",
        )
    # Of the newest version more is known.
    if wrong and wrong[0][0] < row.head_version:
        version, files, counted = wrong[0]
        yield Finding(
            "history-changed",
            f"version {version} has {files} files by its rows, and had {counted} when it was added "
            f"({len(wrong)} versions in all)",
        )


def stuck(catalog: Catalog, row: TableRow) -> Iterator[Finding]:
    """Versions that wait in the outbox although nothing keeps them from their log."""
    if row.authority == "log":
        return
    [status] = mirror_status(catalog, [row])
    if not status.waiting:
        return
    [(now,)] = catalog.reader.rows(f"SELECT {catalog.dialect.clock_ms}")
    seconds = status.lag_seconds(int(now))
    if seconds > STUCK_SECONDS:
        yield Finding(
            "outbox-stuck", f"{status.waiting} versions wait in the outbox since {seconds:,.0f} s"
        )


def checkpoint_mark(log: Log, entry: CheckpointEntry) -> str:
    """A checkpoint as it is listed, with the files that it may name, to see a change of them."""
    if not _V2_NAME.fullmatch(entry.names[0]):
        return entry.fingerprint
    found = sorted((o.name, o.modified_ms) for o in sidecars_in(open_store(log.store)))
    return f"{entry.fingerprint}:{len(found)}:{max((at for _, at in found), default=0)}"


def adds_listed(log: ObjectStore, entry: CheckpointEntry) -> int | None:
    """How many files a checkpoint lists, those that stand twice twice; None if it doesn't tell."""
    import pyarrow.parquet as pq

    total = 0
    names = list(entry.names)
    while names:
        name = names.pop()
        if not name.endswith(".parquet"):
            return None
        with log.open_input(name) as data:
            file = pq.ParquetFile(data)
            found = _valid(file, "add.path")
            if found is None:
                return None
            total += found
            if not name.startswith("_sidecars/") and "sidecar" in file.schema_arrow.names:
                column = file.read(["sidecar.path"]).column("sidecar").combine_chunks()
                names += [f"_sidecars/{each['path']}" for each in column.drop_null().to_pylist()]
    return total


def _valid(file: Any, path: str) -> int | None:
    """Values of a column that aren't null, as the footer counts them."""
    total = 0
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        columns = [group.column(n) for n in range(group.num_columns)]
        found = next((c for c in columns if c.path_in_schema == path), None)
        if found is None:
            return 0
        told = found.statistics
        if told is None or told.null_count is None:
            return None
        total += group.num_rows - told.null_count
    return total
