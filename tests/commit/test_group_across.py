"""Appends of several processes become one version: whoever has the lease takes along what waits."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.catalog.dialects.writer import LostConnectionError, Statement, Writer
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.error import DeltaLakeError
from deltalakedb.mirror.lease import Lease, acquire, release
from deltalakedb.table.operations import across, gather, operation
from deltalakedb.table.operations.joint import Append
from tests.cli.commands import dl as cli

SCHEMA = pa.schema([("n", pa.int64())])


def rows(*numbers: int) -> pa.Table:
    return pa.table({"n": pa.array(numbers, pa.int64())})


def made(catalog_url: str, folder: Path) -> dl.Table:
    return dl.create_table(
        f"deltasql://{catalog_url}?table=t",
        SCHEMA,
        location=str(folder / "t"),
        properties={gather.PROPERTY: "true"},
    )


@pytest.fixture
def table(catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dl.Table:
    """Each append is as one of a process of its own, and puts count as slow."""

    def apart(catalog: Any, base: Any, staged: Any, options: Any) -> Any:
        mine = Append(catalog, base, staged, options)
        across.commit([mine])
        if isinstance(mine.outcome, DeltaLakeError):
            raise mine.outcome
        return mine.outcome

    monkeypatch.setattr(operation, "gathered", apart)
    monkeypatch.setattr(across, "SLOW_SECONDS", -1.0)
    found = made(catalog_url, tmp_path)
    # The put of version 0 is what tells how slow they are.
    assert across.put_seconds(across.log_of(found._head.row, None)) is not None
    return found


def waiting(table: dl.Table) -> int:
    with writing(table.catalog.reader.url) as writer:
        [(count,)] = writer.select(Statement("SELECT count(*) FROM dl_waiting"))
    return int(count)


@contextmanager
def held(table: dl.Table) -> Iterator[Callable[[], None]]:
    """Another holds the lease, until what it gives is called."""
    url = table.catalog.reader.url
    with writing(url) as writer:
        lease = acquire(writer, f"group/{table.table_id}", 120.0)
    assert lease is not None

    def let_go() -> None:
        with writing(url) as writer:
            release(writer, lease)

    yield let_go


def start(
    table: dl.Table, threads: ThreadPoolExecutor, calls: list[Callable[[dl.Table], Any]]
) -> list[Future[Any]]:
    """Each call on a table that it has opened, one after the other waiting."""

    def outcome(call: Callable[[dl.Table], Any]) -> Any:
        try:
            return call(dl.connect_to_table(table.uri, cache=False))
        except DeltaLakeError as error:
            return error

    before = waiting(table)
    found = []
    deadline = time.monotonic() + 60
    for number, call in enumerate(calls, 1):
        found.append(threads.submit(outcome, call))
        while waiting(table) < before + number and not found[-1].done():
            assert time.monotonic() < deadline
            time.sleep(0.005)
    return found


def appending(number: int, **options: Any) -> Callable[[dl.Table], Any]:
    return lambda opened: opened.append(rows(number), **options)


def test_one_version_for_those_who_wait(table: dl.Table, catalog_url: str) -> None:
    def append(number: int) -> Callable[[dl.Table], Any]:
        txn = dl.AppTransaction(f"app{number}", number)
        properties = dl.CommitProperties(app_transactions=[txn])
        return appending(number, token=f"token{number}", commit_properties=properties)

    with ThreadPoolExecutor(5) as threads, held(table) as let_go:
        calls = start(table, threads, [append(number) for number in range(1, 6)])
        assert table.refresh().version == 0
        let_go()
        found = [each.result() for each in calls]
    assert [(each.version, each.published, each.repeated) for each in found] == [
        (1, True, False)
    ] * 5
    assert len({each.timestamp for each in found}) == 1
    assert [each.metrics["numOutputRows"] for each in found] == [1] * 5
    path = Path(table.location.removeprefix("file://"))
    text = (path / "_delta_log" / f"{1:020d}.json").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    kinds = Counter(next(iter(line)) for line in lines)
    assert kinds == {"commitInfo": 1, "txn": 5, "add": 5}
    assert lines[0]["commitInfo"]["operationMetrics"]["numOutputRows"] == "5"
    seen = deltalake.DeltaTable(str(path)).to_pyarrow_table()
    assert sorted(seen["n"].to_pylist()) == [1, 2, 3, 4, 5]
    assert table.snapshot().transactions["app3"]["version"] == 3
    assert waiting(table) == 0
    assert dl.diff_table("t", database=catalog_url).parity
    # Each was committed under its own token.
    again = append(4)(dl.connect_to_table(table.uri))
    assert (again.version, again.repeated) == (1, True)
    assert table.snapshot().count_rows() == 5
    assert len(list(path.glob("*.parquet"))) == 5


def test_the_fault_of_one_is_its_own(table: dl.Table) -> None:
    assert table.append(rows(100), token="known").version == 1
    table.delete("n = 100")
    table.alter.add_columns([pa.field("more", pa.int64())])
    with ThreadPoolExecutor(3) as threads, held(table) as let_go:
        calls = start(table, threads, [appending(1), appending(3, token="known"), appending(2)])
        let_go()
        one, known, two = [each.result() for each in calls]
    assert {one.version, two.version} <= {4, 5}
    assert (known.version, known.repeated) == (1, True)
    assert sorted(table.snapshot().to_pyarrow_table()["n"].to_pylist()) == [1, 2]
    assert waiting(table) == 0
    # That of the repeated call is gone, that of the deleted row is there.
    assert len(list(Path(table.location.removeprefix("file://")).glob("*.parquet"))) == 3


def test_nobody_waits_for_ever(table: dl.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has the lease and does nothing is not waited for, and commits nothing later."""
    once = operation.gathered

    def hasty(catalog: Any, base: Any, staged: Any, options: Any) -> Any:
        return once(catalog, base, staged, replace(options, wait=0.3))

    monkeypatch.setattr(operation, "gathered", hasty)
    with held(table):
        assert table.append(rows(1)).version == 1
        assert waiting(table) == 0
    assert table.snapshot().count_rows() == 1


