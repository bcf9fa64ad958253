"""Snapshots that wait at the same moment: one question for all, each its own answer."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import deltalakedb as dl
from deltalakedb.catalog.dialects.sqlite.inside import inside
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.table import connect
from tests.table.test_transaction import rows, tables, uri_of


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The tables of each question that is asked from now on."""
    found: list[list[str]] = []
    ask = connect.each_snapshot

    def noting(some: Any) -> Any:
        found.append([table.name for table in some])
        return ask(some)

    monkeypatch.setattr(connect, "each_snapshot", noting)
    return found


@pytest.fixture
def ops() -> Iterator[dl.AsyncDeltaLakeOperations]:
    with dl.AsyncIOExecutor(dl.AsyncTaskConfig(max_concurrent_tasks=2)) as executor:
        yield dl.AsyncDeltaLakeOperations(executor)


def test_one_question_for_all_and_each_its_own_error(
    sqlite_url: str, tmp_path: Path, ops: dl.AsyncDeltaLakeOperations, asked: list[list[str]]
) -> None:
    tables(sqlite_url, tmp_path, "a", "b", "x.same", "y.same")
    other = f"sqlite:///{tmp_path / 'other.db'}"
    tables(other, tmp_path / "other", "a")
    uris = [
        *(uri_of(sqlite_url, name) for name in ("a", "nobody", "same", "x.same", "b", "a")),
        uri_of(other, "a"),
        uri_of(f"sqlite:///{tmp_path / 'none.db'}", "a"),
        "nothing",
    ]

    async def every() -> list[Any]:
        found = (ops.snapshot_async(uri) for uri in uris)
        return await asyncio.gather(*found, return_exceptions=True)

    found = asyncio.run(every())
    kinds = DeltaLakeErrorKind
    assert [each.kind if isinstance(each, DeltaLakeError) else each.name for each in found] == [
        *("a", kinds.TABLE_NOT_FOUND, kinds.INVALID_ARGUMENT, "x.same", "b", "a"),
        *("a", kinds.NOT_FOUND, kinds.INVALID_ARGUMENT),
    ]
    assert found[6].location != found[0].location == found[5].location
    assert sorted(map(len, asked)) == [1, 1, 6]
    # An error of the database is each call's own.
    uris[:] = [uris[7], uris[7]]
    first, second = asyncio.run(every())
    assert first is not second
    assert first.kind is second.kind is kinds.NOT_FOUND


def test_an_answer_is_never_older_than_its_call(
    sqlite_url: str, tmp_path: Path, ops: dl.AsyncDeltaLakeOperations, asked: list[list[str]]
) -> None:
    [table] = tables(sqlite_url, tmp_path, "a")
    busy, go = threading.Barrier(3), threading.Event()

    def hold() -> None:
        busy.wait(60)
        go.wait(60)

    async def calls() -> list[int]:
        # Both threads have something else to do, so that calls of several moments wait.
        held = [asyncio.ensure_future(ops._executor.run(hold)) for _ in range(2)]
        await asyncio.to_thread(busy.wait, 60)
        waiting = [asyncio.ensure_future(ops.snapshot_async(table.uri))]
        gone = asyncio.ensure_future(ops.snapshot_async(table.uri))
        await asyncio.sleep(0)
        await asyncio.to_thread(table.append, rows(1))
        gone.cancel()
        waiting.append(asyncio.ensure_future(ops.snapshot_async(table.uri)))
        await asyncio.sleep(0)
        go.set()
        versions = [each.version for each in await asyncio.gather(*waiting)]
        await asyncio.gather(*held)
        assert gone.cancelled()
        await asyncio.to_thread(table.append, rows(2))
        return [*versions, (await ops.snapshot_async(table.uri)).version]

    assert asyncio.run(calls()) == [1, 1, 2]
    assert asked == [["a", "a"], ["a"]]


def test_loops_and_closed_threads(sqlite_url: str, tmp_path: Path) -> None:
    [table] = tables(sqlite_url, tmp_path, "a")
    executor = dl.AsyncIOExecutor()
    ops = dl.AsyncDeltaLakeOperations(executor)

    def version() -> int:
        return asyncio.run(ops.snapshot_async(table.uri)).version

    async def leave() -> None:
        # Nobody is there when the answer comes.
        left = asyncio.ensure_future(ops.snapshot_async(table.uri))
        await asyncio.sleep(0)
        assert not left.done()

    assert version() == 0
    asyncio.run(leave())
    assert version() == 0
    executor.close()
    with pytest.raises(RuntimeError, match="shutdown"):
        version()


FORKING = """
import asyncio, os, sys
import deltalakedb as dl
ops = dl.AsyncDeltaLakeOperations()
version = lambda: asyncio.run(ops.snapshot_async(sys.argv[1])).version
assert version() == 0
child = os.fork()
if child == 0:
    os._exit(10 + version())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_has_threads_of_its_own(sqlite_url: str, tmp_path: Path) -> None:
    [table] = tables(sqlite_url, tmp_path, "a")
    made = subprocess.run([sys.executable, "-c", FORKING, table.uri], timeout=240, check=False)
    assert made.returncode == 10


def test_a_fork_lets_no_new_reader_into_sqlite(sqlite_url: str, tmp_path: Path) -> None:
    [table] = tables(sqlite_url, tmp_path, "a")
    asked = threading.Event()

    def ask() -> None:
        connect.own_connections()
        assert dl.snapshots([table.uri])[0].version == 0
        asked.set()

    inside.before_fork()
    try:
        thread = threading.Thread(target=ask)
        thread.start()
        assert not asked.wait(0.2)
    finally:
        inside.forked()
    thread.join(60)
    assert asked.is_set()
