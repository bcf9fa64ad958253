"""The figures of changing tables: deletes at once, MERGE, OPTIMIZE, vacuum, checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa

import deltalakedb
from benchmarks import measure
from benchmarks.measure import Probe
from benchmarks.ours_write import bulk_rows
from benchmarks.places import PROCESSES, Places, appended, seconds_of
from benchmarks.report import Entry, Figure, Kind
from benchmarks.workbench import TABLE_NAME, Workbench
from benchmarks.writers import Appended

SECTION = "Change"
ROWS = 800_000
GIGABYTE_ROWS = 40_000_000


def _rows(count: int) -> pa.Table:
    return pa.table({"id": pa.array(range(count), pa.int64()), "value": pa.array([0.0] * count)})


def _figure(
    name: str, kind: Kind, target: float, ours: float, theirs: float, note: str = ""
) -> Figure:
    return Figure(SECTION, name, kind, target, ours, theirs, "delta-rs", note=note)


def _limit(name: str, target: float, found: float, unit: str, note: str = "") -> Figure:
    return Figure(SECTION, name, Kind.LIMIT, target, found, unit=unit, note=note)


def _shared(kind: str, table: str, processes: int, first: int = 0) -> tuple[str, list[str]]:
    """A kind's targets, ids apart."""
    targets = [{"table": table, "first": first + n, "step": processes} for n in range(processes)]
    return kind, [json.dumps(target) for target in targets]


def deletes(bench: Workbench) -> Iterator[Entry]:
    """Eight processes delete rows of their own of one file."""
    places, seconds = Places(bench), seconds_of(bench)
    rows = _rows(ROWS)
    on: dict[str, str | None] = {"delta.enableDeletionVectors": "true"}
    [uri] = places.ours(1, schema=rows.schema, properties=on)
    with closing(deltalakedb.connect_to_table(uri)) as table:
        table.append(rows)
    kind, targets = _shared("ours-deletes", uri, PROCESSES)
    mine = appended(bench, kind, targets, PROCESSES, seconds)
    with closing(deltalakedb.connect_to_table(uri, cache=False)) as table:
        left = table.snapshot().count_rows()
    folder = bench.folder / "deletes"
    from deltalake import write_deltalake

    write_deltalake(str(folder), rows)
    kind, targets = _shared("delta-rs-deletes", str(folder), PROCESSES)
    theirs = appended(bench, kind, targets, PROCESSES, seconds)
    where = "deletes of disjoint rows of one file, 8 processes"
    yield _limit(f"seconds each, {where}", 0.01, mine.seconds_each, "s", mine.note)
    yield _figure(where, Kind.GAIN, 20, mine.seconds_each, theirs.seconds_each, theirs.note)
    yield _limit(f"failures, {where}", 0, sum(mine.failures.values()), "failures")
    wrong = abs(ROWS - left - mine.acknowledged)
    yield _limit(f"rows wrong, {where}", 0, wrong, "rows")


def beside_optimize(bench: Workbench) -> Iterator[Entry]:
    """Updates beside compaction, and beside appends of other ids."""
    places, seconds = Places(bench), seconds_of(bench)
    schema = bulk_rows(0).schema
    on: dict[str, str | None] = {"delta.enableDeletionVectors": "true"}
    both = on | {"delta.isolationLevel": "Serializable"}
    for what, properties in (("OPTIMIZE", on), ("appends", both)):
        [uri] = places.ours(1, schema=schema, properties=properties)
        with closing(deltalakedb.connect_to_table(uri)) as table:
            for number in range(20):
                from benchmarks.changes import shifted

                table.append(shifted(bulk_rows(2_000), number * 2_000))
        found = _beside(bench, uri, what, seconds)
        name = (
            "failures of UPDATE against OPTIMIZE in a loop"
            if what == "OPTIMIZE"
            else "conflicts of UPDATE against appends of other ids, Serializable"
        )
        yield _limit(name, 0, sum(found.failures.values()), "failures", found.note)


