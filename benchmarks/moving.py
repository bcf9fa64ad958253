"""How long a cutover keeps everybody from writing, and a rollback.

    python -m benchmarks.moving --files 1000000 --rounds 30 --writers 4

The freeze of a round is the time from the last commit that a file-based writer was told of to the
moment from which SQL can commit. Writers append by delta-rs all the time, each a process; what they
were told of is counted in the table at the end. Proofs are outside the freeze, and left out but for
the last one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

_PAUSE_SECONDS = 0.02
_PATIENCE_SECONDS = 600.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.moving")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--database", help="by default a SQLite file")
    parser.add_argument("--append", nargs=3, metavar=("TABLE", "FOLDER", "FIRST"))
    given = parser.parse_args()
    if given.append:
        append(*given.append)
        return
    with tempfile.TemporaryDirectory(prefix="dl-moving-") as folder:
        found = measured(Path(folder), given.files, given.rounds, given.writers, given.database)
    print(json.dumps(found, indent=1))


def append(table: str, folder: str, first: str) -> None:
    """A writer: a line `time number` for each commit that it was told of."""
    import deltalake
    import pyarrow as pa

    number = int(first)
    handle = deltalake.DeltaTable(table)
    with (Path(folder) / first).open("w") as told:
        while not (Path(folder) / "stop").exists():
            try:
                deltalake.write_deltalake(handle, pa.table({"x": [number]}), mode="append")
                told.write(f"{time.time()} {number}\n")
                told.flush()
            except deltalake.exceptions.DeltaError:
                time.sleep(_PAUSE_SECONDS)
                handle.update_incremental()
            number += 1


def told_of(folder: Path) -> list[tuple[float, int]]:
    """What the writers were told of, by time."""
    lines = [
        line.split() for each in folder.glob("[0-9]*") for line in each.read_text().split("\n")
    ]
    return sorted((float(line[0]), int(line[1])) for line in lines if len(line) == 2)


def measured(
    folder: Path, files: int, rounds: int, writers: int, database: str | None
) -> dict[str, object]:
    """Milliseconds of each round, and what became of the writers' commits."""
    from deltalakedb.migrate.cut import cutover_table
    from deltalakedb.migrate.move import move_table
    from deltalakedb.migrate.options import MoveOptions
    from deltalakedb.migrate.rollback import rollback_table
    from deltalakedb.parity.run import diff_table

    place, acknowledged = folder / "t", folder / "writers"
    acknowledged.mkdir()
    generate(place, files)
    url = database or f"sqlite:///{folder}/catalog.sqlite"
    began = time.perf_counter()
    options = MoveOptions(strategy="hybrid", until="ready", validate=False)
    move_table(str(place), database=url, options=options)
    imported = time.perf_counter() - began
    command = [sys.executable, "-m", "benchmarks.moving", "--append", str(place), str(acknowledged)]
    running = [
        subprocess.Popen([*command, str(1_000_000 * (number + 1))]) for number in range(writers)
    ]
    freezes: list[float] = []
    backs: list[float] = []
    try:
        for number in range(rounds):
            wait_for_more(acknowledged, writers)
            fenced: list[float] = []

            def on(point: str, facts: Mapping[str, object], fenced: list[float] = fenced) -> None:
                if point == "fenced":
                    fenced.append(time.time())

            last = number == rounds - 1
            cutover_table("t", database=url, options=MoveOptions(validate=last), on=on)
            before = [moment for moment, _ in told_of(acknowledged) if moment <= fenced[0]]
            freezes.append((fenced[0] - max(before)) * 1000)
            backs.append(rollback_table("t", database=url, rollback_point=False).seconds * 1000)
    finally:
        (acknowledged / "stop").touch()
        for each in running:
            each.wait()
    move_table(str(place), database=url, options=options)
    report = diff_table("t", database=url)
    numbers = [number for _, number in told_of(acknowledged)]
    return {
        "files": files,
        "import seconds": round(imported, 2),
        "commits of writers": len(numbers),
        "lost": files + len(numbers) - report.num_files,
        "parity": report.parity,
        "freeze ms": spread(freezes),
        "rollback ms": spread(backs),
    }


def spread(values: list[float]) -> dict[str, float]:
    """Median, 95th percentile and greatest."""
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    return {
        "p50": round(statistics.median(ordered), 1),
        "p95": round(p95, 1),
        "max": round(ordered[-1], 1),
    }


def wait_for_more(folder: Path, writers: int) -> None:
    """Until every writer has been told of a further commit."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    before = {number // 1_000_000: number for _, number in told_of(folder)}
    while True:
        now = {number // 1_000_000: number for _, number in told_of(folder)}
        if len(now) == writers and all(now[who] > before.get(who, 0) for who in now):
            return
        if time.monotonic() > deadline:
            raise TimeoutError("the writers don't go on")
        time.sleep(_PAUSE_SECONDS)


def generate(place: Path, files: int) -> None:
    """A log whose first commit adds files that nobody reads."""
    log = place / "_delta_log"
    log.mkdir(parents=True)
    schema = {"type": "struct", "fields": [{"name": "x", "type": "long", "nullable": True}]}
    schema["fields"][0]["metadata"] = {}  # type: ignore[index]
    head = [
        {"commitInfo": {"timestamp": 1, "operation": "WRITE"}},
        {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
        {
            "metaData": {
                "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9",
                "format": {"provider": "parquet", "options": {}},
                "schemaString": json.dumps(schema),
                "partitionColumns": [],
                "configuration": {},
                "createdTime": 1,
            }
        },
    ]
    with (log / f"{0:020d}.json").open("w") as commit:
        commit.writelines(json.dumps(line) + "\n" for line in head)
        for number in range(files):
            stats = f'{{\\"numRecords\\":1,\\"minValues\\":{{\\"x\\":{number}}},'
            stats += f'\\"maxValues\\":{{\\"x\\":{number}}},\\"nullCount\\":{{\\"x\\":0}}}}'
            commit.write(
                f'{{"add":{{"path":"part-{number:07d}.parquet","partitionValues":{{}},"size":1000,'
                f'"modificationTime":1,"dataChange":true,"stats":"{stats}"}}}}\n'
            )


if __name__ == "__main__":
    main()
