"""Tables and snapshots that were opened before a fork, as servers with prefork workers do."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.compute as pc
import pytest

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.config import CacheConfig, SqlConfig
from deltalakedb.error import DeltaLakeError
from deltalakedb.facade.connection import SqlConnection
from deltalakedb.importing.run import import_table
from deltalakedb.scan.threads import in_order
from deltalakedb.snapshot.snapshot import Snapshot
from tests.log.made_logs import write_commit
from tests.table.opening import add, first_actions, open_table

FILES = {"a": 40, "b": 7}
_SECONDS = 120


@pytest.fixture
def two_tables(tmp_path: Path, any_catalog_url: str) -> str:
    """A catalog of tables `a` and `b`, of different numbers of files."""
    for name, count in FILES.items():
        log = tmp_path / name / "_delta_log"
        log.mkdir(parents=True)
        files = [add(f"{name}{i}", least=10 * i) for i in range(count)]
        write_commit(log, 0, [*first_actions(), *files])
        import_table(str(tmp_path / name), database=any_catalog_url, table_name=name)
    return any_catalog_url


def forked(action: Callable[[], str]) -> tuple[int, int]:
    """A child that does `action` and writes what it says to a pipe: the reading end, and its id."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        # The system's own way, which ends a child that hangs in C too.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_SECONDS)
        try:
            said = action()
        except BaseException as error:  # noqa: BLE001 - the child must not go on with the tests
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    return reading, process


def said(children: list[tuple[int, int]]) -> list[str]:
    found = []
    for pipe, process in children:
        with os.fdopen(pipe) as stream:
            found.append(stream.read())
        os.waitpid(process, 0)
    return found


def planned(snapshot: Snapshot, name: str, times: int) -> str:
    """`right` when each plan is exactly the table's own."""
    for _ in range(times):
        paths = snapshot.plan("id >= 0").column("path")
        own = pc.all(pc.starts_with(paths, f"day=2024-05-01/{name}")).as_py()
        if len(paths) != FILES[name] or not own:
            return f"{len(paths)} files for {name}"
    return "right"


def test_a_fork(two_tables: str, tmp_path: Path) -> None:
    """One test a database: its catalog takes longer than all of them."""
    each_forked_reader_gets_its_own_table(two_tables)
    a_child_that_ends_in_order_leaves_the_parents_connections(two_tables, tmp_path)
    a_fork_while_another_thread_asks(two_tables)
    an_answer_in_batches_is_the_process_that_began_it(two_tables)


def each_forked_reader_gets_its_own_table(two_tables: str) -> None:
    snapshots = {name: open_table(two_tables, name).snapshot() for name in FILES}
    for name, snapshot in snapshots.items():
        assert planned(snapshot, name, 1) == "right"
    jobs = [(snapshots[name], name) for name in "abab"]
    pipes = [forked(lambda s=s, n=n: planned(s, n, 15)) for s, n in jobs]  # type: ignore[misc]
    assert [planned(snapshots[n], n, 15) for n in "ab"] == ["right"] * 2
    assert said(pipes) == ["right"] * 4
    assert [planned(snapshots[n], n, 1) for n in "ab"] == ["right"] * 2


def a_child_that_ends_in_order_leaves_the_parents_connections(
    two_tables: str, tmp_path: Path
) -> None:
    """Interpreters that end close what they hold; sockets of the parent must not be among it."""
    table = open_table(two_tables, "a", cache=CacheConfig(directory=str(tmp_path / "cache")))
    snapshot = table.snapshot()
    with Catalog(two_tables) as catalog, SqlConnection(SqlConfig(two_tables)) as sql:
        assert sql.execute("SELECT count(*) FROM dl_tables") == [(2,)]
        connection = snapshot._held.catalog.reader._connection

        def ends() -> str:
            same = sql.execute("SELECT count(*) FROM dl_tables") == [(2,)]
            with catalog.read() as read:
                same = same and read.exec_driver_sql("SELECT 1").scalar() == 1
            result = planned(snapshot, "a", 2)
            catalog.close()
            sql.close()
            table._catalog.close()
            gc.collect()
            return result if same else "wrong"

        # DuckDB's connections that other tests have made are the parent's to collect: in a child
        # they would wait for threads that aren't there. Those of the engine don't.
        gc.collect()
        assert said([forked(ends)]) == ["right"]
        if not two_tables.startswith("sqlite"):
            assert snapshot._held.catalog.reader._connection is connection
            connection.cursor().execute("SELECT 1")
        assert sql.execute("SELECT count(*) FROM dl_tables") == [(2,)]
        assert planned(snapshot, "a", 1) == "right"


def a_fork_while_another_thread_asks(two_tables: str) -> None:
    """Its lock would stay taken in the child for ever."""
    snapshot = open_table(two_tables, "a").snapshot()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            snapshot.plan("id >= 0")

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        time.sleep(0.05)
        pipes = [forked(lambda: planned(snapshot, "a", 5)) for _ in range(6)]
        assert said(pipes) == ["right"] * 6
    finally:
        stop.set()
        thread.join()


def an_answer_in_batches_is_the_process_that_began_it(two_tables: str) -> None:
    dialect = open_table(two_tables, "a")._catalog.reader.dialect
    import pyarrow as pa

    schema = pa.schema([("version", pa.int64())])
    question = "SELECT a.version FROM dl_versions a, dl_versions b, dl_versions c"
    batches = dialect.stream(question, schema, 1)
    first = next(batches)
    assert first.num_rows >= 1

    def go_on() -> str:
        try:
            next(batches)
        except DeltaLakeError as error:
            return error.kind.value
        return "went on"

    assert said([forked(go_on)]) == ["invalid_argument"]
    assert first.num_rows + sum(b.num_rows for b in batches) == 8


def test_rows_read_by_threads_are_not_waited_for_in_a_child() -> None:
    """The threads are not there."""

    def job() -> Iterator[int]:
        yield from range(5)

    results = in_order([job, job], 2)
    assert next(results) == 0

    def go_on() -> str:
        try:
            return str(list(results))
        except DeltaLakeError as error:
            return error.kind.value

    assert said([forked(go_on)]) == ["invalid_argument"]
    assert list(results) == [1, 2, 3, 4, 0, 1, 2, 3, 4]