def _beside(bench: Workbench, uri: str, what: str, seconds: float) -> Appended:
    import threading

    from benchmarks import writers

    stop = threading.Event()
    trouble: list[BaseException] = []

    def other() -> None:
        try:
            with closing(deltalakedb.connect_to_table(uri, cache=False)) as table:
                number = 0
                while not stop.is_set():
                    number += 1
                    if what == "OPTIMIZE":
                        table.optimize.compact()
                    else:
                        from benchmarks.changes import shifted

                        table.append(shifted(bulk_rows(10), 1_000_000 + number * 10))
        except BaseException as error:  # noqa: BLE001 - told below
            trouble.append(error)

    beside = threading.Thread(target=other)
    beside.start()
    try:
        _, targets = _shared("", uri, 2)
        found = writers.append("ours-updates", targets, seconds, rows=20)
    finally:
        stop.set()
        beside.join()
    if trouble:
        raise trouble[0]
    bench.say(f"updates beside {what}: {found.note}")
    return found


class _Pair:
    """The same table, ours and delta-rs's."""

    def __init__(self, bench: Workbench, name: str, files: int, rows: int) -> None:
        bench.say(f"making {name}: {files} files of {rows:,} rows")
        database = bench.postgresql.new_database()
        self.files, self.rows = str(files), str(rows)
        self.folder = bench.folder / "change" / f"{name}-ours"
        self.theirs = bench.folder / "change" / f"{name}-delta-rs"
        self.uri = f"deltasql://{database}?table={name}"
        arguments = (self.uri, str(self.folder), self.files, self.rows)
        measure.probe("benchmarks.changes:made_ours", *arguments)
        measure.probe("benchmarks.changes:made_delta_rs", str(self.theirs), self.files, self.rows)

    def ours(self, change: str, *arguments: str) -> Probe:
        """What a change takes."""
        target = f"benchmarks.changes:ours_{change}"
        return measure.probe(target, self.uri, str(self.folder), *arguments)

    def delta_rs(self, change: str, *arguments: str) -> Probe:
        """What delta-rs takes for it."""
        return measure.probe(f"benchmarks.changes:delta_rs_{change}", str(self.theirs), *arguments)


def _peaks(mine: Probe, theirs: Probe) -> str:
    return f"peaks {mine.peak_mb:,.0f} MB, delta-rs {theirs.peak_mb:,.0f} MB"


def scattered(bench: Workbench) -> Iterator[Entry]:
    """A row in each of 100 files."""
    # 18 bytes a row in the file.
    pair = _Pair(bench, "scattered", 100, max(2_000, round(550_000 * bench.scale)))
    mine = pair.ours("scattered", pair.files, pair.rows)
    theirs = pair.delta_rs("scattered", pair.files, pair.rows)
    name = "delete of a row in each of 100 files"
    yield _figure(f"time, {name}", Kind.COST, 0.2, mine.timing.median, theirs.timing.median)
    written = (float(mine.result["bytes"]), float(theirs.result["bytes"]))
    yield Figure(SECTION, f"bytes written, {name}", Kind.COST, 0.01, *written, "delta-rs", unit="B")


