"""A log that takes seconds to import, ways to kill what imports it, and what must be there then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deltalakedb.catalog.tables import LOAD_TABLES, files
from deltalakedb.importing import run
from deltalakedb.importing.result import ImportResult
from deltalakedb.log.reader import plan_ranges
from tests.migrate.catalogs import left_over, reading, select

ADDS = 12_000
PART_BYTES = 1 << 19
"""So small that there are many parts, and a middle."""

Step = tuple[str, int]


def import_big(table: Path, database: str, **options: Any) -> ImportResult:
    return run.import_table(str(table), database=database, **{"mode": "full-history"} | options)


def small_parts(monkeypatch: pytest.MonkeyPatch, size: int = PART_BYTES) -> None:
    def planned(store: Any, segment: Any, _: int = 0, **options: Any) -> Any:
        return plan_ranges(store, segment, size, **options)

    monkeypatch.setattr(run, "plan_ranges", planned)


def at(step: Step, action: Callable[[], object]) -> Callable[..., None]:
    """A progress callback that acts once, when a stage has got so far."""
    acted: list[bool] = []

    def progress(stage: str, done: int, total: int, actions: int) -> None:
        if (stage, done) == step and not acted:
            acted.append(True)
            assert done < total, "the middle is not the end"
            action()

    return progress


def kill(*processes: int) -> None:
    for process in processes:
        os.kill(process, signal.SIGKILL)


def worker_processes(client: Any, workers: int = 2) -> list[int]:
    client.wait_for_workers(workers, timeout=180)
    return list(client.run(os.getpid).values())


Digest = dict[str, tuple[int, int]]


def digest(database: str, name: str) -> Digest:
    """Count and hash of the rows of a catalogued table, by catalog table, on any database."""
    with reading(database) as connection:
        [row] = select(
            connection,
            "SELECT h.live_load FROM dl_tables t JOIN dl_heads h ON h.table_key = t.table_key "
            "WHERE t.name = :n",
            n=name,
        )
        found: Digest = {}
        for table in (files, *LOAD_TABLES):
            names = ", ".join(c.name for c in table.columns if c.name != "load_id")
            query = f"SELECT {names} FROM {table.name} WHERE load_id = {row['live_load']}"
            rows = [tuple(r) for r in connection.exec_driver_sql(query).all()]
            # A boolean is 0 or 1 in SQLite, and hashes as such.
            found[table.name] = (len(rows), sum(map(hash, rows)))
    return found


def assert_exact(database: str, name: str, expected: Digest) -> None:
    """The table is that of an undisturbed import, and nothing of any other load is left."""
    assert digest(database, name) == expected
    assert left_over(database) == {}


def assert_nothing_visible(database: str) -> None:
    with reading(database) as connection:
        assert select(connection, "SELECT * FROM dl_tables") == []
        assert select(connection, "SELECT * FROM dl_live_files") == []
        assert select(connection, "SELECT * FROM dl_history") == []


_IMPORT = """
import sys
from deltalakedb.log.reader import plan_ranges
from deltalakedb.importing import run

def main():
    table, size, scheduler, mode = sys.argv[1:]
    run.plan_ranges = lambda store, segment, _=0, **o: plan_ranges(store, segment, int(size), **o)
    client = None
    if scheduler == "own":
        from distributed import Client, LocalCluster
        client = Client(LocalCluster(2, threads_per_worker=1, dashboard_address="127.0.0.1:0"))
    elif scheduler:
        from distributed import Client
        client = Client(scheduler)
    run.import_table(
        table, database=sys.stdin.readline().strip(), mode=mode, client=client,
        progress=lambda stage, done, *_: print(stage, done, flush=True),
    )
    print("finished 0", flush=True)

if __name__ == "__main__":
    main()
"""


class Importer:
    """An import in a process of its own; `scheduler`: "", "own" or the address of a cluster."""

    def __init__(self, table: Path, database: str, folder: Path, *, scheduler: str = "") -> None:
        program = folder / "importer.py"
        program.write_text(_IMPORT)
        self._errors = folder / "importer.log"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, program, table, str(PART_BYTES), scheduler, "full-history"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        self._process.stdin.write(database + "\n")
        self._process.stdin.flush()

    def wait_for(self, step: Step) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            stage, _, done = line.partition(" ")
            if (stage, int(done)) == step:
                return
        raise AssertionError(f"the import ended before {step}: {self._errors.read_text()}")

    def kill(self) -> None:
        kill(self._process.pid)
        self._process.wait()

    def close(self) -> None:
        if self._process.poll() is None:
            self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
