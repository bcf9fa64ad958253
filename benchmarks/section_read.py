"""The reading figures: opening, planning and listing against delta-rs, on PostgreSQL and SQLite."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import Probe, Timing, joined, probe, run_process
from benchmarks.ours_read import table_uri
from benchmarks.questions import Questions
from benchmarks.report import Entry, Figure, Kind
from benchmarks.workbench import TABLE_NAME, Catalogued, Workbench

RUNS = 7
"""Fresh processes for a figure of milliseconds; the median counts."""
LIST_RUNS = 3
"""The same for whole lists."""
DELTA_RS_RUNS = 2
SQLITE_SHARE = 0.5
"""What SQLite must reach of each ratio."""

_CONNECT = """
import sys
import deltalakedb
deltalakedb.connect_to_table(sys.argv[1])
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""

_PLAN = """
import sys
import deltalakedb
uri, date, region = sys.argv[1:]
snapshot = deltalakedb.connect_to_table(uri, cache=False).snapshot()
print(snapshot.plan([("date", "=", date), ("region", "=", region)], ["path"]).num_rows)
"""
_PLAN_DELTA_RS = """
import sys
from deltalake import DeltaTable
path, date, region = sys.argv[1:]
print(len(DeltaTable(path).file_uris([("date", "=", date), ("region", "=", region)])))
"""


