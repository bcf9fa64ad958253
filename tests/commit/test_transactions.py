"""Processes that change several tables at once: the sum of all accounts never changes."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl
from tests import lengths
from tests.cli.commands import dl as cli
from tests.commit.transfers import ACCOUNTS, LEAST, amount, balance

OPENING = 1000


def accounts(database: str, folder: Path) -> list[str]:
    """Their URIs; all hold the same at first."""
    uris = [f"deltasql://{database}?table=account{number}" for number in range(ACCOUNTS)]
    for number, uri in enumerate(uris):
        schema = pa.schema([("amount", pa.int64())])
        place = str(folder / f"account{number}")
        dl.create_table(uri, schema, location=place, authority="sql").append(amount(OPENING))
    return uris


def start(
    database: str, folder: Path, processes: int, seconds: float, isolation: str
) -> list[subprocess.Popen[str]]:
    folder.mkdir()
    command = [sys.executable, "-m", "tests.commit.transfers", database, str(folder)]
    found = [
        subprocess.Popen(
            [*command, f"w{number}", str(seconds), isolation], stdout=subprocess.PIPE, text=True
        )
        for number in range(processes)
    ]
    deadline = time.monotonic() + 240
    while len(list(folder.glob("*.ready"))) < processes:
        assert time.monotonic() < deadline
        assert all(each.poll() is None for each in found)
        time.sleep(0.02)
    (folder / "go").touch()
    return found


def by_logs(folder: Path) -> int:
    """The sum of versions that belong together, by delta-rs."""
    places = [str(folder / f"account{number}") for number in range(ACCOUNTS)]
    versions = dl.consistent_versions(places)
    assert versions.unknown == []
    return sum(
        sum(deltalake.DeltaTable(path, version=version).to_pyarrow_table()["amount"].to_pylist())
        for path, version in versions.items()
    )


def money_is_kept(
    database: str, folder: Path, processes: int, seconds: float, isolation: str
) -> int:
    """How many transfers there were; the sum was always the same, whoever looked."""
    uris = accounts(database, folder)
    running = start(database, folder / "ready", processes, seconds, isolation)
    held: list[tuple[list[dl.Snapshot], list[int]]] = []
    looked = 0
    while looked < 2 or any(each.poll() is None for each in running):
        snapshots = dl.snapshots(uris, cache=False)
        found = [balance(snapshot) for snapshot in snapshots]
        assert sum(found) == OPENING * ACCOUNTS
        held.append((snapshots, found))
        assert by_logs(folder) == OPENING * ACCOUNTS
        looked += 1
    for snapshots, found in (held[0], held[len(held) // 2]):
        assert [balance(snapshot) for snapshot in snapshots] == found
    told = [each.communicate()[0].split() for each in running]
    assert all(each.returncode == 0 for each in running)
    assert all(int(committed) > 0 for committed, _ in told)
    tables = [dl.connect_to_table(uri, cache=False) for uri in uris]
    deadline = time.monotonic() + 120
    while not all(
        deltalake.DeltaTable(table.location).version() == table.version for table in tables
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    versions = dl.consistent_versions([table.location for table in tables])
    assert list(versions.values()) == [table.version for table in tables]
    return sum(int(committed) for committed, _ in told)


@pytest.mark.parametrize(
    ("catalog_url", "isolation"),
    [("sqlite", "WriteSerializable"), ("postgresql", "Serializable")],
    indirect=["catalog_url"],
)
def test_transfers_of_several_processes(catalog_url: str, isolation: str, tmp_path: Path) -> None:
    assert money_is_kept(catalog_url, tmp_path, 2, 1.5, isolation) >= 2 * LEAST


def killed_between_any_two_steps(database: str, folder: Path, rounds: int) -> None:
    """All or nothing for SQL readers at once, and in the logs when they are drained."""
    uris = accounts(database, folder)
    for number in range(rounds):
        running = start(database, folder / f"ready{number}", 2, 60.0, "WriteSerializable")
        time.sleep(0.5 + 0.2 * number)
        for each in running:
            each.kill()
            each.communicate()
        moment = dl.snapshots(uris, cache=False)
        assert sum(map(balance, moment)) == OPENING * ACCOUNTS
        assert by_logs(folder) == OPENING * ACCOUNTS
        for snapshot in moment:
            drained = cli("mirror", "drain", snapshot.name, "--database", database)
            assert drained.exit_code == 0
            assert deltalake.DeltaTable(snapshot.location).version() == snapshot.version
        versions = dl.consistent_versions([snapshot.location for snapshot in moment])
        assert list(versions.values()) == [snapshot.version for snapshot in moment]
        assert any(snapshot.version > 1 for snapshot in moment)
    assert all(dl.diff_table(each.name, database=database).parity for each in moment)


def test_killed_between_any_two_steps(sqlite_url: str, tmp_path: Path) -> None:
    killed_between_any_two_steps(sqlite_url, tmp_path, 1)


@pytest.mark.long
def test_killed_again_and_again(any_catalog_url: str, tmp_path: Path) -> None:
    killed_between_any_two_steps(any_catalog_url, tmp_path, lengths.rounds(2))


@pytest.mark.long
@pytest.mark.parametrize("isolation", ["WriteSerializable", "Serializable", "SnapshotIsolation"])
def test_many_transfers(any_catalog_url: str, isolation: str, tmp_path: Path) -> None:
    assert money_is_kept(any_catalog_url, tmp_path, 8, lengths.seconds(3.0), isolation) > 8


def overlapping(database: str, folder: Path, rounds: int) -> None:
    """Transactions over the same ten tables, each in an order of its own: all are committed."""
    names = [f"t{number}" for number in range(10)]
    for name in names:
        uri = f"deltasql://{database}?table={name}"
        dl.create_table(uri, pa.schema([("amount", pa.int64())]), location=str(folder / name))

    def work(who: int) -> None:
        chance = random.Random(who)
        for _ in range(rounds):
            with dl.begin(database, isolation="Serializable", mirror="async") as tx:
                for name in chance.sample(names, len(names)):
                    tx.append(name, amount(who))

    with ThreadPoolExecutor(4) as threads:
        # Whatever one of them raises is raised here.
        list(threads.map(work, range(4)))
    moment = dl.snapshots([f"deltasql://{database}?table={name}" for name in names], cache=False)
    assert [each.version for each in moment] == [4 * rounds] * len(names)


@pytest.mark.parametrize("catalog_url", ["postgresql"], indirect=True)
def test_ten_tables_in_any_order(catalog_url: str, tmp_path: Path) -> None:
    overlapping(catalog_url, tmp_path, 2)


@pytest.mark.long
def test_ten_tables_in_any_order_for_long(any_catalog_url: str, tmp_path: Path) -> None:
    overlapping(any_catalog_url, tmp_path, 20)
