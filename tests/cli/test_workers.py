"""Commands with processes of their own: what they leave when all is well, and when it isn't."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg2
import pytest

from deltalakedb.cli import progress
from tests.cli.commands import DL, dl, dl_json, dl_lines, process
from tests.cli.test_commands import write_table
from tests.tables import samples

if TYPE_CHECKING:
    from distributed import Client

COMMITS, ADDS = 40, 500


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table whose import takes long enough to disturb it."""
    folder = tmp_path_factory.mktemp("log") / "disturbed"
    write_table(folder, commits=COMMITS, adds=ADDS)
    return folder


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "catalog.sqlite"


@contextlib.contextmanager
def started(
    *arguments: object, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A command in a process group of its own, as a shell starts it."""
    running = subprocess.Popen(
        [DL, *(str(a) for a in arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        start_new_session=True,
    )
    try:
        yield running
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        running.communicate()


def wait_for(what: Callable[[], object], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def told_at_the_end(err: str) -> list[str]:
    """Lines but those of progress, which come where the machine is slow."""
    titles = tuple(f"{kind.title}: " for kind in progress._KINDS.values())
    return [line for line in err.splitlines() if line and not line.startswith(titles)]


def run_begun(database: Path | str) -> bool:
    """Whether an import has recorded itself."""
    return runs_begun(database) > 0


def runs_begun(database: Path | str) -> int:
    """How many imports have recorded themselves."""
    query = "SELECT count(*) FROM dl_import_runs"
    with contextlib.suppress(sqlite3.Error, psycopg2.Error):
        if isinstance(database, str):
            with contextlib.closing(psycopg2.connect(database)) as asked, asked.cursor() as cursor:
                cursor.execute(query)
                return int(cursor.fetchone()[0])
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as asked:
            return int(asked.execute(query).fetchone()[0])
    return 0


def workers_of(pid: int) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any("spawn_main" in word for word in child.cmdline()):
                found.append(child)
    return found


def test_workers_load_what_one_process_loads(pg_database: str, table: Path, tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    done = process(
        *("import", "--database", pg_database, "--log-dir", table, "--mode", "full-history"),
        *("--workers", 2, "--local-directory", spill, "--json-output", "-"),
    )
    assert (done.returncode, "Imported" in done.stderr) == (0, True)
    result = json.loads(done.stdout)
    assert (result["workers"], result["adds"]) == (2, COMMITS * ADDS)
    assert list(spill.iterdir()) == []
    middle = ("disturbed", "--database", pg_database, "--version", COMMITS // 2)
    assert dl_json("show", *middle)["num_files"] == (COMMITS // 2 + 1) * ADDS


def test_a_running_cluster(dask_client: Client, pg_database: str) -> None:
    name = "golden-basic-with-inserts-deletes-checkpoint"
    report = dl(
        *("import", "--database", pg_database, "--log-dir", samples.path(name) / "_delta_log"),
        *("--scheduler", dask_client.scheduler.address, "--json-output", "-"),
    )
    assert json.loads(report.stdout)["workers"] == 2
    assert dl_json("show", name, "--database", pg_database)["num_files"] == 7


def test_workers_that_are_killed_are_replaced(
    pg_database: str, table: Path, tmp_path: Path
) -> None:
    """Their successors get the database's password too."""
    where = ("--database", pg_database, "--log-dir", table, "--mode", "full-history")
    with started("import", *where, "--workers", 2, "--local-directory", tmp_path) as running:
        wait_for(lambda: run_begun(pg_database))
        for worker in workers_of(running.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
        out, err = running.communicate(timeout=240)
        assert running.returncode == 0, err
    assert f"{COMMITS * ADDS:,} adds" in out
    assert len(dl_lines("files", "disturbed", "--database", pg_database)) == COMMITS * ADDS
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code", "workers"),
    [(signal.SIGINT, 130, 2), (signal.SIGTERM, 143, 0), (signal.SIGTERM, 143, 2)],
    ids=["ctrl-c", "terminated", "terminated with workers"],
)
def test_interrupted(
    number: int, code: int, workers: int, database: Path, table: Path, tmp_path: Path
) -> None:
    report, spill = tmp_path / "import.json", tmp_path / "spill"
    with started(
        *("import", "--database", database, "--log-dir", table, "--json-output", report),
        *("--local-directory", spill, *(("--workers", workers) if workers else ())),
    ) as running:
        wait_for(lambda: run_begun(database))
        processes = workers_of(running.pid)
        assert len(processes) == workers
        # The terminal sends Ctrl-C to all; whoever terminates a command knows it alone.
        send = os.killpg if number == signal.SIGINT else os.kill
        send(running.pid, number)
        out, err = running.communicate(timeout=240)
        assert (running.returncode, out) == (code, "")
    assert told_at_the_end(err) == ["Interrupted" if number == signal.SIGINT else "Terminated"]
    assert json.loads(report.read_bytes())["error"]["kind"] == "interrupted"
    assert psutil.wait_procs(processes, timeout=240)[1] == []
    assert list(spill.iterdir()) == []
    assert dl_lines("tables", "--database", database) == []
    # What it had no time for.
    dl("gc", "--database", database)
    assert dl("gc", "--database", database).stdout == "Nothing to remove\n"


def test_gc_after_a_killed_import(database: Path, table: Path, tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    where = ("--database", database, "--log-dir", table, "--local-directory", spill)
    with started("import", *where) as running:
        wait_for(lambda: run_begun(database))
        running.kill()
    assert len(list(spill.iterdir())) == 1

    told = dl("gc", "--database", database, "--dry-run").stdout
    assert told.startswith("Would remove run ")
    assert dl("gc", "--database", database, "--dry-run").stdout == told
    done = dl("gc", "--database", database).stdout
    assert done == told.replace("Would remove", "Removed")
    assert dl("gc", "--database", database).stdout == "Nothing to remove\n"

    dl("import", *where)
    assert list(spill.iterdir()) == []
    assert dl_json("show", "disturbed", "--database", database)["num_files"] == COMMITS * ADDS


def test_automatic_workers_read_a_small_log_here(table: Path, database: Path) -> None:
    arguments = ("import", "--database", database, "--log-dir", table)
    result = json.loads(dl(*arguments, "--workers", "auto", "--json-output", "-").stdout)
    assert (result["workers"], result["adds"]) == (0, COMMITS * ADDS)
    refused = dl(*arguments, "--workers", "some", code=1)
    assert "'some' is neither a number of at least 1 nor 'auto'" in refused.stderr
