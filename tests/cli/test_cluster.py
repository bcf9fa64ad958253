"""Commands on a cluster that runs: processes of their own that know its address alone."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.commands import process, python
from tests.cli.test_commands import write_table
from tests.servers.dask import DaskServer

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
    for status, versions in (("imported", COMMITS - 1), ("caught_up", 1), ("unchanged", 0)):
        done = process(*run)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
        result = json.loads(done.stdout)
        assert (result["status"], result["versions"]) == (status, versions)
        assert result["workers"] == 2
        if not newest.exists():
            (tmp_path / newest.name).rename(newest)
    done = process("diff", *place, "--table-id", "orders", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
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
