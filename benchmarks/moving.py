"""How long a cutover keeps everybody from writing, and a rollback.

    python -m benchmarks.moving --files 1000000 --rounds 30 --writers 4 [--s3]

The freeze of a round is the time from the last commit that a file-based writer was told of to the
moment from which SQL can commit. Writers append by delta-rs all the time, each a process; what they
were told of is counted in the table at the end, and what came behind a fence in the log. Proofs are
outside the freeze, and left out but for the last one. `--s3`: on the S3 server of the tests.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltalakedb.migrate.options import MoveOptions
    from tests.servers.s3 import S3Bucket

_PAUSE_SECONDS = 0.02
_PATIENCE_SECONDS = 600.0
_LOOKS = 30


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.moving")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--database", help="by default a SQLite file")
    parser.add_argument("--s3", action="store_true")
    parser.add_argument("--append", nargs=4, metavar=("TABLE", "FOLDER", "FIRST", "OPTIONS"))
    given = parser.parse_args()
    if given.append:
        append(*given.append)
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dl-moving-")))
        database = given.database or f"sqlite:///{folder}/catalog.sqlite"
        lake = on_s3(stack, folder) if given.s3 else Lake(str(folder / "t"))
        generate(folder / "t", given.files)
        lake.upload(folder / "t")
        print(json.dumps(measured(folder, lake, given, database), indent=1))


@dataclass(frozen=True)
class Lake:
    """Where the table is, and the storage options of ours and of delta-rs."""

    place: str
    ours: Mapping[str, object] | None = None
    theirs: Mapping[str, str] | None = None
    bucket: S3Bucket | None = None

    def upload(self, folder: Path) -> None:
        """What was made in a folder, where it isn't there already."""
        if self.bucket is not None:
            self.bucket.upload(folder, "t")


def on_s3(stack: ExitStack, folder: Path) -> Lake:
    """A bucket of a server of its own."""
    from tests.servers.s3 import S3Bucket, S3Server

    server = S3Server()
    stack.callback(server.close)
    bucket = S3Bucket(server.endpoint_url, "moving")
    bucket.create()
    theirs = {
        "AWS_ENDPOINT_URL": server.endpoint_url,
        "AWS_ACCESS_KEY_ID": bucket.options["key"],
        "AWS_SECRET_ACCESS_KEY": bucket.options["secret"],
        "AWS_REGION": bucket.options["region"],
        "AWS_ALLOW_HTTP": "true",
        "conditional_put": "etag",
    }
    return Lake(bucket.url("t"), bucket.options, theirs, bucket)


def append(table: str, folder: str, first: str, options: str) -> None:
    """A writer: a line `time number version` for each commit that it was told of."""
    import deltalake
    import pyarrow as pa

    number = int(first)
    handle = deltalake.DeltaTable(table, storage_options=json.loads(options))
    with (Path(folder) / first).open("w") as told:
        while not (Path(folder) / "stop").exists():
            try:
                deltalake.write_deltalake(handle, pa.table({"x": [number]}), mode="append")
                told.write(f"{time.time()} {number} {handle.version()}\n")
                told.flush()
            except deltalake.exceptions.DeltaError:
                time.sleep(_PAUSE_SECONDS)
                handle.update_incremental()
            number += 1


def told_of(folder: Path) -> list[tuple[float, int, int]]:
    """What the writers were told of, by time: time, number, version."""
    lines = [
        line.split() for each in folder.glob("[0-9]*") for line in each.read_text().split("\n")
    ]
    return sorted((float(t), int(n), int(v)) for t, n, v in (w for w in lines if len(w) == 3))


