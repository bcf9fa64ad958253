"""The figures of fleets: many tables by one `dl migrate`, the nightly sweep, and its report."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import deltalakedb
from benchmarks.generate import Variant, append, generate
from benchmarks.report import Entry, Figure, Kind
from benchmarks.synthetic import Shape
from benchmarks.workbench import Workbench
from deltalakedb.sweep.page import write_page
from deltalakedb.sweep.run import SweepOptions, SweepReport, sweep

SECTION = "Fleets"
_COMMITS, _ADDS = 10, 2
_ALONE = 10
_NEW = 0.05
_USUAL = SweepOptions(data_files=False)
"""The tables here have no data files."""
_NOTHING_ELSE = SweepOptions(data_files=False, full_share=0.0)
"""A night's share of full proofs is a cost of its own, which other nights don't have."""


def fleets(bench: Workbench) -> Iterator[Entry]:
    """1,000 tables by one `dl migrate`, again, and swept beside one of 1M files."""
    count = max(round(1_000 * bench.scale), 20)
    lake = bench.folder / "lake"
    for number in range(count + _ALONE):
        # The last ones come by themselves, when all others are there.
        table = (lake if number < count else bench.folder / "late") / f"t{number:05d}"
        if not table.exists():
            generate(table, Shape(_COMMITS * _ADDS, days=1, seed=number + 1), Variant(_ADDS))
    few = bench.postgresql.new_database()
    alone = _one_by_one(few, lake, count)
    bench.say(f"{count:,} tables by one dl migrate")
    database = bench.postgresql.new_database()
    seconds = _migrate(database, lake, "--workers", "2")
    limit = 90 * count / 1_000
    name = f"{count:,} tables of {_COMMITS} commits by one `dl migrate`, 2 workers, PostgreSQL"
    yield Figure(SECTION, name, Kind.LIMIT, limit, seconds)
    yield Figure(SECTION, name, Kind.GAIN, 10, seconds, alone, "one by one, a process each")
    again = _migrate(database, lake)
    yield Figure(SECTION, f"{count:,} tables again, nothing changed", Kind.LIMIT, 5, again)
    late, early = _late(bench, database, few)
    yield Figure(
        SECTION, f"import of the {count:,}th table", Kind.COST, 1.3, late, early, "of the 10th"
    )
    yield from _nights(bench, database, count, "PostgreSQL")
    for each in (few, database):
        bench.postgresql.drop(each)
    local = str(bench.folder / "fleet.sqlite")
    _migrate(local, lake)
    yield from _nights(bench, local, count, "SQLite")


def _migrate(database: str, lake: Path, *options: str) -> float:
    return _seconds("migrate", "--discover", str(lake), "--database", database, *options)


def _one_by_one(database: str, lake: Path, count: int) -> float:
    """What as many take by a command for each, from some of them."""
    some = sorted(lake.iterdir())[:_ALONE]
    taken = [_seconds("import", "--log-dir", str(table), "--database", database) for table in some]
    return count * statistics.mean(taken)


def _late(bench: Workbench, full: str, few: str) -> tuple[float, float]:
    """Seconds of an import into a catalog of many tables, and into one of few, by turns."""
    taken: dict[str, list[float]] = {full: [], few: []}
    for table in sorted((bench.folder / "late").iterdir()):
        for database, seconds in taken.items():
            began = time.perf_counter()
            deltalakedb.import_table(str(table), database=database)
            seconds.append(time.perf_counter() - began)
    # The first has what a process does once.
    return statistics.median(taken[full][1:]), statistics.median(taken[few][1:])


def _seconds(*arguments: str) -> float:
    """The wall seconds of a `dl` command."""
    began = time.perf_counter()
    command = [str(Path(sys.executable).with_name("dl")), *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _nights(bench: Workbench, database: str, count: int, where: str) -> Iterator[Entry]:
    large = bench.copy(bench.fresh())
    sweep(database, _NOTHING_ELSE)
    without = sweep(database, _NOTHING_ELSE)
    deltalakedb.import_table(str(large), database=database, table_name="large")
    bench.say("nights with the large one")
    sweep(database, _NOTHING_ELSE)
    quiet = _good(sweep(database, _NOTHING_ELSE))
    usual = _good(sweep(database, _USUAL))
    beside = f"{count:,} small tables and one of {bench.count(1_000_000):,} files, {where}"
    yield Figure(SECTION, f"sweep of {beside}, nothing new", Kind.LIMIT, 10, usual.seconds)
    yield Figure(
        SECTION,
        f"sweep of {beside}: a small table's 95th percentile",
        Kind.COST,
        1.2,
        _ninety_fifth(quiet),
        _ninety_fifth(without),
        "without the large one",
    )
    append(large, commits=50, adds_per_commit=max(1, round(bench.count(1_000_000) * _NEW) // 50))
    began = time.perf_counter()
    deltalakedb.import_table(str(large), database=database, table_name="large")
    commits = time.perf_counter() - began
    changed = _good(sweep(database, _NOTHING_ELSE))
    yield Figure(
        SECTION,
        f"sweep of {beside}, 5% of it new: beyond a night with nothing new",
        Kind.COST,
        1.5,
        max(changed.seconds - quiet.seconds, 0.0),
        commits,
        "import of the new commits",
    )
    page = bench.folder / "night.html"
    write_page(str(page), changed, database, {})
    size = os.path.getsize(page) / 1e6
    yield Figure(SECTION, f"report of a night of {beside}", Kind.LIMIT, 2, size, unit="MB")


def _good(report: SweepReport) -> SweepReport:
    if report.exit_code:
        raise RuntimeError(report.verdict)
    return report


def _ninety_fifth(report: SweepReport) -> float:
    small = [table.seconds for table in report.tables if table.row.name != "large"]
    return statistics.quantiles(small, n=20)[-1]


ON_DEMAND: dict[str, Callable[[Workbench], Iterator[Entry]]] = {"fleets": fleets}
