"""Commands on a cluster that runs: processes of their own that know its address alone."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.commands import process, python
from tests.cli.test_commands import write_table
from tests.cli.test_workers import run_begun, runs_begun, started, told_at_the_end, wait_for
from tests.servers.dask import DaskServer
from tests.servers.postgres import PostgresServer

COMMITS, ADDS = 8, 50


def test_import_catch_up_and_diff(
    dask_server: DaskServer, pg_database: str, tmp_path: Path
) -> None:
    log = tmp_path / "orders" / "_delta_log"
    write_table(log.parent, commits=COMMITS, adds=ADDS)
    newest = log / f"{COMMITS - 1:020}.json"
    newest.rename(tmp_path / newest.name)
    place = ("--database", pg_database, "--scheduler", dask_server.address)
    run = ("import", *place, "--log-dir", log, "--json-output", "-")
    for status, versions in (("imported", COMMITS - 1), ("caught_up", 1)):
        done = process(*run)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
        result = json.loads(done.stdout)
        assert (result["status"], result["versions"]) == (status, versions)
        assert result["workers"] == 2
        if not newest.exists():
            (tmp_path / newest.name).rename(newest)
    done = process("diff", *place, "--table-id", "orders", "--format", "json")
    assert (done.returncode, told_at_the_end(done.stderr)) == (0, [])
    report = json.loads(done.stdout)
    assert (report["parity"], report["num_files"]) == (True, COMMITS * ADDS)


def test_a_client_that_is_nobodys_default(
    dask_server: DaskServer, sqlite_url: str, tmp_path: Path
) -> None:
    """Also called from a thread beside a loop, as a server does."""
    write_table(tmp_path / "orders", commits=COMMITS, adds=ADDS)
    script = f"""
import asyncio
from distributed import Client
from deltalakedb.importing.run import import_table
from deltalakedb.parity.run import diff_table

log, database = {str(tmp_path / "orders")!r}, {sqlite_url!r}

async def main():
    async with Client({dask_server.address!r}, asynchronous=True, set_as_default=False):
        with Client({dask_server.address!r}, set_as_default=False) as client:
            done = await asyncio.to_thread(import_table, log, database=database, client=client)
            again = await asyncio.to_thread(
                import_table, log, database=database, client=client, rebuild=True
            )
            report = await asyncio.to_thread(diff_table, "orders", database=database, client=client)
    return done.live_files, again.live_files, report.exit_code

print(asyncio.run(main()))
"""
    done = python("-c", script)
    assert (done.returncode, done.stdout) == (0, f"({COMMITS * ADDS}, {COMMITS * ADDS}, 0)\n"), (
        done.stderr
    )


@pytest.mark.system
def test_a_cluster_that_dies(
    private_dask_server: Callable[..., DaskServer], pg_database: str, tmp_path: Path
) -> None:
    """Workers that die are replaced; a scheduler that is gone is one line, and no harm."""
    cluster = private_dask_server(1, nanny=False)
    write_table(tmp_path / "orders", commits=40, adds=500)
    command = (
        *("import", "--database", pg_database, "--log-dir", tmp_path / "orders"),
        *("--scheduler", cluster.address, "--mode", "full-history", "--rebuild"),
    )
    environment = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s"}
    with started(*command, env=environment) as running:
        wait_for(lambda: run_begun(pg_database))
        cluster.kill_workers()
        cluster.start_workers(1)
        out, err = running.communicate(timeout=240)
        assert running.returncode == 0, err
        assert "20,000 adds" in out
    with started(*command, env=environment) as running:
        wait_for(lambda: runs_begun(pg_database) == 2)
        cluster.scheduler.stop(signal.SIGKILL)
        out, err = running.communicate(timeout=240)
        assert (running.returncode, out) == (1, "")
        [line] = [text for text in err.splitlines() if text.startswith("Error: ")]
        assert "scheduler has gone; start it again and repeat the import" in line
        assert "Traceback" not in err
    assert process("diff", "--database", pg_database, "--table-id", "orders").returncode == 0


@pytest.mark.system
@pytest.mark.parametrize("workers", [0, 2])
def test_a_database_that_goes_away_is_one_line(
    workers: int, private_postgres: Callable[..., PostgresServer], tmp_path: Path
) -> None:
    server = private_postgres()
    url = server.url(server.create_database())
    write_table(tmp_path / "orders", commits=40, adds=500)
    place = ("--workers", workers) if workers else ()
    with started(
        *("import", "--database", url, "--log-dir", tmp_path / "orders"),
        *("--mode", "full-history", *place),
    ) as running:
        wait_for(lambda: run_begun(url))
        server.stop(immediate=True)
        out, err = running.communicate(timeout=180)
        assert (running.returncode, out) == (1, "")
    told = told_at_the_end(err)
    assert len(told) == 1, err
    assert told[0].startswith("Error: ")
