"""Nights made up, to see what a report makes of them."""

from __future__ import annotations

import random
import uuid

from deltalakedb.catalog.records import TableRow
from deltalakedb.sweep.digest import Sum
from deltalakedb.sweep.findings import KINDS, Finding
from deltalakedb.sweep.history import NIGHTS, History, TableHistory
from deltalakedb.sweep.night import TableNight
from deltalakedb.sweep.proofs import Proof
from deltalakedb.sweep.run import SweepReport

NOW = 1_795_700_000_000
DAY = 86_400_000


def row_of(name: str, number: int, files: int) -> TableRow:
    """A table of the catalog."""
    return TableRow(
        table_key=number,
        table_id=str(uuid.UUID(int=number)),
        namespace="",
        name=name,
        location=f"s3://warehouse/{name}",
        log_location=f"s3://warehouse/{name}/_delta_log",
        mode="fast",
        skipping="[]",
        unreadable_features="",
        created_at=NOW,
        changes_since=0,
        head_version=number * 7,
        known_since=0,
        epoch=1,
        authority="log",
        live_load=-number,
        num_files=files,
        total_bytes=files * 123_456_789,
        updated_at=NOW,
    )


def proof_of(row: TableRow, days: float) -> Proof:
    """A proof of some days ago."""
    at = round(NOW - days * DAY)
    return Proof(row.head_version, 0, row.live_load, 1, Sum(), Sum(), {}, "", None, None, at, at)


def night(count: int, drift: int, failed: int = 0, lag: int = 0, stale: int = 0) -> SweepReport:
    """A night of `count` tables, some of which have ended so."""
    chance = random.Random(7)
    statuses = ["drift"] * drift + ["failed"] * failed + ["lag"] * lag + ["stale"] * stale
    statuses += ["verified"] * (count - len(statuses))
    chance.shuffle(statuses)
    tables = []
    kinds = list(KINDS)
    for number, status in enumerate(statuses, 1):
        row = row_of(f"sales.orders_{number:05d}", number, chance.randrange(1, 2_000_000))
        table = TableNight(row, status, "unchanged", seconds=chance.random() ** 20)
        table.proof = proof_of(row, 0.01 if status in ("verified", "lag") else chance.random() * 9)
        table.not_seen = ("rows inside data files",)
        if status == "drift":
            kind = chance.choice(kinds[:20])
            text = f"3 files at version {row.head_version}, such as d=2024-01-02/part-<1>&2.parquet"
            table.findings = [Finding(kind, text)]
            table.how = "full"
        elif status == "lag":
            table.lag_seconds = chance.random() * 9000
            table.findings = [Finding("unpublished", f"2 versions since {table.lag_seconds:.0f} s")]
        elif status == "failed":
            table.error = "the store doesn't answer; try again"
        tables.append(table)
    report = SweepReport("postgresql://sweeper:***@db/catalog", NOW, 81.4, 20_783, tables)
    return report


def past(report: SweepReport) -> History:
    """Thirty nights before, quiet for most tables."""
    chance = random.Random(5)
    tables = {}
    for table in report.tables:
        lag: list[float | None] = [0.0] * NIGHTS
        drift: list[int | None] = [0] * NIGHTS
        if table.status != "verified":
            lag = [chance.random() ** 6 * 4000 for _ in range(NIGHTS)]
            drift[-1] = int(table.status == "drift")
        tables[table.row.table_id] = TableHistory(
            tuple(lag), tuple(drift), chance.choice([0, 0, 2])
        )
    drifted: list[int | None] = [chance.choice([0, 0, 1, 2, 5]) for _ in range(NIGHTS)]
    drifted[9] = None
    worst: list[float | None] = [chance.random() ** 4 * 9000 for _ in range(NIGHTS)]
    worst[9] = None
    today = NOW // DAY
    return History(
        tuple(range(today - NIGHTS + 1, today + 1)), tuple(drifted), tuple(worst), tables
    )
