"""The figures of rows: every form beside delta-rs; and of warm plans with many partitions."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import ducklake, measure, rows_beside
from benchmarks.report import Entry, Figure, Kind
from benchmarks.workbench import Workbench

SECTION = "Rows"
FILES = 160
ROWS = 25_000
ROUNDS = 5
TURNS = 3
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


def beside(bench: Workbench) -> Iterator[Entry]:
    """Tables with deletion vectors, and with column mapping, against who reads them too."""
    lake = ducklake.installed()
    rows = max(100, round(ROWS * bench.scale))
    for kind in rows_beside.PROPERTIES:
        with tempfile.TemporaryDirectory(prefix="bench-beside-") as scratch:
            folder, database = f"{scratch}/t", f"{scratch}/t.sqlite"
            measure.probe(
                "benchmarks.rows_beside:write_table", folder, database, kind, str(FILES), str(rows)
            )
            sides = {
                "ours": partial(_probed, "ours", database, folder),
                "delta-rs's QueryBuilder": partial(_probed, "query_builder", folder),
                "DuckDB's delta_scan": partial(_scanned, lake, folder),
            }
            found: dict[str, list[dict[str, tuple[float, int]]]] = {name: [] for name in sides}
            for _ in range(TURNS):
                for name, ask in sides.items():
                    found[name].append(ask())
        mine = found.pop("ours")
        for name, theirs in found.items():
            for query in rows_beside.QUERIES:
                counts = {each[query][1] for each in (*mine, *theirs)}
                if len(counts) != 1:
                    raise AssertionError(f"{kind}, {query}: {counts} rows")
                yield Figure(
                    SECTION,
                    f"{query}, a table with {kind}",
                    Kind.GAIN,
                    1.0,
                    min(each[query][0] for each in mine),
                    min(each[query][0] for each in theirs),
                    name,
                    note=f"CPU seconds, the least of {TURNS} medians by turns; {FILES} files of "
                    f"{rows:,} rows, SQLite; theirs reads the log each time",
                )


def _probed(function: str, *arguments: str) -> dict[str, tuple[float, int]]:
    asked = f"benchmarks.rows_beside:{function}"
    answer: dict[str, tuple[float, int]] = measure.probe(asked, *arguments, str(ROUNDS)).result
    return answer


def _scanned(lake: ducklake.DuckLake, folder: str) -> dict[str, tuple[float, int]]:
    module = [str(lake.python), "-m", "benchmarks.rows_beside"]
    run = measure.run_process([*module, str(lake.delta), folder, str(ROUNDS)])
    answer: dict[str, tuple[float, int]] = json.loads(run.stdout.splitlines()[-1])
    return answer


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
    yield from beside(bench)
    yield from partitions(bench)
