"""The write figures: appending processes against a bare path, DuckLake and delta-rs; large writes.

Rates are given as seconds for an acknowledged append of all processes together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import deltalakedb
from benchmarks import ducklake, measure, ours_write
from benchmarks.appender import rows_of
from benchmarks.ours_read import table_uri
from benchmarks.places import PROCESSES, Places, appended, seconds_of
from benchmarks.report import Entry, Figure, Kind
from benchmarks.servers import ServerMissing
from benchmarks.workbench import TABLE_NAME, Workbench
from benchmarks.writers import Appended

SECTION = "Write"
Targets = Callable[[int], list[str]]


def appends(bench: Workbench) -> Iterator[Entry]:
    """One process, eight on one table, eight on eight tables; ours against the three others."""
    seconds = seconds_of(bench)
    places = Places(bench)
    peers: list[tuple[str, Targets, str]] = [
        ("bare", places.bare, "the bare path"),
        ("delta-rs", places.delta_rs, "delta-rs"),
    ]
    try:
        lake = ducklake.installed()
        peers.append(("ducklake", lambda tables: places.ducklake(lake, tables), "DuckLake"))
        pythons = {"ducklake": str(lake.python)}
    except ServerMissing as missing:
        bench.say(str(missing))
        pythons = {}
    targets = {"bare": (2.0, 2.0, 2.0), "ducklake": (2.0, 3.5, 4.5), "delta-rs": (0, 15.0, 0)}
    cases = (
        ("1 process", 1, 1),
        (f"{PROCESSES} processes on one table", PROCESSES, 1),
        (f"{PROCESSES} processes on {PROCESSES} tables", PROCESSES, PROCESSES),
    )
    ours: list[Appended] = []
    for case, (name, processes, tables) in enumerate(cases):
        mine = appended(bench, "ours", places.ours(tables), processes, seconds)
        ours.append(mine)
        for kind, make, against in peers:
            theirs = appended(bench, kind, make(tables), processes, seconds, pythons.get(kind))
            if target := targets[kind][case]:
                yield Figure(
                    SECTION,
                    f"append of 10 rows, {name}",
                    Kind.COST if kind == "bare" else Kind.GAIN,
                    target,
                    mine.seconds_each,
                    theirs.seconds_each,
                    against,
                    note=f"ours {mine.note}; {against} {theirs.note}",
                )
                if kind == "delta-rs":
                    yield _synced(bench, places, theirs, seconds)
        failed = sum(mine.failures.values())
        yield Figure(SECTION, f"our failures, {name}", Kind.LIMIT, 0, failed, unit="failures")
    one, many = ours[1], ours[2]
    yield Figure(
        SECTION,
        "append on 8 tables against on one, 8 processes",
        Kind.GAIN,
        1.5,
        many.seconds_each,
        one.seconds_each,
        "one table",
    )
    if one.seconds:
        yield _spread("PostgreSQL, 8 processes on one table", one)
        name = "95% of versions are in the log after COMMIT within, 8 processes on one table"
        yield Figure(SECTION, name, Kind.LIMIT, 1.0, one.lag(0.95), note=one.note)


def _synced(bench: Workbench, places: Places, theirs: Appended, seconds: float) -> Figure:
    """The same where the log ratifies, so that each commit waits for its file's sync."""
    mine = appended(bench, "ours", places.ours(1, authority="log"), PROCESSES, seconds)
    return Figure(
        SECTION,
        f"append of 10 rows, {PROCESSES} processes on one table, each synced in the log",
        Kind.GAIN,
        8.0,
        mine.seconds_each,
        theirs.seconds_each,
        "delta-rs",
        note=f"ours {mine.note}",
    )


def appends_sqlite(bench: Workbench) -> Iterator[Entry]:
    """Eight processes on one table of a SQLite file: failures, and the longest wait."""
    targets = Places(bench).ours(1, f"sqlite:///{bench.folder / 'write.sqlite'}")
    found = appended(bench, "ours", targets, PROCESSES, seconds_of(bench))
    failed = sum(found.failures.values())
    where = "SQLite, 8 processes on one table"
    yield Figure(SECTION, f"failures, {where}", Kind.LIMIT, 0, failed, unit="failures")
    longest = max(found.seconds, default=float("inf"))
    yield Figure(SECTION, f"longest append, {where}", Kind.LIMIT, 1.0, longest, note=found.note)


