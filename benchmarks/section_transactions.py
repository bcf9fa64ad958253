"""The figures of transactions over several tables, group commit, and async snapshots."""

from __future__ import annotations

import json
from collections.abc import Iterator

from benchmarks import measure
from benchmarks.places import PROCESSES, Places, appended, seconds_of
from benchmarks.report import Entry, Figure, Kind
from benchmarks.workbench import Workbench

SECTION = "Transactions"
TABLES = 10
ROUNDS = 40
SNAPSHOTS = 100


def ten_tables(bench: Workbench) -> Iterator[Entry]:
    """A transaction over ten tables against ten commits, in turns."""
    places = Places(bench)
    targets = places.ours(TABLES)
    found = measure.probe("benchmarks.ours_write:ten_tables", str(ROUNDS), *targets).result
    yield Figure(
        SECTION,
        f"a transaction over {TABLES} tables",
        Kind.COST,
        0.4,
        float(found["together"]),
        float(found["alone"]),
        f"{TABLES} commits",
        note=f"medians of {ROUNDS}; 10 rows each",
    )


def overlapping(bench: Workbench) -> Iterator[Entry]:
    """Processes whose transactions share tables, against commits to single ones of them."""
    places = Places(bench)
    names = [uri.rpartition("=")[2] for uri in places.ours(PROCESSES)]
    taken = {}
    for some in (1, 3):
        target = {"database": places.database, "tables": names, "some": some}
        targets = [json.dumps(target)] * PROCESSES
        taken[some] = appended(bench, "ours-some-tables", targets, PROCESSES, seconds_of(bench))
    yield Figure(
        SECTION,
        "single commits a second against transactions over 3 of 8 tables, 8 processes",
        Kind.COST,
        1 / 0.3,
        taken[3].seconds_each,
        taken[1].seconds_each,
        "one table each",
        note=f"{taken[3].note}; one table each {taken[1].note}",
    )
    failed = sum(taken[3].failures.values())
    name = "our failures, transactions over 3 of 8 tables"
    yield Figure(SECTION, name, Kind.LIMIT, 0, failed, unit="failures")


def group_commit(bench: Workbench) -> Iterator[Entry]:
    """Processes on one table with and without group commit; the same where puts take 30 ms."""
    grouped: dict[str, str | None] = {"deltalakedb.groupCommit": "true"}
    for kind, where, target in (
        ("ours", "8 processes on one table", 1.5),
        ("ours-slow-puts", "8 processes on one table, 30 ms a put", 9.0),
    ):
        places = Places(bench)
        seconds = seconds_of(bench)
        plain = appended(bench, kind, places.ours(1), PROCESSES, seconds)
        targets = places.ours(1, properties=grouped)
        # Several calls are one version here, so that versions don't count them.
        mine = appended(bench, f"{kind}-grouped", targets, PROCESSES, seconds)
        yield Figure(
            SECTION,
            f"append with group commit, {where}",
            Kind.GAIN,
            target,
            mine.seconds_each,
            plain.seconds_each,
            "without",
            note=f"{mine.note}; without {plain.note}",
        )


def async_snapshots(bench: Workbench) -> Iterator[Entry]:
    """Snapshots of many tables by the event loop, and how long that is held up."""
    count = max(10, round(SNAPSHOTS * min(1.0, bench.scale * 4)))
    targets = Places(bench).ours(count)
    found = measure.probe("benchmarks.ours_write:snapshots", *targets).result
    yield Figure(
        SECTION,
        f"{count} snapshots of {count} tables, async",
        Kind.COST,
        0.5,
        float(found["together"]),
        float(found["one_by_one"]),
        "one after the other",
    )
    name = "the event loop is late meanwhile by"
    yield Figure(SECTION, name, Kind.LIMIT, 0.05, float(found["late"]), note="a heartbeat of 5 ms")


def transactions(bench: Workbench) -> Iterator[Entry]:
    """All of it."""
    for part in (ten_tables, overlapping, group_commit, async_snapshots):
        bench.say(f"transactions: {part.__name__}")
        yield from part(bench)
