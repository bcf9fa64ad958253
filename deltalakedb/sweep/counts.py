"""What a catalog's rows have to add up to, beside those of the newest version.

The history of files, which old versions are read from; versions that wait for their log; and how
many files a checkpoint lists.
"""

from __future__ import annotations

from collections.abc import Iterator

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.records import TableRow, load_condition, load_files_name
from deltalakedb.display.text import count_text
from deltalakedb.log.rows import LIVE
from deltalakedb.mirror.status import mirror_status
from deltalakedb.sweep.findings import Finding

STUCK_SECONDS = 3600.0
"""So long a version may wait to be durable in its log before somebody is told."""


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
            f"version {version} has {count_text(files, 'file')} by its rows, and had {counted} "
            f"when it was added ({len(wrong)} versions in all)",
        )


def stuck(catalog: Catalog, row: TableRow) -> Iterator[Finding]:
    """Versions that wait in the outbox although nothing keeps them from their log."""
    if row.authority == "log":
        return
    yield from _outbox_lost(catalog, row)
    [status] = mirror_status(catalog, [row])
    if not status.waiting:
        return
    [(now,)] = catalog.reader.rows(f"SELECT {catalog.dialect.clock_ms}")
    seconds = status.lag_seconds(int(now))
    if seconds > STUCK_SECONDS:
        yield Finding(
            "outbox-stuck",
            f"{count_text(status.waiting, 'version')} in the outbox since {seconds:,.0f} s",
        )


def _outbox_lost(catalog: Catalog, row: TableRow) -> Iterator[Finding]:
    """Versions leave the outbox when they are known to be durable in the log, and not before."""
    found = catalog.reader.rows(
        "SELECT m.durable_version, h.head_version, (SELECT count(*) FROM dl_outbox o "
        "WHERE o.table_key = m.table_key AND o.version > m.durable_version "
        "AND o.version <= h.head_version) FROM dl_mirror m "
        "JOIN dl_heads h ON h.table_key = m.table_key WHERE m.table_key = ?",
        (row.table_key,),
    )
    for durable, head, waiting in found:
        if durable > head:
            yield Finding(
                "outbox-lost", f"version {durable} is said to be in the log, the head is {head}"
            )
        elif waiting != head - durable:
            yield Finding(
                "outbox-lost",
                f"of the {head - durable} versions after {durable}, which aren't known to be in "
                f"the log, {waiting} wait in the outbox",
            )