def merges(bench: Workbench) -> Iterator[Entry]:
    """MERGE of few rows, and of all."""
    total = max(100_000, round(GIGABYTE_ROWS * bench.scale))
    pair = _Pair(bench, "merged", 20, total // 20)
    rows = str(total // 20 * 20)
    size = f"{total * 26 / 1e9:.2f} GB"
    for changed, target in (("1000", 0.5), (rows, 1.0)):
        mine = pair.ours("merge", rows, changed)
        theirs = pair.delta_rs("merge", rows, changed)
        name = f"MERGE of {int(changed):,} rows into {size}"
        note = _peaks(mine, theirs)
        yield _figure(
            f"time, {name}", Kind.COST, target, mine.timing.median, theirs.timing.median, note
        )
        if changed == "1000":
            yield _limit(f"peak memory, {name}", 1_000, mine.peak_mb, "MB")


def optimizes(bench: Workbench) -> Iterator[Entry]:
    """Compaction and z-order of small files, and again."""
    total = max(100_000, round(GIGABYTE_ROWS * bench.scale))
    for what, columns in (("compaction", ()), ("z-order", ("value", "kind"))):
        pair = _Pair(bench, what.replace("-", ""), 100, total // 100)
        mine, theirs = pair.ours("compact", *columns), pair.delta_rs("compact", *columns)
        name = f"{what} of {total * 26 / 1e9:.2f} GB in 100 files"
        yield _figure(
            f"time, {name}",
            Kind.COST,
            1.0,
            mine.timing.median,
            theirs.timing.median,
            _peaks(mine, theirs),
        )
        again = pair.ours("compact", *columns)
        yield _limit(f"bytes written again, {name}", 0, float(again.result["bytes"]), "B")
        opened = float(again.result["files_opened"])
        yield _limit(f"data files opened again, {name}", 0, opened, "files")


def large(bench: Workbench) -> Iterator[Entry]:
    """Vacuum, checkpoints and conflict checks of a table of many files."""
    table = bench.fresh()
    few = bench.fresh(1_000)
    count = bench.count(1_000_000)
    found: dict[Path, str] = {}
    for each in (table, few):
        imported = bench.import_into(bench.postgresql.new_database(), bench.copy(each))
        found[each] = imported.database
        uri = f"deltasql://{imported.database}?table={TABLE_NAME}"
        with closing(deltalakedb.connect_to_table(uri)) as opened:
            opened.set_authority("sql")
    many, small = (
        measure.probe("benchmarks.changes:ten_winners", found[each], TABLE_NAME)
        for each in (table, few)
    )
    yield Figure(
        SECTION,
        f"COMMIT after ten winners at {count:,} files",
        Kind.COST,
        1.3,
        float(many.result["seconds"]),
        float(small.result["seconds"]),
        "1,000 files",
    )
    uri = f"deltasql://{found[table]}?table={TABLE_NAME}"
    mine = measure.probe("benchmarks.changes:ours_vacuum", uri)
    theirs = measure.probe("benchmarks.changes:delta_rs_vacuum", str(table))
    name = f"vacuum, a dry run at {count:,} files"
    yield _figure(name, Kind.COST, 0.05, mine.timing.median, theirs.timing.median)
    place = str(bench.folder / f"{table.name}-copy")
    condition = "date = DATE '2024-03-01' AND region IN ('eu', 'us')"
    made = measure.probe("benchmarks.changes:checkpoints", uri, place, condition).result
    name = f"V2 checkpoint upon an earlier one, {made['files']:,} of {count:,} files changed"
    for what, target, unit in (("seconds", 0.1, "s"), ("bytes", 0.05, "B")):
        yield Figure(
            SECTION,
            f"{what}, {name}",
            Kind.COST,
            target,
            float(made[what]),
            float(made[f"whole_{what}"]),
            "a whole one",
            unit=unit,
        )


def dask(bench: Workbench) -> Iterator[Entry]:
    """A DataFrame of two workers."""
    rows = str(max(100_000, round(GIGABYTE_ROWS * bench.scale)))
    [uri] = Places(bench).ours(1, schema=bulk_rows(0).schema)
    mine = measure.probe("benchmarks.changes:ours_dask", uri, rows, "8")
    theirs = bench.delta_rs("bulk", str(bench.folder / "dask-bulk"), rows)
    seconds = float(mine.result["seconds"])
    name = f"Dask DataFrame of {int(rows) * 26 / 1e9:.2f} GB, two workers"
    yield _figure(name, Kind.COST, 1.0, seconds, theirs.timing.median)


def change(bench: Workbench) -> Iterator[Entry]:
    """All of it."""
    for part in (deletes, beside_optimize, scattered, merges, optimizes, large, dask):
        bench.say(f"change: {part.__name__}")
        yield from part(bench)