def test_a_row_that_was_sent_away(table: dl.Table) -> None:
    """Its append is committed by who waits for it; a lease that has run out is another's."""
    url = table.catalog.reader.url
    with ThreadPoolExecutor(2) as threads, held(table):
        calls = start(table, threads, [appending(1)])
        with writing(url) as writer:
            writer.transact([Statement("DELETE FROM dl_waiting")])
        assert calls[0].result().version == 1
        calls = start(table, threads, [appending(2)])
        with writing(url) as writer:
            writer.transact([Statement("UPDATE dl_leases SET expires_at = 1")])
        assert calls[0].result().version == 2
    assert sorted(table.snapshot().to_pyarrow_table()["n"].to_pylist()) == [1, 2]


def test_an_answer_that_is_lost_while_another_commits_of_the_group(
    table: dl.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others have committed of it says nothing of the rest."""
    commit, cut = Writer.commit, []
    with ThreadPoolExecutor(1) as threads, held(table):
        [other] = start(table, threads, [appending(1)])

        def lost(self: Writer, statements: Any) -> None:
            if cut:
                commit(self, statements)
                return
            cut.append(statements)
            self.rollback()
            with writing(self.url) as writer:
                writer.transact([Statement("DELETE FROM dl_waiting")])
            assert other.result().version == 1
            raise LostConnectionError("cut off")

        monkeypatch.setattr(Writer, "commit", lost)
        monkeypatch.setattr(across, "acquire_free", lambda _, name, __: Lease(name, "ours"))
        assert table.append(rows(2)).version == 2
    assert cut
    assert sorted(table.snapshot().to_pyarrow_table()["n"].to_pylist()) == [1, 2]


APPENDER = """
import sys, threading, time
import pyarrow as pa
import deltalakedb as dl
from deltalakedb.storage.local import LocalStore
put = LocalStore.put_if_absent
def slow(self, name, data):
    time.sleep(0.03)
    return put(self, name, data)
LocalStore.put_if_absent = slow
uri, who = sys.argv[1:]
lock = threading.Lock()
def work(thread):
    table = dl.connect_to_table(uri, cache=False)
    number = 0
    while True:
        row = int(who) * 1_000_000 + thread * 10_000 + number
        number += 1
        try:
            version = table.append(pa.table({"n": pa.array([row], pa.int64())})).version
        except dl.DeltaLakeError:
            # A halted process may hold a lock; the row isn't there, or nobody has heard of it.
            continue
        with lock:
            print(row, version, flush=True)
threads = [threading.Thread(target=work, args=(thread,)) for thread in range(3)]
for each in threads:
    each.start()
for each in threads:
    each.join()
"""


@pytest.mark.long
def test_processes_that_are_killed_and_halted(any_catalog_url: str, tmp_path: Path) -> None:
    table = made(any_catalog_url, tmp_path)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", APPENDER, table.uri, str(number)],
            stdout=(tmp_path / f"{number}.out").open("w"),
        )
        for number in range(4)
    ]

    def told() -> dict[int, int]:
        lines = [
            line.split()
            for number in range(4)
            for line in (tmp_path / f"{number}.out").read_text().splitlines(keepends=True)
            if line.endswith("\n")
        ]
        return {int(row): int(version) for row, version in lines}

    def goes_on(by: int) -> None:
        before, deadline = len(told()), time.monotonic() + 240
        while len(told()) < before + by:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    goes_on(60)
    for turn in range(2):
        halted, dead = running[turn * 2 : turn * 2 + 2]
        halted.send_signal(signal.SIGSTOP)
        if any_catalog_url.startswith("sqlite"):
            # Whoever writes there keeps all others from it.
            time.sleep(4)
        else:
            goes_on(10)
        halted.send_signal(signal.SIGCONT)
        goes_on(10)
        dead.kill()
        dead.wait()
        if turn == 0:
            goes_on(30)
    for each in running:
        each.kill()
        each.wait()
    assert cli("mirror", "drain", "t", "--database", any_catalog_url).exit_code == 0
    known = told()
    head = table.refresh().version
    seen = deltalake.DeltaTable(table.location)
    assert seen.version() == head
    found = Counter(seen.to_pyarrow_table()["n"].to_pylist())
    # Once each; what nobody has heard of may be there, as after any lost answer.
    assert set(found.values()) == {1}
    assert set(known) <= set(found)
    assert head < len(found), "no version has appends of several calls"
    assert dl.diff_table("t", database=any_catalog_url).parity
