"""The figures of cutover and rollback while file-based writers go on, and of estimates."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.moving import generate
from benchmarks.report import Entry, Figure, Kind
from benchmarks.workbench import Workbench

SECTION = "Moving over and back"
FILES = 1_000_000
ROUNDS = 30
WRITERS = 4
_SECONDS = 7_200
_SIZES = (30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 200_000, 300_000)


def moving(bench: Workbench) -> Iterator[Entry]:
    """Thirty cutovers under four delta-rs appenders, on disk and on S3; estimates."""
    for where, most, options in (("local", 500, ()), ("S3", 1_500, ("--s3",))):
        yield from _freezes(bench, where, most, options)
    yield from _estimates(bench)


def _freezes(
    bench: Workbench, where: str, most: float, options: tuple[str, ...]
) -> Iterator[Entry]:
    files = max(round(FILES * bench.scale), 1_000)
    rounds = max(round(ROUNDS * bench.scale), 3)
    bench.say(f"{rounds} cutovers of {files:,} files, {where}")
    numbers = ("--files", str(files), "--rounds", str(rounds), "--writers", str(WRITERS))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.moving", *numbers, *options],
        stdout=subprocess.PIPE,
        timeout=_SECONDS,
        check=True,
    )
    found = json.loads(done.stdout)
    of = f"{where}, {WRITERS} delta-rs appenders, {files:,} live files"
    note = f"{rounds} rounds, {found['commits of writers']} commits of others"
    for name, limit, key in (
        ("freeze", most, "freeze ms"),
        ("rollback", 1_000, "rollback ms"),
        ("SQL reads what files committed", 1_000, "seen ms"),
    ):
        spread = found[key]
        told = f"{note}; median {spread['p50']}, most {spread['max']}"
        yield Figure(
            SECTION, f"{name}, p95: {of}", Kind.LIMIT, limit, spread["p95"], unit="ms", note=told
        )
    alone = found["without the catalog ms"]
    name = f"rollback without the catalog: {of}"
    yield Figure(SECTION, name, Kind.LIMIT, 5_000, alone, unit="ms")
    lost = found["lost"] + found["behind a fence"] + (not found["parity"])
    name = f"commits lost, behind a fence, or that differ: {of}"
    yield Figure(SECTION, name, Kind.LIMIT, 0, lost, unit="commits", note=note)


def _estimates(bench: Workbench) -> Iterator[Entry]:
    """Tables of ten sizes: what was said before against what it took."""
    from deltalakedb.facade.migrator import DeltaTableMigrator

    ratios = []
    with tempfile.TemporaryDirectory(prefix="dl-estimates-", dir=bench.folder) as folder:
        for number, files in enumerate(_SIZES):
            place = Path(folder) / f"t{number}"
            generate(place, max(round(files * bench.scale), 10))
            migrator = DeltaTableMigrator(str(place), f"sqlite:///{folder}/catalog.sqlite")
            said = migrator.analyze_source().estimated_seconds
            done = migrator.migrate_table()
            if not done.success:
                raise RuntimeError(done.error_message)
            ratios.append(said / done.seconds)
    told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    off = sum(not 0.5 <= ratio <= 2 for ratio in ratios)
    name = "estimates that are off by more than 2, of 10 tables"
    yield Figure(SECTION, name, Kind.LIMIT, 1, off, unit="tables", note=f"said ÷ took: {told}")


ON_DEMAND = {"moving": moving}
