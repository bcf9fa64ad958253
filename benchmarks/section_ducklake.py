"""Plans beside DuckLake: the same files and statistics, in the same PostgreSQL."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import ducklake
from benchmarks.measure import Probe, Timing, run_process
from benchmarks.report import Entry, Figure, Kind
from benchmarks.section_read import LIST_RUNS, RUNS, Reader
from benchmarks.workbench import Workbench, files_table

SECTION = "Beside DuckLake"
_TABLE = "files"


def plans(bench: Workbench) -> Iterator[Entry]:
    """Time to the plan, and peak memory, in fresh processes that ask by turns."""
    lake = ducklake.installed()
    table = bench.full()
    ours = bench.catalogued(bench.postgresql, table)
    bench.postgresql.settle(ours.database)
    asked = bench.questions(table)
    database = bench.postgresql.new_database()
    with tempfile.TemporaryDirectory(dir=bench.folder, prefix="lake-") as folder:
        target = lake.target(database, Path(folder) / "data", _TABLE)
        bench.say("filling a lake")
        filled = _run(lake, "fill", target, ours.database, files_table(ours.database))
        if filled["files"] != asked.live:
            raise RuntimeError(f"{filled['files']} files in the lake, not {asked.live}")
        bench.postgresql.settle(database)
        reader = Reader(ours.database, Path(folder))
        uid, partition = str(asked.unclustered_uid), (asked.date, asked.region)
        for name, goal, where, ask, files, runs in (
            (
                "one partition",
                150,
                f"date = '{asked.date}' AND region = '{asked.region}'",
                lambda: reader.cold("one_partition", *partition, runs=1),
                asked.partition_files,
                RUNS,
            ),
            (
                "one id of a clustered column",
                150,
                f"id = {asked.clustered_id}",
                lambda: reader.cold("point", "id", str(asked.clustered_id), runs=1),
                asked.clustered_files,
                RUNS,
            ),
            (
                "one id of an unclustered column",
                20,
                f"uid = {uid}",
                lambda: reader.cold("point", "uid", uid, runs=1),
                asked.unclustered_files,
                RUNS,
            ),
            (
                "full list as Arrow, with statistics",
                4,
                "",
                lambda: reader.cold("full_list", runs=1),
                asked.live,
                LIST_RUNS,
            ),
        ):
            bench.say(f"DuckLake: {name}")
            lake_asked = partial(_run, lake, "ask", target, where)
            yield from _figures(name, goal, ask, lake_asked, files, runs)
    bench.postgresql.drop(database)


def _figures(
    name: str,
    goal: float,
    ask: Callable[[], Probe],
    ask_lake: Callable[[], dict[str, Any]],
    files: int,
    runs: int,
) -> Iterator[Figure]:
    mine: list[Probe] = []
    theirs: list[dict[str, Any]] = []
    for _ in range(runs):
        mine.append(ask())
        theirs.append(ask_lake())
    counts = {probe.result["files"] for probe in mine} | {answer["files"] for answer in theirs}
    if counts != {files}:
        raise RuntimeError(f"{name}: {counts} files, not {files}")
    here = Timing(tuple(probe.timing.median for probe in mine))
    there = Timing(tuple(answer["seconds"] for answer in theirs))
    peak = statistics.median(answer["peak_mb"] for answer in theirs)
    yield Figure(
        SECTION,
        f"open + plan: {name}",
        Kind.GAIN,
        goal,
        here.median,
        there.median,
        "DuckLake",
        ours_spread=here.spread,
        theirs_spread=there.spread,
        note=f"{files:,} files; peak {max(probe.peak_mb for probe in mine):,.0f} MB, "
        f"DuckLake's {peak:,.0f} MB",
    )


def _run(lake: ducklake.DuckLake, *arguments: str) -> dict[str, Any]:
    run = run_process([str(lake.python), "-m", "benchmarks.ducklake_plan", *arguments])
    answer: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return answer


PARTS: dict[str, Callable[[Workbench], Iterator[Entry]]] = {"ducklake": plans}
