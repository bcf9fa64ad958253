"""The import figures: imports, catch-up and diff against floors and delta-rs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

from benchmarks import buckets, delta_rs, floor, measure
from benchmarks.generate import append, read_facts
from benchmarks.measure import Probe, Timing, joined
from benchmarks.ours_import import Imported, diff_table, import_table
from benchmarks.report import Breakdown, Entry, Figure, Kind
from benchmarks.workbench import TABLE_NAME, Catalogued, Workbench, files_table

SECTION = "Import"
CORES = 2
"""The floor of an import is the work of decode, load and index, spread over this many cores."""
S3_RUNS = 3
"""By turns; the median counts."""


def full_history(bench: Workbench) -> Iterator[Entry]:
    """1M adds into PostgreSQL by two workers and by one; floor, memory, swap."""
    table = bench.full()
    two = bench.catalogued(bench.postgresql, table)
    name = files_table(two.database)
    bench.say("floor: decode, COPY, indexes")
    decoded = measure.probe("benchmarks.floor:decode", str(table / "_delta_log"))
    scratch = bench.postgresql.new_database()
    load = floor.postgresql(scratch, bench.rows(), floor.postgresql_indexes(two.database, name))
    bench.postgresql.drop(scratch)
    decode_seconds = decoded.timing.median
    yield Figure(
        SECTION,
        "full-history import of 1M adds into PostgreSQL, 2 workers",
        Kind.COST,
        1.6,
        two.imported.seconds,
        (decode_seconds + load.load_seconds + load.index_seconds) / CORES,
        "floor",
        note=f"floor = (decode {decode_seconds:.1f} s + COPY {load.load_seconds:.1f} s + indexes "
        f"{load.index_seconds:.1f} s) ÷ {CORES} cores; {load.rows:,} rows",
    )
    yield _spent("full-history import of 1M adds, 2 workers", two)
    yield from _memory("full history", two)
    yield from _swap(bench, two)
    alone = bench.postgresql.new_database()
    one = bench.import_into(alone, table, workers=1)
    bench.postgresql.drop(alone)
    yield Figure(
        SECTION,
        "the same, 1 worker ÷ 2 workers",
        Kind.GAIN,
        1.7,
        two.imported.seconds,
        one.imported.seconds,
        "1 worker",
    )
    yield _spent("full-history import of 1M adds, 1 worker", one)


def _spent(name: str, catalogued: Catalogued) -> Breakdown:
    """Wall time of the whole command by stages."""
    imported = catalogued.imported
    stages = {str(k): float(v) for k, v in imported.answer.get("stage_seconds", {}).items()}
    swap = float(imported.answer["swap_ms"]) / 1000
    inside = float(imported.answer["seconds"])
    return Breakdown(
        name,
        (
            ("start of the interpreter and the workers, and their end", imported.seconds - inside),
            ("list the log, open the catalog, clean up", inside - sum(stages.values()) - swap),
            *stages.items(),
            ("swap", swap),
        ),
    )


def _memory(what: str, catalogued: Catalogued) -> Iterator[Entry]:
    run = catalogued.imported.run
    yield Figure(
        SECTION, f"{what}: peak of a worker", Kind.LIMIT, 600, run.children_peak_mb, unit="MB"
    )
    yield Figure(
        SECTION, f"{what}: peak of the client", Kind.LIMIT, 300, run.root_peak_mb, unit="MB"
    )


def _swap(bench: Workbench, large: Catalogued) -> Iterator[Entry]:
    small = bench.catalogued(bench.postgresql, bench.full_small())
    large_ms, small_ms = (float(c.imported.answer["swap_ms"]) for c in (large, small))
    yield Figure(
        SECTION,
        "swap transaction, 1M rows",
        Kind.LIMIT,
        100,
        large_ms,
        unit="ms",
        note=f"with a tenth of the rows {small_ms:.1f} ms",
    )


def tiny_commits(bench: Workbench) -> Iterator[Entry]:
    """100,000 one-action commits against delta-rs opening the log."""
    table = bench.tiny()
    database = bench.postgresql.new_database()
    ours = bench.import_into(database, table)
    bench.postgresql.drop(database)
    theirs = bench.delta_rs("open_table", str(table))
    yield Figure(
        SECTION,
        "100,000 one-action commits",
        Kind.COST,
        0.8,
        ours.imported.seconds,
        theirs.timing.median,
        "delta-rs open",
        note=f"delta-rs peaks at {theirs.peak_mb:,.0f} MB, ours at "
        f"{ours.imported.run.peak_mb:,.0f} MB in one process",
    )


def from_s3(bench: Workbench) -> Iterator[Entry]:
    """10,000 one-action commits in S3, in one process, against delta-rs opening the log there."""
    table = bench.tiny(10_000)
    with buckets.bucket() as bucket, patch.dict(os.environ, bucket.environment):
        url = bucket.upload(table)
        ours: list[Imported] = []
        theirs: list[Probe] = []
        for _ in range(S3_RUNS):
            database = bench.postgresql.new_database()
            ours.append(import_table(url, database, name=TABLE_NAME, workers=0))
            bench.postgresql.drop(database)
            theirs.append(delta_rs.run("open_table", url))
    live = read_facts(table)["live"]
    answer = ours[0].answer
    if ours[0].live_files != live:
        raise RuntimeError(f"{ours[0].live_files} live files, not {live}")
    yield Figure(
        SECTION,
        f"{live:,} one-action commits in S3, in one process",
        Kind.COST,
        1.5,
        Timing(tuple(run.seconds for run in ours)).median,
        joined(theirs).timing.median,
        "delta-rs open",
        note=f"{answer['requests']:,} requests, {answer['read_bytes']:,} bytes; a server without "
        "latency, on the same machine; of ours the import itself "
        f"{answer['seconds']:.2f} s",
    )


def fast_import(bench: Workbench) -> Iterator[Entry]:
    """1M live files from a checkpoint against delta-rs listing them."""
    table = bench.fresh()
    database = bench.postgresql.new_database()
    ours = bench.import_into(database, table, mode="fast")
    bench.postgresql.drop(database)
    theirs = bench.delta_rs("open_and_actions", str(table))
    yield Figure(
        SECTION,
        "fast import of 1M live files from a checkpoint",
        Kind.COST,
        2.5,
        ours.imported.seconds,
        theirs.timing.median,
        "delta-rs open + get_add_actions",
    )


def diff(bench: Workbench) -> Iterator[Entry]:
    """`dl diff` of a million files against delta-rs listing them."""
    table = bench.full()
    source = bench.catalogued(bench.postgresql, table)
    bench.say("dl diff")
    ours = diff_table(table, source.database, name=TABLE_NAME)
    theirs = bench.delta_rs("open_and_actions", str(table))
    yield Figure(
        SECTION,
        "dl diff of 1M files",
        Kind.COST,
        2.5,
        ours.seconds,
        theirs.timing.median,
        "delta-rs open + get_add_actions",
    )
    yield Figure(SECTION, "dl diff: peak of any process", Kind.LIMIT, 600, ours.peak_mb, unit="MB")


def catch_up(bench: Workbench) -> Iterator[Entry]:
    """10 commits of 100 adds on a million files that the catalog has."""
    table = bench.copy(bench.full())
    database = bench.postgresql.new_database()
    bench.import_into(database, table)
    append(table, commits=10, adds_per_commit=100)
    bench.say("catch-up")
    ours = import_table(table, database, name=TABLE_NAME, workers=0)
    live = read_facts(table)["live"]
    if ours.answer["status"] != "caught_up" or ours.live_files != live:
        raise RuntimeError(f"{ours.answer['status']}, {ours.live_files} live files, not {live}")
    theirs = bench.delta_rs("open_table", str(table))
    bench.postgresql.drop(database)
    yield Figure(
        SECTION,
        "catch-up of 10 commits on 1M files",
        Kind.COST,
        0.1,
        ours.seconds,
        theirs.timing.median,
        "delta-rs open",
        note=f"of it in the import itself {ours.answer['seconds']:.2f} s, the rest is the start "
        "of the interpreter",
    )


def large_catch_up(bench: Workbench) -> Iterator[Entry]:
    """500 commits of 1,000 adds on 100,000 files, against a fresh import of as many."""
    per_commit = bench.count(500_000) // 500
    table = bench.copy(bench.full_small())
    database, other = bench.postgresql.new_database(), bench.postgresql.new_database()
    bench.import_into(database, table)
    append(table, commits=500, adds_per_commit=per_commit)
    live = read_facts(table)["live"]
    bench.say("large catch-up")
    ours = import_table(table, database, name=TABLE_NAME)
    if ours.answer["status"] != "caught_up" or ours.live_files != live:
        raise RuntimeError(f"{ours.answer['status']}, {ours.live_files} live files, not {live}")
    fresh = bench.import_into(other, table).imported
    for each in (database, other):
        bench.postgresql.drop(each)
    adds = int(ours.answer["adds"])
    of_as_many = fresh.seconds * adds / int(fresh.answer["adds"])
    yield Figure(
        SECTION,
        f"catch-up of {adds:,} adds in 500 commits, PostgreSQL, 2 workers",
        Kind.COST,
        1.0,
        ours.seconds,
        of_as_many,
        "a fresh import, for as many adds",
    )
    yield Figure(
        SECTION, "the same: peak of any process", Kind.LIMIT, 600, ours.run.peak_mb, unit="MB"
    )


def sqlite(bench: Workbench) -> Iterator[Entry]:
    """1M adds into SQLite against one executemany of the same rows."""
    table = bench.full()
    rows = bench.rows()
    ours = bench.catalogued_sqlite(table)
    bench.say("floor: SQLite")
    indexes = floor.sqlite_indexes(Path(ours.database), files_table(ours.database))
    load = floor.sqlite(bench.folder / "floor.sqlite", rows, indexes)
    yield _bulk_load("SQLite", ours, load)


def mariadb(bench: Workbench) -> Iterator[Entry]:
    """1M adds into MariaDB against LOAD DATA of the same rows."""
    server = bench.mariadb
    rows = bench.rows()
    ours = bench.catalogued(server, bench.full())
    bench.say("floor: MariaDB")
    indexes = floor.mariadb_indexes(ours.database, files_table(ours.database))
    scratch = server.new_database()
    load = floor.mariadb(scratch, rows, indexes, bench.folder)
    server.drop(scratch)
    yield _bulk_load("MariaDB", ours, load)


def _bulk_load(database: str, ours: Catalogued, load: floor.Load) -> Figure:
    return Figure(
        SECTION,
        f"full-history import of 1M adds into {database}",
        Kind.COST,
        2.0,
        ours.imported.seconds,
        load.load_seconds,
        "bare bulk load of the same rows",
        note=f"the same indexes on the bare table take {load.index_seconds:.1f} s more",
    )


def large(bench: Workbench) -> Iterator[Entry]:
    """5M adds: memory must not grow."""
    table = bench.full_large()
    database = bench.postgresql.new_database()
    ours = bench.import_into(database, table)
    bench.postgresql.drop(database)
    yield from _memory("full history of 5M adds", ours)


FIRST: dict[str, Callable[[Workbench], Iterator[Entry]]] = {"import": full_history}
"""What the reading figures then read."""

PARTS: dict[str, Callable[[Workbench], Iterator[Entry]]] = {
    "diff": diff,
    "tiny": tiny_commits,
    "s3": from_s3,
    "fast": fast_import,
    "catch-up": catch_up,
    "large-catch-up": large_catch_up,
    "sqlite": sqlite,
    "mariadb": mariadb,
}

ON_DEMAND: dict[str, Callable[[Workbench], Iterator[Entry]]] = {"large": large}
"""Parts that a plain run leaves out for their size."""