@dataclass
class Reader:
    """One catalogued table, asked by fresh processes."""

    database: str
    folder: Path
    _imports: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _warm: str | None = None

    @property
    def uri(self) -> str:
        return table_uri(self.database, TABLE_NAME)

    def _new_cache(self) -> str:
        return tempfile.mkdtemp(prefix="cache-", dir=self.folder)

    def cold(self, operation: str, *arguments: str, runs: int = RUNS) -> Probe:
        """With an empty cache folder for each process; the first is for its imports alone."""
        imports = self._imports_of(operation, arguments)
        return joined(
            [self._run(operation, self._new_cache(), arguments, imports) for _ in range(runs)]
        )

    def warm(self, operation: str, *arguments: str, runs: int = RUNS) -> Probe:
        """With the list of the head cached by another process."""
        if self._warm is None:
            self._warm = self._new_cache()
            self._run("full_list", self._warm)
        first = self._run(operation, self._warm, arguments)
        return joined(
            [self._run(operation, self._warm, arguments, first.imported) for _ in range(runs)]
        )

    def without_cache(self, operation: str, *arguments: str, runs: int = RUNS) -> Probe:
        """With caching switched off."""
        imports = self._imports_of(operation, arguments)
        return joined([self._run(operation, "", arguments, imports) for _ in range(runs)])

    def _imports_of(self, operation: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
        # The first run also brings the database's pages into memory: the figures are for a
        # database in use.
        if operation not in self._imports:
            found = self._run(operation, self._new_cache(), arguments).imported
            self._imports[operation] = found
        return self._imports[operation]

    def _run(
        self,
        operation: str,
        cache: str,
        arguments: tuple[str, ...] = (),
        imports: tuple[str, ...] = (),
    ) -> Probe:
        target = f"benchmarks.ours_read:{operation}"
        return probe(target, self.uri, cache, *arguments, imports=imports)


@dataclass(frozen=True)
class _Place:
    """A database to read from: its name, how a table gets into it, its share of the targets."""

    name: str
    share: float
    table: Callable[[Path, str], Catalogued]


@dataclass
class _Section:
    """The figures of one place."""

    bench: Workbench
    place: _Place
    folder: Path

    @property
    def title(self) -> str:
        return f"Reading, {self.place.name}"

    def reader(self, table: Path, mode: str = "full-history") -> Reader:
        return Reader(self.place.table(table, mode).database, self.folder)

    def gain(
        self,
        name: str,
        target: float,
        ours: Probe,
        theirs: Probe,
        files: int | None = None,
        note: str = "",
    ) -> Figure:
        """delta-rs ÷ ours, once both have given the right answer."""
        self.check(name, ours, theirs, files)
        return Figure(
            self.title,
            name,
            Kind.GAIN,
            target * self.place.share,
            ours.timing.median,
            theirs.timing.median,
            "delta-rs",
            ours_spread=ours.timing.spread,
            theirs_spread=theirs.timing.spread,
            note=note,
        )

    def check(self, name: str, ours: Probe, theirs: Probe, files: int | None) -> None:
        counts = {"ours": ours.result["files"], "delta-rs": theirs.result["files"]}
        if files is not None:
            counts["generated"] = files
        if len(set(counts.values())) != 1:
            told = ", ".join(f"{who} {count:,}" for who, count in counts.items())
            raise RuntimeError(f"{name}: different numbers of files: {told}")
        self.bench.say(f"{name}: {files or counts['ours']:,} files")

    def limit(self, name: str, target: float, value: float, unit: str, note: str = "") -> Figure:
        return Figure(self.title, name, Kind.LIMIT, target, value, unit=unit, note=note)

    def figures(self) -> Iterator[Entry]:
        """All rows, in an order that leaves the lists to the end."""
        full = self.bench.full()
        asked = self.bench.questions(full)
        # All imports come first: nothing else is to run while milliseconds are measured.
        reader, small = self.reader(full), self.reader(self.bench.full_small())
        few = self.reader(self.bench.fresh(90_000), "fast")
        yield from self.matching(reader, asked)
        yield from self.growth(reader, asked, small)
        yield from self.fresh(few)
        yield from self.small_things(reader)
        yield self.whole_process(reader, asked)
        yield from self.lists(reader, asked)

    def delta_rs(self, operation: str, asked: Questions, *arguments: str) -> Probe:
        return self.bench.delta_rs(operation, asked.path, *arguments, repeat=DELTA_RS_RUNS)

    def matching(self, reader: Reader, asked: Questions) -> Iterator[Figure]:
        partition = (asked.date, asked.region)
        ours = reader.cold("one_partition", *partition)
        theirs = self.delta_rs("one_partition", asked, *partition)
        name = "open + one-partition plan"
        yield self.gain(f"{name}, cold cache", 400, ours, theirs, asked.partition_files)
        yield Figure(
            self.title,
            f"peak memory, {name}, whole process",
            Kind.GAIN,
            12 * self.place.share,
            ours.peak_mb,
            theirs.peak_mb,
            "delta-rs",
            unit="MB",
        )
        point = ("id", str(asked.clustered_id))
        yield self.gain(
            "open + point lookup on a clustered column, cold cache",
            500,
            reader.cold("point", *point),
            self.delta_rs("point", asked, *point),
            asked.clustered_files,
        )
        middle = (str(asked.middle), asked.early, asked.region)
        yield self.gain(
            "open at a middle version + one-partition plan",
            400,
            reader.cold("middle_partition", *middle),
            self.delta_rs("middle_partition", asked, *middle),
        )
        yield self.gain(
            "to_pyarrow_dataset with a partition filter",
            300,
            reader.cold("dataset_partition", *partition),
            self.delta_rs("dataset_partition", asked, *partition),
            asked.partition_files,
        )

    def growth(self, reader: Reader, asked: Questions, small: Reader) -> Iterator[Figure]:
        few = self.bench.questions(self.bench.full_small())
        for name, operation, arguments in (
            ("one-partition plan", "one_partition", lambda q: (q.date, q.region)),
            ("clustered point lookup", "point", lambda q: ("id", str(q.clustered_id))),
            (
                "one-partition plan at a middle version",
                "middle_partition",
                lambda q: (str(q.middle), q.early, q.region),
            ),
        ):
            of_small = small.cold(operation, *arguments(few))
            of_full = reader.cold(operation, *arguments(asked))
            yield Figure(
                self.title,
                f"growth from 100,000 to 1M adds: {name}",
                Kind.COST,
                1.3,
                of_full.timing.median,
                of_small.timing.median,
                "100,000 adds",
                ours_spread=of_full.timing.spread,
                theirs_spread=of_small.timing.spread,
                note=f"{of_full.result['files']} files of the large table, "
                f"{of_small.result['files']} of the small one",
            )

    def fresh(self, reader: Reader) -> Iterator[Figure]:
        asked = self.bench.questions(self.bench.fresh(90_000))
        partition = (asked.date, asked.region)
        yield self.gain(
            "open + one-partition plan, 90,000 files with a fresh checkpoint",
            40,
            reader.cold("one_partition", *partition),
            self.delta_rs("one_partition", asked, *partition),
        )

    def small_things(self, reader: Reader) -> Iterator[Figure]:
        runs = [run_process([sys.executable, "-c", _CONNECT, reader.uri]) for _ in range(RUNS)]
        seconds = Timing(tuple(run.seconds for run in runs))
        peak = max(int(run.stdout) / 1024 for run in runs)
        name = "import deltalakedb + connect_to_table, a whole interpreter"
        yield self.limit(name, 0.5, seconds.median, "s")
        yield self.limit(f"{name}, peak", 120, peak, "MB")
        second = reader.without_cache("second_snapshot")
        yield self.limit(
            "a second snapshot in the same process",
            1,
            float(second.result["questions"]),
            "queries",
            note=f"{second.timing.median * 1000:.2f} ms",
        )

    def whole_process(self, reader: Reader, asked: Questions) -> Figure:
        """From the interpreter's start to its end, imports included, in turns."""
        seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
        for run in range(RUNS):
            sides = [("ours", _PLAN, reader.uri), ("theirs", _PLAN_DELTA_RS, str(asked.path))]
            for side, program, where in sides[: 2 if run < DELTA_RS_RUNS else 1]:
                command = [sys.executable, "-c", program, where, asked.date, asked.region]
                found = run_process(command)
                if int(found.stdout) != asked.partition_files:
                    raise AssertionError(f"{side}: {found.stdout}")
                seconds[side].append(found.seconds)
        ours, theirs = (Timing(tuple(each)) for each in seconds.values())
        return Figure(
            self.title,
            "python -c: import, open, plan one partition, print; the whole process",
            Kind.GAIN,
            30,
            ours.median,
            theirs.median,
            "delta-rs",
            ours_spread=ours.spread,
            theirs_spread=theirs.spread,
        )

    def lists(self, reader: Reader, asked: Questions) -> Iterator[Figure]:
        point = ("uid", str(asked.unclustered_uid))
        theirs = self.delta_rs("point", asked, *point)
        name = "open + point lookup on an unclustered column"
        cold = reader.cold("point", *point)
        yield self.gain(f"{name}, cold cache", 15, cold, theirs, asked.unclustered_files)
        warm = reader.warm("point", *point)
        yield self.gain(f"{name}, warm cache", 250, warm, theirs, asked.unclustered_files)
        name = "full list as Arrow"
        theirs = self.delta_rs("full_list", asked)
        cold = reader.cold("full_list", runs=LIST_RUNS)
        bare = reader.without_cache("full_list", runs=LIST_RUNS)
        yield self.gain(
            f"{name}, cold cache",
            4,
            cold,
            theirs,
            asked.live,
            note=f"the list is also written to the cache; without one {bare.timing.median:.2f} s",
        )
        warm = reader.warm("full_list")
        yield self.gain(f"{name}, warm cache", 60, warm, theirs, asked.live)


def _read(bench: Workbench, place: _Place) -> Iterator[Entry]:
    with tempfile.TemporaryDirectory(dir=bench.folder, prefix="read-") as folder:
        yield from _Section(bench, place, Path(folder)).figures()


def postgresql(bench: Workbench) -> Iterator[Entry]:
    """Reading from PostgreSQL."""
    server = bench.postgresql

    def table(path: Path, mode: str) -> Catalogued:
        catalogued = bench.catalogued(server, path, mode=mode)
        server.settle(catalogued.database)
        return catalogued

    yield from _read(bench, _Place("PostgreSQL", 1.0, table))


def sqlite(bench: Workbench) -> Iterator[Entry]:
    """Reading from a SQLite file, against half of each target."""

    def table(path: Path, mode: str) -> Catalogued:
        return bench.catalogued_sqlite(path, mode=mode)

    yield from _read(bench, _Place("SQLite", SQLITE_SHARE, table))


PARTS: dict[str, Callable[[Workbench], Iterator[Entry]]] = {
    "read": postgresql,
    "read-sqlite": sqlite,
}