def large_table(bench: Workbench) -> Iterator[Entry]:
    """One append at 900,000 live files; a full checkpoint of them."""
    table = bench.fresh(900_000)
    files = f"{bench.count(900_000):,} live files"
    # Copies come one after another at the same place.
    theirs = bench.delta_rs("append_one", str(bench.copy(table)))
    their_checkpoint = bench.delta_rs("checkpoint", str(bench.copy(table)))
    imported = bench.import_into(bench.postgresql.new_database(), bench.copy(table))
    uri = table_uri(imported.database, TABLE_NAME)
    with closing(deltalakedb.connect_to_table(uri)) as opened:
        opened.set_authority("sql")
    bench.postgresql.settle(imported.database)
    ours = measure.probe("benchmarks.ours_write:append_one", uri)
    yield Figure(
        SECTION,
        f"one append at {files}",
        Kind.GAIN,
        200,
        ours.timing.median,
        theirs.timing.median,
        "delta-rs",
        note=f"each opens the table and appends a row; delta-rs peaks at {theirs.peak_mb:,.0f} MB, "
        f"ours at {ours.peak_mb:,.0f} MB",
    )
    mine = measure.probe("benchmarks.ours_write:checkpoint", uri)
    yield Figure(
        SECTION,
        f"full checkpoint of {files}",
        Kind.COST,
        1.0,
        mine.timing.median,
        their_checkpoint.timing.median,
        "delta-rs, opened before",
        note=f"delta-rs peaks at {their_checkpoint.peak_mb:,.0f} MB",
    )
    name = f"peak memory of a full checkpoint of {files}"
    yield Figure(SECTION, name, Kind.LIMIT, 400, mine.peak_mb, unit="MB")
    bench.postgresql.drop(imported.database)


def many_commits(bench: Workbench) -> Iterator[Entry]:
    """The time of an append after 5,000 commits against after 100."""
    [target] = Places(bench).ours(1)
    table = deltalakedb.connect_to_table(target)
    total = max(300, round(5_000 * bench.scale))
    taken = []
    for number in range(total):
        rows = rows_of(number, 10)
        began = time.perf_counter()
        table.append(rows)
        taken.append(time.perf_counter() - began)
    table.close()
    early, late = sorted(taken[50:150])[50], sorted(taken[-100:])[50]
    name = f"append, median after {total:,} commits against after 100"
    yield Figure(SECTION, name, Kind.COST, 1.2, late, early, "after 100")


def bulk(bench: Workbench) -> Iterator[Entry]:
    """An append of 1 GB from Arrow against `write_deltalake`."""
    rows = max(10_000, round(40_000_000 * bench.scale))
    [target] = Places(bench).ours(1, schema=ours_write.bulk_rows(0).schema)
    mine = measure.probe("benchmarks.ours_write:bulk", target, str(rows))
    theirs = measure.probe("benchmarks.delta_rs:bulk", str(bench.folder / "bulk"), str(rows))
    yield Figure(
        SECTION,
        f"append of {float(mine.result['bytes']) / 1e9:.2f} GB from Arrow",
        Kind.COST,
        1.1,
        mine.timing.median,
        theirs.timing.median,
        "delta-rs",
        note=f"peaks {mine.peak_mb:,.0f} MB, delta-rs {theirs.peak_mb:,.0f} MB, the input included",
    )


def write(bench: Workbench) -> Iterator[Entry]:
    """All of it."""
    for part in (
        appends,
        appends_sqlite,
        large_table,
        many_commits,
        bulk,
    ):
        bench.say(f"write: {part.__name__}")
        yield from part(bench)


def _spread(where: str, found: Appended) -> Figure:
    return Figure(
        SECTION,
        f"p99 ÷ p50 of an append, {where}",
        Kind.COST,
        10,
        found.quantile(0.99),
        found.quantile(0.5),
        "p50",
    )
