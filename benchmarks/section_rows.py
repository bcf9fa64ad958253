"""The figures of rows: every form beside delta-rs; and of warm plans with many partitions."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import measure
from benchmarks.report import Entry, Figure, Kind
from benchmarks.workbench import Workbench

SECTION = "Rows"
FILES = 160
ROWS = 25_000
ROUNDS = 5
ADDS = 100_000


def forms(bench: Workbench) -> Iterator[Entry]:
    """A plain table of 4 million rows in each form, in turns, as CPU seconds."""
    with tempfile.TemporaryDirectory(prefix="bench-rows-") as scratch:
        folder = str(Path(scratch) / "plain")
        rows = max(100, round(ROWS * bench.scale))
        measure.probe("benchmarks.reading_rows:write_rows", folder, str(FILES), str(rows))
        database = f"{scratch}/plain.sqlite"
        measure.probe("benchmarks.reading_rows:import_table", folder, database)
        found = measure.probe(
            "benchmarks.reading_rows:in_turns", database, folder, str(ROUNDS)
        ).result
        for name, (ours, theirs) in found.items():
            yield Figure(
                SECTION,
                f"{name}, a plain table",
                Kind.GAIN,
                1.0,
                ours,
                theirs,
                "delta-rs",
                note=f"CPU seconds, medians of {ROUNDS}; {FILES} files of {rows:,} rows, SQLite; "
                "theirs opens the table",
            )


def partitions(bench: Workbench) -> Iterator[Entry]:
    """A warm plan of one partition of many against one of a thousand."""
    adds = bench.count(ADDS)
    seconds = {}
    with tempfile.TemporaryDirectory(prefix="bench-partitions-") as scratch:
        for number in (max(1, adds // 100), adds):
            folder = Path(scratch) / f"p{number}"
            measure.probe(
                "benchmarks.reading_rows:write_partitions", str(folder), str(adds), str(number)
            )
            database = f"{folder}.sqlite"
            measure.probe("benchmarks.reading_rows:import_table", str(folder), database)
            found = measure.probe(
                "benchmarks.reading_rows:warm_plans", database, str(folder), "200"
            ).result
            if found["files"] != adds // number:
                raise AssertionError(f"{found} of {adds} files in {number} partitions")
            seconds[number] = found["seconds"]
    few, many = seconds
    yield Figure(
        SECTION,
        f"a warm plan of one partition of {many:,} against one of {few:,}",
        Kind.COST,
        3.0,
        seconds[many],
        seconds[few],
        f"{few:,} partitions",
        note=f"CPU seconds; {adds:,} files, SQLite",
    )


def rows(bench: Workbench) -> Iterator[Entry]:
    """All of it."""
    yield from forms(bench)
    yield from partitions(bench)
