"""Who is there while an import runs: readers, other imports, the same import once more."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.loads import ledger
from deltalakedb.commit.extend import Extension, NewRows
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing import catch_up
from deltalakedb.importing import load as loading
from deltalakedb.importing.run import import_table
from deltalakedb.log.reader import plan_ranges
from deltalakedb.storage.open import open_store
from tests.migrate.catalogs import engine, left_over, runs, write_log
from tests.replay.generated import Log, add, table_commit

STUCK_SECONDS = 60
"""Nothing here takes so long on the busiest machine, unless one waits for the other."""
OLD: Log = [table_commit(), [add(f"old{i}", value=str(i)) for i in range(7)]]
NEW: Log = [table_commit(), [add(f"new{i}", value=str(i)) for i in range(50)]]
LIVE = (
    "SELECT h.num_files, count(f.path) FROM dl_tables t "
    "JOIN dl_heads h ON h.table_key = t.table_key "
    "LEFT JOIN dl_live_files f ON f.table_name = t.name AND f.namespace = t.namespace "
    "WHERE t.name = 'orders' GROUP BY h.num_files"
)


def import_(table: Path, database: str, **options: Any) -> Any:
    return import_table(str(table), database=database, **{"mode": "full-history"} | options)


def put_log(table: Path, log: Log) -> Path:
    for file in (table / "_delta_log").glob("*"):
        file.unlink()
    write_log(table, log)
    return table


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return put_log(tmp_path / "orders", OLD)


@contextmanager
def polling(database: str, query: str) -> Iterator[list[Any]]:
    """What one connection after the other's answer sees, statement by statement, meanwhile."""
    seen: list[Any] = []
    stopped = threading.Event()
    started = threading.Event()

    def poll() -> None:
        with engine(database).connect() as connection:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            last = False
            while not last:
                last = stopped.is_set()  # and once more: what is there in the end
                seen.append(tuple(connection.execute(sa.text(query)).one()))
                started.set()

    threads = [threading.Thread(target=poll) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert started.wait(60)
    try:
        yield seen
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def test_readers_see_the_old_state_or_the_new_never_a_mixture(
    table: Path, catalog_url: str
) -> None:
    import_(table, catalog_url)
    with polling(catalog_url, LIVE) as seen:
        for log in (NEW, OLD) * 5:
            import_(put_log(table, log), catalog_url, rebuild=True)
    assert set(seen) == {(7, 7), (50, 50)}
    assert left_over(catalog_url) == {}


def test_a_catching_up_is_seen_whole_or_not_at_all(table: Path, catalog_url: str) -> None:
    import_(table, catalog_url)
    query = LIVE.replace("h.num_files", "h.head_version, h.num_files")
    log = [*OLD]
    with polling(catalog_url, query) as seen:
        for step in range(5):
            log.append([add(f"more{step}-{i}") for i in range(step + 1)])
            write_log(table, log, first=len(log) - 1)
            import_(table, catalog_url)
    totals = [7, 8, 10, 13, 17, 22]
    assert set(seen) <= {(1 + step, count, count) for step, count in enumerate(totals)}
    assert (6, 22, 22) in seen


def test_nobody_waits_while_the_rows_of_a_large_catch_up_go_down(
    table: Path, any_catalog_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_(table, any_catalog_url)
    write_log(table, [*OLD, *[[add(f"more{i}-{n}") for n in range(9)] for i in range(3)]], first=2)
    monkeypatch.setattr(catch_up, "plan_ranges", partial(plan_ranges, size=2_000))
    insert = Extension.insert
    inserted: list[Any] = []

    def insert_and_look(extension: Extension, rows: NewRows) -> None:
        if len(inserted) == 1:
            inserted.append(0)
            raise RuntimeError("the process dies here")
        insert(extension, rows)
        with engine(any_catalog_url).connect() as connection:
            assert connection.execute(sa.text(LIVE)).all() == [(7, 7)]
            if not any_catalog_url.startswith("sqlite"):  # which has one writer
                connection.execute(sa.text("SELECT 1 FROM dl_heads FOR UPDATE NOWAIT")).all()
        inserted.append(rows)

    monkeypatch.setattr(Extension, "insert", insert_and_look)
    with pytest.raises(RuntimeError):
        import_(table, any_catalog_url)
    assert left_over(any_catalog_url) == {}
    assert import_(table, any_catalog_url).status == "caught_up"
    assert len(inserted) > 3
    with engine(any_catalog_url).connect() as connection:
        assert connection.execute(sa.text(LIVE)).all() == [(34, 34)]


def test_an_old_snapshot_is_neither_blocked_nor_blocks_the_swap(
    table: Path, pg_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "HEAP_ROWS", -1)
    import_(table, pg_database)
    with closing(psycopg2.connect(pg_database)) as connection:
        cursor = connection.cursor()

        def count() -> int:
            started = time.monotonic()
            cursor.execute("SELECT count(*) FROM dl_live_files")
            [(found,)] = cursor.fetchall()
            assert time.monotonic() - started < STUCK_SECONDS
            return int(found)

        connection.set_session(isolation_level="REPEATABLE READ")
        assert count() == 7
        waited: list[float] = []

        def other_reader() -> None:
            started = time.monotonic()
            with engine(pg_database).connect() as other:
                other.execute(sa.text("SELECT count(*) FROM dl_live_files"))
            waited.append(time.monotonic() - started)

        stopped = threading.Event()

        def keep_reading() -> None:
            while not stopped.is_set():
                other_reader()

        reader = threading.Thread(target=keep_reading)
        reader.start()
        started = time.monotonic()
        try:
            result = import_(put_log(table, NEW), pg_database, rebuild=True)
        finally:
            stopped.set()
            reader.join()
        assert result.swap_ms < 1000 * STUCK_SECONDS
        assert time.monotonic() - started < STUCK_SECONDS
        assert max(waited) < STUCK_SECONDS
        assert count() == 7
        again = import_(table, pg_database)
        assert again.status == "unchanged"
        assert count() == 7
        connection.rollback()
        assert count() == 50
        connection.rollback()
    assert left_over(pg_database) != {}
    import_(table, pg_database)
    assert left_over(pg_database) == {}


def test_a_reader_of_sqlite_goes_on_with_what_it_began(table: Path, sqlite_url: str) -> None:
    """Another process has a query open, which in SQLite's own default mode stops all writers."""
    import_(table, sqlite_url)
    path = sqlite_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.execute("BEGIN")
        cursor = connection.execute("SELECT path FROM dl_live_files ORDER BY path")
        assert cursor.fetchone() == ("old0",)
        started = time.monotonic()
        import_(put_log(table, NEW), sqlite_url, rebuild=True)
        assert time.monotonic() - started < STUCK_SECONDS
        assert len(cursor.fetchall()) == 6
        assert connection.execute("SELECT count(*) FROM dl_live_files").fetchone() == (7,)
        connection.execute("ROLLBACK")
        assert connection.execute("SELECT count(*) FROM dl_live_files").fetchone() == (50,)
    assert left_over(sqlite_url) == {}


def test_imports_of_other_tables_go_on_at_any_stage(
    table: Path, catalog_url: str, tmp_path: Path
) -> None:
    others: list[str] = []

    def import_another(stage: str, done: int, *_: int) -> None:
        name = f"{stage}{done}"
        write_log(tmp_path / name, NEW)
        started = time.monotonic()
        import_(tmp_path / name, catalog_url)
        import_(tmp_path / name, catalog_url, rebuild=True)
        assert time.monotonic() - started < STUCK_SECONDS
        others.append(name)

    import_(table, catalog_url, progress=import_another)
    assert others == ["parse0", "parse1", "load0", "load1", "index0", "index1"]
    assert left_over(catalog_url) == {}
    assert [r["status"] for r in runs(catalog_url)] == ["succeeded"] * 13


def test_the_same_import_is_refused_while_it_runs(table: Path, catalog_url: str) -> None:
    refused: list[DeltaLakeError] = []

    def once_more(stage: str, done: int, *_: int) -> None:
        with pytest.raises(DeltaLakeError) as caught:
            import_(table, catalog_url, rebuild=True)
        refused.append(caught.value)

    import_(table, catalog_url, progress=once_more)
    assert {e.kind for e in refused} == {DeltaLakeErrorKind.CONCURRENCY_ERROR}
    assert all(str(table) in e.message for e in refused)
    assert [r["status"] for r in runs(catalog_url)] == ["succeeded"]
    assert left_over(catalog_url) == {}


def test_of_imports_started_at_one_moment_one_imports(table: Path, catalog_url: str) -> None:
    """On an empty database: they also meet where the catalog is made."""

    def attempt(_: int) -> str:
        try:
            return str(import_(table, catalog_url).status)
        except DeltaLakeError as error:
            return error.kind.value

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(attempt, range(4)))
    assert outcomes.count("imported") == 1
    assert set(outcomes) <= {"imported", "unchanged", "concurrency_error"}
    with engine(catalog_url).connect() as connection:
        assert connection.execute(sa.text(LIVE)).all() == [(7, 7)]
    assert left_over(catalog_url) == {}


def test_two_tables_that_want_one_name_at_one_moment(
    table: Path, catalog_url: str, tmp_path: Path
) -> None:
    """The second is told in its swap what the first did not yet have done at its start."""
    other = put_log(tmp_path / "elsewhere" / "orders", NEW)

    def take_the_name(stage: str, done: int, *_: int) -> None:
        if (stage, done) == ("load", 0):
            import_(other, catalog_url)

    started = time.monotonic()
    with pytest.raises(DeltaLakeError) as caught:
        import_(table, catalog_url, progress=take_the_name)
    assert time.monotonic() - started < STUCK_SECONDS
    assert caught.value.kind is DeltaLakeErrorKind.TABLE_EXISTS
    assert "orders" in caught.value.message
    assert "--table-name" in caught.value.message
    with engine(catalog_url).connect() as connection:
        assert connection.execute(sa.text(LIVE)).all() == [(50, 50)]
    assert left_over(catalog_url) == {}


def test_a_catch_up_is_refused_when_the_table_has_moved(table: Path, catalog_url: str) -> None:
    from deltalakedb.catalog.reading import queries
    from deltalakedb.commit.apply import apply_state
    from deltalakedb.log.reader import plan_ranges, read_listing, read_range
    from deltalakedb.log.segment import latest_segment
    from deltalakedb.replay.state import RangeState
    from deltalakedb.storage.spec import StoreSpec

    import_(table, catalog_url)
    with Catalog(catalog_url) as catalog:
        before = queries.find_table(catalog, "orders")
        log = [*OLD, [add("next")]]
        write_log(table, log, first=2)
        import_(table, catalog_url)
        run = ledger.start_run(
            catalog, table_id="x", table_name="x", location="x", mode="fast", workers=0
        )
        store = open_store(StoreSpec(str(table / "_delta_log")))
        [whole] = plan_ranges(store, latest_segment(read_listing(store)))
        state = RangeState.replay(read_range(store, whole), 2, 2)
        with pytest.raises(DeltaLakeError) as caught:
            apply_state(catalog, before, run, state)
        assert caught.value.kind is DeltaLakeErrorKind.CONCURRENCY_ERROR
        assert queries.find_table(catalog, "orders").head_version == 2


def test_no_connection_is_kept_after_an_import(
    table: Path, pg_database: str, dask_client: Any
) -> None:
    def connections() -> int:
        with closing(psycopg2.connect(pg_database)) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            [(found,)] = cursor.fetchall()
        return int(found)

    engine(pg_database).dispose()
    for client in (None, dask_client):
        import_(table, pg_database, client=client, rebuild=True)
        deadline = time.monotonic() + 60
        while connections() and time.monotonic() < deadline:
            time.sleep(0.02)  # a backend ends a moment after its client has closed
        assert connections() == 0


@pytest.mark.parametrize("cut", [1, 3])
def test_catching_up_while_connections_are_cut_is_exact_or_refused(
    table: Path, pg_database: str, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deltalakedb.importing import catch_up

    import_(table, pg_database)
    log = [*OLD, [add("next")]]
    write_log(table, log, first=2)
    apply_state: Callable[..., Any] = catch_up.apply_state
    calls: list[int] = []

    def cut_then_apply(*arguments: Any) -> Any:
        if len(calls) < cut:
            calls.append(1)
            with closing(psycopg2.connect(pg_database)) as connection:
                connection.autocommit = True
                connection.cursor().execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        return apply_state(*arguments)

    monkeypatch.setattr(catch_up, "apply_state", cut_then_apply)
    assert import_(table, pg_database).status == "caught_up"
    with engine(pg_database).connect() as connection:
        assert connection.execute(sa.text(LIVE)).all() == [(8, 8)]
