"""A replica that takes over with less than was committed; imports beside writers."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import deltalakedb as dl
from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.error import DeltaLakeError
from deltalakedb.uri import parse_database
from tests.commit.test_concurrency import start_appenders
from tests.faults.told import SCHEMA, Told, hold_everywhere, wait_until
from tests.servers.postgres import PASSWORD, USER, PostgresServer
from tests.servers.process import other_user
from tests.writing.proxy import CountingProxy


def follow(primary: PostgresServer, standby: PostgresServer) -> None:
    """Make a server the asynchronous replica of another."""
    standby.stop()
    for entry in standby._data.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    where = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", USER]
    subprocess.run(
        [
            *(standby._bin / "pg_basebackup", "-D", standby._data, "-R", "-X", "stream"),
            *("--checkpoint", "fast", *where),
        ],
        env={"PGPASSWORD": PASSWORD},
        check=True,
        cwd=standby._folder.path,
        **other_user(),
    )
    standby.start()


def head_of(server: PostgresServer, database: str) -> int:
    [(head,)] = server.sql("SELECT head_version FROM dl_heads", database=database)
    return int(head)


@pytest.mark.long
def test_a_replica_is_promoted_that_lacks_commits(
    private_postgres: Callable[..., PostgresServer], tmp_path: Path
) -> None:
    primary, standby = private_postgres(), private_postgres()
    name, place = primary.create_database(), str(tmp_path / "t")
    dl.create_table(f"deltasql://{primary.url(name)}?table=t", SCHEMA, location=place)
    follow(primary, standby)
    wait_until(lambda: head_of(standby, name) == 0)
    proxy = CountingProxy(primary.port)
    url = primary.url(name).replace(f":{primary.port}/", f":{proxy.port}/")
    running = start_appenders(f"deltasql://{url}?table=t", tmp_path / "ready", 4, 300.0)
    wait_until(lambda: head_of(standby, name) >= 4)
    # From here on the replica lags for good.
    standby.sql("ALTER SYSTEM SET primary_conninfo = ''")
    standby.sql("SELECT pg_reload_conf()")
    wait_until(lambda: not standby.sql("SELECT 1 FROM pg_stat_wal_receiver"))
    lagging = head_of(standby, name)
    wait_until(lambda: head_of(primary, name) >= lagging + 8)
    primary._process.stop(signal.SIGQUIT)
    standby.sql("SELECT pg_promote()")
    proxy._server = ("127.0.0.1", standby.port)
    asked, deadline = len(proxy.trips), time.monotonic() + 200
    # Writers may wait for the lease of one whose connection was to the lost server.
    wait_until(lambda: len(proxy.trips) > asked + 80 or time.monotonic() > deadline)
    (tmp_path / "ready" / "stop").touch()
    told = Told().hear(running)
    proxy.close()
    assert len(told.committed) >= lagging + 4
    assert told.failed | told.unknown
    assert any("restored or failed over" in message for message in told.messages), told.messages
    # The log has more than the catalog, which recognises it, and nothing was ratified twice.
    uri = f"deltasql://{standby.url(name)}?table=t"
    assert dl.connect_to_table(uri, cache=False).version < max(told.versions)
    dl.connect_to_table(uri, cache=False).set_authority("log")
    dl.import_table(log_dir=place, database=standby.url(name), table_name="t")
    dl.connect_to_table(uri, cache=False).set_authority("sql")
    hold_everywhere(told, standby.url(name), place, {})


@pytest.mark.long
@pytest.mark.parametrize("rebuild", [True, False])
def test_imports_beside_writers(catalog_url: str, tmp_path: Path, rebuild: bool) -> None:
    """A table that SQL writes to is neither set back nor stopped by whoever imports its log."""
    place = str(tmp_path / "t")
    uri = f"deltasql://{catalog_url}?table=t"
    dl.create_table(uri, SCHEMA, location=place)
    with writing(parse_database(catalog_url)) as writer:
        # Nobody records what is published, so that the outbox is never empty.
        elsewhere = "UPDATE dl_leases SET holder = 'elsewhere', token = 'x', expires_at = "
        writer.transact([Statement(elsewhere + f"{writer.now} + 600000")])
    running = start_appenders(uri, tmp_path / "ready", 8, 8.0)
    refused = done = 0
    seen = 0
    while any(each.poll() is None for each in running):
        try:
            dl.import_table(log_dir=place, database=catalog_url, table_name="t", rebuild=rebuild)
            done += 1
        except DeltaLakeError:
            refused += 1
        head = dl.connect_to_table(uri, cache=False).version
        assert head >= seen
        seen = head
    told = Told().hear(running)
    assert not told.failed | told.unknown
    assert refused + done > 1
    assert sorted(told.versions) == list(range(1, len(told.versions) + 1))
    with writing(parse_database(catalog_url)) as writer:
        writer.transact([Statement("UPDATE dl_leases SET expires_at = 0")])
    hold_everywhere(told, catalog_url, place, {})