def measured(folder: Path, lake: Lake, given: argparse.Namespace, url: str) -> dict[str, object]:
    """Milliseconds of each round, and what became of the writers' commits."""
    from deltalakedb.migrate.cut import cutover_table
    from deltalakedb.migrate.move import move_table
    from deltalakedb.migrate.options import MoveOptions
    from deltalakedb.migrate.rollback import rollback_table, rollback_without_catalog
    from deltalakedb.parity.run import diff_table

    acknowledged = folder / "writers"
    acknowledged.mkdir()
    began = time.perf_counter()
    plain = MoveOptions(strategy="hybrid", storage_options=lake.ours, tries=20)
    ready = replace(plain, until="ready", validate=False)
    move_table(lake.place, database=url, options=ready)
    imported = time.perf_counter() - began
    command = [sys.executable, "-m", "benchmarks.moving", "--append", lake.place]
    command += [str(acknowledged)]
    running = [
        subprocess.Popen([*command, str(1_000_000 * (number + 1)), json.dumps(lake.theirs)])
        for number in range(given.writers)
    ]
    freezes: list[float] = []
    backs: list[float] = []
    try:
        for number in range(given.rounds):
            wait_for_more(acknowledged, given.writers, running)
            fenced: list[float] = []

            def on(point: str, facts: Mapping[str, object], fenced: list[float] = fenced) -> None:
                if point == "fenced":
                    fenced.append(time.time())

            proven = replace(plain, validate=number == given.rounds - 1)
            cutover_table("t", database=url, options=proven, on=on)
            before = [moment for moment, *_ in told_of(acknowledged) if moment <= fenced[0]]
            freezes.append((fenced[0] - max(before)) * 1000)
            back = rollback_table(
                "t", database=url, rollback_point=False, storage_options=lake.ours
            )
            backs.append(back.seconds * 1000)
        seen = seen_after(acknowledged, url, partial(move_table, lake.place, database=url), ready)
    finally:
        (acknowledged / "stop").touch()
        for each in running:
            each.wait()
    cutover_table("t", database=url, options=replace(plain, validate=False))
    alone = rollback_without_catalog(lake.place, storage_options=lake.ours)
    rollback_table("t", database=url, rollback_point=False, storage_options=lake.ours)
    report = diff_table("t", database=url, storage_options=lake.ours)
    numbers = [number for _, number, _ in told_of(acknowledged)]
    return {
        "files": given.files,
        "import seconds": round(imported, 2),
        "commits of writers": len(numbers),
        "lost": given.files + len(numbers) - report.num_files,
        "behind a fence": behind_fences(lake),
        "parity": report.parity,
        "freeze ms": spread(freezes),
        "rollback ms": spread(backs),
        "seen ms": spread(seen),
        "without the catalog ms": round(alone.seconds * 1000, 1),
    }


def seen_after(
    folder: Path, url: str, follow: Callable[..., object], options: MoveOptions
) -> list[float]:
    """Milliseconds from when a file-based writer is told of its commit to when SQL reads it."""
    import deltalakedb as dl

    ended = threading.Event()
    following = threading.Thread(target=follow, kwargs={"options": options, "stop": ended.is_set})
    following.start()
    found = []
    try:
        for _ in range(_LOOKS):
            began = time.time()
            while not (later := [each for each in told_of(folder) if each[0] > began]):
                time.sleep(_PAUSE_SECONDS)
            told, _, version = later[0]
            uri = f"deltasql://{url}?table=t"
            while (
                dl.connect_to_table(uri, storage_options=options.storage_options).version < version
            ):
                time.sleep(_PAUSE_SECONDS)
            found.append((time.time() - told) * 1000)
    finally:
        ended.set()
        following.join()
    return found


def behind_fences(lake: Lake) -> int:
    """Commits of others in the log while a fence stood."""
    from deltalakedb.log.place import log_store
    from deltalakedb.log.protocol import FENCE_FEATURE
    from deltalakedb.log.reader import read_listing
    from deltalakedb.storage.open import open_store

    log = open_store(log_store(lake.place, lake.ours))
    names = [commit.name for commit in read_listing(log).commits[1:]]
    found, stands = 0, False
    for data in log.read_many(names):
        lines = [json.loads(line) for line in data.splitlines()]
        protocols = [line["protocol"] for line in lines if "protocol" in line]
        if protocols:
            stands = FENCE_FEATURE in protocols[0].get("writerFeatures", ())
        elif stands and not any("deltalakedb" in str(line.get("commitInfo")) for line in lines):
            found += 1
    return found


def spread(values: list[float]) -> dict[str, float]:
    """Median, 95th percentile and greatest."""
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    return {
        "p50": round(statistics.median(ordered), 1),
        "p95": round(p95, 1),
        "max": round(ordered[-1], 1),
    }


def wait_for_more(folder: Path, writers: int, running: Sequence[subprocess.Popen[bytes]]) -> None:
    """Until they have been told of further commits, two for each writer: whoever has the slots."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    before = len(told_of(folder))
    while len(told_of(folder)) < before + 2 * writers:
        if time.monotonic() > deadline or any(each.poll() is not None for each in running):
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
