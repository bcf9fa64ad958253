"""SIGSTOP for twice the lease, then SIGCONT: what a paused process does afterwards harms nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.error import DeltaLakeError
from deltalakedb.mirror import lease
from deltalakedb.uri import parse_database
from tests.published import complete_log

SCHEMA = pa.schema([("n", pa.int64())])
PAUSE_SECONDS = 2 * lease.LEASE_SECONDS + 1
NOW = {"delta.deletedFileRetentionDuration": "interval 0 seconds"}


class Victim:
    """A process (`tests.faults.victim`) that has stopped itself at a point, on a table of its own,
    where it has appended its number before."""

    def __init__(self, point: str, database: str, folder: Path, number: int) -> None:
        self.name = f"t{number}"
        self.number = number
        self.place = folder / self.name
        self.uri = f"deltasql://{database}?table={self.name}"
        command = [sys.executable, "-m", "tests.faults.victim", point, database, self.name]
        self._process = subprocess.Popen(
            [*command, str(number), str(folder)], stdout=subprocess.PIPE, text=True
        )

    def wait_until_stopped(self) -> None:
        deadline = time.monotonic() + 120
        while self._state() != "T":
            assert self._process.poll() is None, self._process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def go_on(self) -> str:
        """What it said at its end."""
        self._process.send_signal(signal.SIGCONT)
        said, _ = self._process.communicate(timeout=180)
        assert self._process.returncode == 0
        return said.strip()

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def _state(self) -> str:
        try:
            text = Path(f"/proc/{self._process.pid}/stat").read_text()
        except OSError:
            return "gone"
        return text.rpartition(")")[2].split()[0]

    def open(self) -> dl.Table:
        return dl.connect_to_table(self.uri, cache=False)


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Callable[..., Victim]]:
    """`victim(point, database, authority=…)`: stopped at the point."""
    victims: list[Victim] = []

    def start(point: str, database: str, authority: str = "sql") -> Victim:
        number = len(victims) + 1
        uri = f"deltasql://{database}?table=t{number}"
        place = str(tmp_path / f"t{number}")
        dl.create_table(uri, SCHEMA, location=place, authority=authority, properties=NOW)
        found = Victim(point, database, tmp_path, number)
        victims.append(found)
        return found

    yield start
    for each in victims:
        each.end()


def one(number: int) -> pa.Table:
    return pa.table({"n": pa.array([number], pa.int64())})


def same_everywhere(victim: Victim, database: str, expected: list[int]) -> None:
    """By the catalog, by the log that is completed, and by comparison."""
    table = victim.open()
    assert sorted(table.to_pyarrow_table()["n"].to_pylist()) == sorted(expected)
    complete_log(table)
    theirs = deltalake.DeltaTable(str(victim.place))
    assert sorted(theirs.to_pyarrow_table()["n"].to_pylist()) == sorted(expected)
    assert dl.diff_table(victim.name, database=database).parity


@pytest.mark.long
@pytest.mark.parametrize("catalog_url", ["sqlite", "postgresql", "mariadb", "mysql"], indirect=True)
def test_paused_for_twice_the_lease(
    catalog_url: str, tmp_path: Path, victim: Callable[..., Victim]
) -> None:
    # On SQLite who is in the lock keeps everybody out: a test of its own.
    locked = None if catalog_url.startswith("sqlite") else victim("in the lock", catalog_url)
    put = victim("before the put", catalog_url, "log")
    publishing = victim("draining", catalog_url)
    recording = victim("before recording", catalog_url)
    vacuuming = victim("deleting", catalog_url)
    importing = victim("swapping", catalog_url, "log")
    all_of_them = [v for v in (locked, put, publishing, recording, vacuuming, importing) if v]
    for each in all_of_them:
        each.wait_until_stopped()
    resumed_at = time.monotonic() + PAUSE_SECONDS
    # Everybody else goes on, at the latest when a lease has run out.
    for each in all_of_them:
        if each is not vacuuming:
            assert each.open().append(one(100)).version >= 1
    assert recording.open().append(one(101)).published
    while time.monotonic() < resumed_at:
        time.sleep(0.2)
    with pytest.raises(DeltaLakeError):
        vacuuming.open().restore(1)
    said = {each.name: each.go_on() for each in all_of_them}
    if locked is not None:
        # Its session was ended with its transaction, so that it could begin anew.
        assert said[locked.name] == "done 3"
        same_everywhere(locked, catalog_url, [locked.number, 100, -locked.number])
    assert said[put.name] == "done 3"
    same_everywhere(put, catalog_url, [put.number, 100, -put.number])
    assert said[publishing.name] == "done 2"
    same_everywhere(publishing, catalog_url, [publishing.number, -publishing.number, 100])
    assert said[recording.name].startswith("done")
    numbers = [recording.number, -recording.number, 100, 101]
    same_everywhere(recording, catalog_url, numbers)
    assert said[vacuuming.name].startswith(("done 1", "failed CONCURRENCY_ERROR"))
    same_everywhere(vacuuming, catalog_url, [-vacuuming.number])
    assert said[importing.name].startswith(("done", "failed"))
    same_everywhere(importing, catalog_url, [100])


@pytest.mark.long
def test_paused_in_the_lock_of_sqlite(
    sqlite_url: str, tmp_path: Path, victim: Callable[..., Victim]
) -> None:
    from deltalakedb.table.operations.properties import CommitOptions
    from deltalakedb.table.operations.write import WriteOptions

    paused = victim("in the lock", sqlite_url)
    paused.wait_until_stopped()
    options = WriteOptions(mode="append", commit=CommitOptions(wait=PAUSE_SECONDS))
    with pytest.raises(DeltaLakeError, match=f"process {paused._process.pid}") as caught:
        paused.open().write_with(one(100), options)
    assert (caught.value.outcome, caught.value.retryable) == ("failed", True)
    assert paused.go_on() == "done 2"
    assert paused.open().append(one(100)).version == 3
    same_everywhere(paused, sqlite_url, [paused.number, -paused.number, 100])


@pytest.mark.long
@pytest.mark.parametrize("registered", [True, False])
@pytest.mark.parametrize("authority", ["sql", "log"])
def test_files_that_a_vacuum_took_are_not_committed(
    catalog_url: str,
    tmp_path: Path,
    victim: Callable[..., Victim],
    monkeypatch: pytest.MonkeyPatch,
    registered: bool,
    authority: str,
) -> None:
    monkeypatch.setenv("DL_FAULTS_LATENT_SECONDS", "0" if registered else "60")
    paused = victim("with data written", catalog_url, authority)
    paused.wait_until_stopped()
    files = set(paused.place.glob("*.parquet"))
    table = paused.open()
    if registered:
        # By the database's clock, which is the one that counts, it is silent for too long.
        with writing(parse_database(catalog_url)) as writer:
            expire = "UPDATE dl_staged_files SET expires_at = 0"
            writer.transact([Statement(expire, (), rows=1)])
    gone = table.vacuum(0, False, False, full=not registered)
    assert len(gone) == 1
    assert len(files - set(paused.place.glob("*.parquet"))) == 1
    said = paused.go_on()
    assert said.startswith("failed CONCURRENCY_ERROR")
    same_everywhere(paused, catalog_url, [paused.number])
    assert os.path.exists(paused.place)
