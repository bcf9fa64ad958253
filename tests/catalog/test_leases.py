"""Leases: rows that one process at a time holds, and what becomes of those that die or sleep."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from deltalakedb.catalog import leases as catalog_leases
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.commit_tables import leases
from deltalakedb.catalog.dialects import dialect_of
from deltalakedb.catalog.holder import holder, is_dead
from deltalakedb.catalog.leases import Lease, acquire
from deltalakedb.catalog.loads.swap import lease_name
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing.run import import_table
from deltalakedb.uri import parse_database
from tests.log.made_logs import write_commit
from tests.servers.postgres import PostgresServer
from tests.table.opening import add, first_actions, open_table

_HOLDS = """
import sys, time
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.leases import acquire
catalog = Catalog(sys.argv[1])
lease = acquire(catalog, "one", float(sys.argv[2]))
print("held", flush=True)
sys.stdin.readline()
try:
    with catalog.write() as connection:
        lease.check(connection)
        connection.exec_driver_sql("INSERT INTO dl_settings (name, value) VALUES ('seen', 'x')")
except Exception as error:
    print(getattr(error, "kind", error), flush=True)
else:
    print("went on", flush=True)
lease.release()
"""


@contextmanager
def holding(database: str, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lease `one`, and does its bookkeeping when it is sent a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, database, str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


def soon(catalog: Catalog, name: str) -> Lease:
    for _ in range(1_200):
        lease = acquire(catalog, name)
        if lease is not None:
            return lease
        time.sleep(0.05)
    raise AssertionError("not within 60 s")


def test_a_lease_is_one_holders_that_of_the_dead_and_the_silent_is_taken(
    any_catalog_url: str,
) -> None:
    """One test a database: its catalog takes longer than all of it."""
    with Catalog(any_catalog_url, create=True) as catalog:
        first = acquire(catalog, "one")
        assert first is not None
        assert first.held()
        assert acquire(catalog, "one") is None
        other = acquire(catalog, "two")
        assert other is not None
        first.release()
        assert not first.held()
        never_two_ones(catalog)
        renewed_while_it_is_held(catalog)
        with holding(any_catalog_url, 600) as process:
            assert acquire(catalog, "one") is None
            process.kill()
            process.wait()
            taken = acquire(catalog, "one")
            assert taken is not None
            taken.release()
        with holding(any_catalog_url, 1.0) as process:
            process.send_signal(signal.SIGSTOP)
            stopped = time.monotonic()
            second = soon(catalog, "one")
            assert time.monotonic() - stopped < 60
            time.sleep(max(0.0, stopped + 2.0 - time.monotonic()))
            process.send_signal(signal.SIGCONT)
            said, _ = process.communicate("go on\n", timeout=240)
            assert "CONCURRENCY_ERROR" in said
            assert second.held()
            second.release()
        with catalog.read() as connection:
            seen = "SELECT count(*) FROM dl_settings WHERE name = 'seen'"
            assert connection.exec_driver_sql(seen).scalar() == 0
        other.release()
        with catalog.read() as connection:
            assert connection.execute(sa.select(leases)).all() == []


def never_two_ones(catalog: Catalog) -> None:
    holders: list[int] = []
    most = 0
    lock = threading.Lock()

    def work(_: int) -> int:
        nonlocal most
        taken = 0
        deadline = time.monotonic() + 0.7
        while time.monotonic() < deadline:
            lease = acquire(catalog, "raced")
            if lease is None:
                continue
            with lock:
                holders.append(1)
                most = max(most, len(holders))
            with lock:
                holders.pop()
            lease.release()
            taken += 1
        return taken

    with ThreadPoolExecutor(3) as pool:
        counts = list(pool.map(work, range(3)))
    assert most == 1
    assert sum(counts) >= 1


def renewed_while_it_is_held(catalog: Catalog) -> None:
    def ends() -> int:
        with catalog.read() as connection:
            query = sa.select(leases.c.expires_at).where(leases.c.name == "renewed")
            return int(connection.execute(query).scalar_one())

    assert catalog_leases._RENEWALS > 1, "too late"
    with pytest.MonkeyPatch.context() as often:
        # Long enough for a machine that does nothing for a while.
        often.setattr(catalog_leases, "_RENEWALS", 600)
        lease = acquire(catalog, "renewed", 60.0)
        assert lease is not None
        first, deadline = ends(), time.monotonic() + 60
        while ends() < first + 500:
            assert acquire(catalog, "renewed") is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        lease.release()


def test_only_holders_of_this_machine_are_known_to_be_dead() -> None:
    host, pids, pid, start = holder().split("/")
    assert not is_dead(holder())
    with subprocess.Popen(["true"]) as process:
        process.wait()
        gone = process.pid
    assert is_dead(f"{host}/{pids}/{gone}/{start}")
    assert is_dead(f"{host}/{pids}/{pid}/{int(start) - 1}"), "the number of another, earlier one"
    assert not is_dead(f"elsewhere/{pids}/{gone}/{start}")
    assert not is_dead(f"{host}/another-1/{gone}/{start}"), "of another container"
    assert not is_dead("")
    assert pid == str(os.getpid())


def test_an_import_whose_lease_another_took_changes_nothing(
    tmp_path: Path, catalog_url: str
) -> None:
    table = made(tmp_path)
    taken: list[Any] = []

    def take_the_lease(stage: str, done: int, *_: int) -> None:
        if (stage, done) == ("index", 1):
            with Catalog(catalog_url) as catalog:
                with catalog.write() as connection:
                    connection.execute(leases.update().values(expires_at=0))
                taken.append(acquire(catalog, lease_name(str(table))))

    with pytest.raises(DeltaLakeError, match="lease") as caught:
        import_table(str(table), database=catalog_url, progress=take_the_lease)
    assert caught.value.kind is DeltaLakeErrorKind.CONCURRENCY_ERROR
    with Catalog(catalog_url) as catalog, catalog.write() as connection:
        connection.execute(leases.delete())
    assert import_table(str(table), database=catalog_url).status == "imported"


def test_schemas_and_isolation_of_one_database(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    """A lease in one schema is none in another; what the server prefers breaks nothing."""
    name = postgres_server.create_database()
    for level in ("serializable", "repeatable read"):
        postgres_server.sql(
            f"ALTER DATABASE {name} SET default_transaction_isolation = '{level}'", database=name
        )
        schema = level.replace(" ", "_")
        postgres_server.sql(f"CREATE SCHEMA {schema}", database=name)
        url = f"{postgres_server.url(name)}?options={quote(f'-csearch_path={schema}')}"
        table = made(tmp_path / schema)
        with Catalog(url, create=True) as catalog:
            lease = acquire(catalog, lease_name(str(tmp_path / "serializable/sales")))
            assert lease is not None
            if schema != "serializable":
                assert import_table(str(table), database=url).status == "imported"
            lease.release()
        assert import_table(str(table), database=url).to_version == 0
        write_commit(table / "_delta_log", 1, [add("b")])
        assert import_table(str(table), database=url).status == "caught_up"
        assert import_table(str(table), database=url, rebuild=True).live_files == 2
        assert open_table(url).snapshot().num_files == 2
    postgres_server.drop_database(name)


def test_a_lock_file_that_somebody_removed_or_that_cant_be_made(sqlite_url: str) -> None:
    dialect = dialect_of(parse_database(sqlite_url))
    folder = Path(sqlite_url.removeprefix("sqlite:///")).parent
    with dialect.schema_lock() as mine, dialect.schema_lock() as theirs:
        assert (mine, theirs) == (True, False)
        [file] = folder.glob("*.lock")
        file.unlink()
    file.mkdir()
    with pytest.raises(DeltaLakeError) as caught, dialect.schema_lock():
        pass
    assert caught.value.kind is DeltaLakeErrorKind.DATABASE_ERROR
    assert str(file) in caught.value.message


def made(folder: Path) -> Path:
    log = folder / "sales" / "_delta_log"
    log.mkdir(parents=True)
    write_commit(log, 0, [*first_actions(), add("a")])
    return folder / "sales"
