"""Real processes die in the middle of real imports: the result is exact, or nothing is visible."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from deltalakedb.catalog import retry
from deltalakedb.catalog.dialects.postgresql import dialect as postgresql
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing import spill
from tests.migrate.catalogs import left_over, reading, runs, select
from tests.migrate.faults import (
    Digest,
    Importer,
    Step,
    assert_exact,
    assert_nothing_visible,
    at,
    import_big,
    kill,
    small_parts,
    worker_processes,
)
from tests.servers.postgres import PostgresServer

if TYPE_CHECKING:
    from distributed import Client


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Two worker processes that may be killed: their nannies start them again."""
    import dask.config
    from distributed import Client, LocalCluster

    with (
        # Or it would give up a worker that is killed again 15 s after the first time.
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            local_directory=str(tmp_path_factory.mktemp("dask")),
        ) as local,
        Client(local) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    small_parts(monkeypatch)


@pytest.mark.parametrize("step", [("parse", 4), ("load", 4)], ids=["parse", "load"])
@pytest.mark.parametrize("count", [1, 2], ids=["one", "both"])
def test_workers_are_killed(
    big: Path, expected: Digest, cluster: Client, pg_database: str, step: Step, count: int
) -> None:
    victims = worker_processes(cluster)[:count]
    killed: list[int] = []

    def strike() -> None:
        kill(*victims)
        killed.extend(victims)

    import_big(big, pg_database, client=cluster, progress=at(step, strike))
    assert len(killed) == count
    assert_exact(pg_database, "big", expected)
    assert [r["status"] for r in runs(pg_database)] == ["succeeded"]


def test_a_worker_is_killed_while_one_process_writes_sqlite(
    big: Path, expected: Digest, cluster: Client, sqlite_url: str
) -> None:
    victim = worker_processes(cluster)[0]
    import_big(big, sqlite_url, client=cluster, progress=at(("load", 3), lambda: kill(victim)))
    assert victim not in worker_processes(cluster)
    assert_exact(sqlite_url, "big", expected)


@pytest.mark.parametrize("step", [("parse", 4), ("index", 0)], ids=["parse", "index"])
def test_the_client_is_killed_and_its_cluster_lives_on(
    big: Path, expected: Digest, cluster: Client, pg_database: str, tmp_path: Path, step: Step
) -> None:
    worker_processes(cluster)
    importer = Importer(big, pg_database, tmp_path, scheduler=cluster.scheduler.address)
    try:
        importer.wait_for(step)
        importer.kill()
    finally:
        importer.close()
    assert_nothing_visible(pg_database)
    import_big(big, pg_database, client=cluster)
    assert_exact(pg_database, "big", expected)
    assert [r["status"] for r in runs(pg_database)] == ["failed", "succeeded"]
    assert runs(pg_database)[0]["error_kind"] == "died"


def test_the_client_is_killed_with_its_workers(
    big: Path, expected: Digest, pg_database: str, tmp_path: Path
) -> None:
    importer = Importer(big, pg_database, tmp_path, scheduler="own")
    try:
        importer.wait_for(("load", 4))
        importer.kill()
    finally:
        importer.close()
    assert_nothing_visible(pg_database)
    import_big(big, pg_database)
    assert_exact(pg_database, "big", expected)


def test_the_process_that_writes_sqlite_is_killed(
    big: Path, expected: Digest, sqlite_url: str, tmp_path: Path
) -> None:
    importer = Importer(big, sqlite_url, tmp_path)
    try:
        importer.wait_for(("load", 4))
        importer.kill()
    finally:
        importer.close()
    assert_nothing_visible(sqlite_url)
    import_big(big, sqlite_url)
    assert_exact(sqlite_url, "big", expected)
    assert list(Path(tmp_path).glob("*.lock")) == []


@pytest.fixture
def separate_scheduler(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address of a scheduler with two workers, each a process of its own."""
    place = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli"]
    scheduler = subprocess.Popen(
        [
            *command[:2],
            "distributed.cli.dask_scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            "--scheduler-file",
            str(place),
        ],
        stderr=subprocess.DEVNULL,
    )
    workers = [
        subprocess.Popen(
            [*command[:2], "distributed.cli.dask_worker", "--scheduler-file", str(place),
             "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1",
             "--death-timeout", "120", "--local-directory", str(tmp_path)],
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]  # fmt: skip
    yield str(place), scheduler
    for process in (scheduler, *workers):
        process.kill()
        process.wait()


@pytest.mark.parametrize("step", [("parse", 3), ("load", 3)], ids=["parse", "load"])
def test_the_scheduler_is_killed(
    big: Path,
    expected: Digest,
    cluster: Client,
    pg_database: str,
    separate_scheduler: tuple[str, subprocess.Popen[bytes]],
    step: Step,
) -> None:
    import dask.config
    from distributed import Client

    place, scheduler = separate_scheduler
    while not Path(place).exists():
        time.sleep(0.05)
    with dask.config.set({"distributed.comm.timeouts.connect": "3s"}):
        client = Client(scheduler_file=place, timeout=240)
        client._timeout = 2  # how long it looks for a scheduler that has gone
        client.wait_for_workers(2, timeout=240)
        started = time.monotonic()
        with pytest.raises(DeltaLakeError) as caught:
            import_big(big, pg_database, client=client, progress=at(step, lambda: stop(scheduler)))
        client.close(timeout=1)
    assert caught.value.kind is DeltaLakeErrorKind.CLUSTER_ERROR
    assert "scheduler" in caught.value.message
    assert time.monotonic() - started < 150, "or it waits for ever"
    assert_nothing_visible(pg_database)
    import_big(big, pg_database, client=cluster)
    assert_exact(pg_database, "big", expected)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def test_connections_are_cut_in_the_middle_of_copy(
    big: Path,
    expected: Digest,
    cluster: Client,
    pg_database: str,
    postgres_server: PostgresServer,
) -> None:
    worker_processes(cluster)
    ended = threading.Event()
    cut: list[int] = []

    def cutting() -> None:
        from contextlib import closing

        import psycopg2

        with closing(psycopg2.connect(pg_database)) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            while not ended.is_set() and len(cut) < 5:
                cursor.execute(
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                    "AND state = 'active' AND query ILIKE 'COPY%dl_files_l%' LIMIT 1"
                )
                for (pid,) in cursor.fetchall():
                    cursor.execute("SELECT pg_terminate_backend(%s)", (pid,))
                    cut.append(pid)

    thread = threading.Thread(target=cutting)
    thread.start()
    try:
        # Where rows go down in no time, one import doesn't do.
        for again in range(10):
            if len(cut) < 5:
                import_big(big, pg_database, client=cluster, rebuild=bool(again))
    finally:
        ended.set()
        thread.join()
    assert len(cut) == 5
    assert_exact(pg_database, "big", expected)


def test_a_connection_is_lost_just_after_the_commit(
    big: Path, expected: Digest, pg_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loader can't know that its rows are in: it asks the ledger before it loads again."""
    commit = postgresql._CopyLoader.commit
    lost: list[int] = []

    def commit_and_lose(loader: Any, run_key: int, part: int, file_rows: int) -> None:
        commit(loader, run_key, part, file_rows)
        if part in (0, 3) and part not in lost:
            lost.append(part)
            loader._cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    monkeypatch.setattr(postgresql._CopyLoader, "commit", commit_and_lose)
    import_big(big, pg_database)
    assert lost == [0, 3]
    assert_exact(pg_database, "big", expected)


@pytest.mark.parametrize(
    ("step", "immediate"),
    [(("load", 4), True), (("index", 0), False)],
    ids=["crashed in the load", "restarted before the index"],
)
def test_the_database_restarts(
    big: Path,
    expected: Digest,
    cluster: Client,
    private_postgres: Callable[..., PostgresServer],
    step: Step,
    immediate: bool,
) -> None:
    """It finishes, or it fails clearly and the next one is exact."""
    worker_processes(cluster)
    server = private_postgres()
    url = server.url(server.create_database())
    restart = at(step, lambda: server.restart(immediate=immediate))
    failure: DeltaLakeError | None = None
    try:
        import_big(big, url, client=cluster, progress=restart)
    except DeltaLakeError as error:
        failure = error
    if failure is not None:
        assert failure.kind in (
            DeltaLakeErrorKind.DATABASE_ERROR,
            DeltaLakeErrorKind.CONCURRENCY_ERROR,
        )
        assert_nothing_visible(url)
        import_big(big, url, client=cluster)
    assert_exact(url, "big", expected)


def test_the_database_is_down_when_the_load_is_to_be_swapped(
    big: Path,
    expected: Digest,
    cluster: Client,
    private_postgres: Callable[..., PostgresServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker_processes(cluster)
    server = private_postgres()
    url = server.url(server.create_database())
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        """It is back when it has been asked for twice, however long a start takes here."""
        pauses.append(seconds)
        if len(pauses) == 2:
            server.start()
        time.sleep(seconds)

    def progress(stage: str, done: int, *_: int) -> None:
        if (stage, done) == ("index", 1):
            server.stop()
            monkeypatch.setattr(retry, "time", SimpleNamespace(sleep=pause))

    import_big(big, url, client=cluster, progress=progress)
    assert len(pauses) >= 2
    assert_exact(url, "big", expected)
    assert [r["status"] for r in runs(url)] == ["succeeded"]


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True
    )
    try:
        yield
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", str(folder)], check=True)


def no_memory(limit: int | None = None) -> None:
    """On a worker: spill everything; with `limit`, to files of so many bytes at most."""
    spill.MEMORY_BYTES = 0
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def as_usual() -> None:
    spill.MEMORY_BYTES = 96 << 20
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.mark.parametrize("way", ["full disk", "file size limit"])
def test_the_spill_disk_is_full(
    big: Path, expected: Digest, cluster: Client, pg_database: str, tmp_path: Path, way: str
) -> None:
    folder = tmp_path / "spill"
    worker_processes(cluster)
    with small_disk(folder):
        # Only root can mount a small disk; the limit makes writing fail for everybody.
        limited = way == "file size limit" or not os.path.ismount(folder)
        cluster.run(no_memory, 100_000 if limited else None)
        try:
            with pytest.raises(DeltaLakeError) as caught:
                import_big(big, pg_database, client=cluster, spill_dir=str(folder))
        finally:
            cluster.run(as_usual)
        assert caught.value.kind is DeltaLakeErrorKind.SPILL_ERROR
        assert str(folder) in caught.value.message
        assert "DL_SPILL_DIR" in caught.value.message
        assert_nothing_visible(pg_database)
        assert left_over(pg_database) == {}
        assert wait_until_empty(folder)
    assert runs(pg_database)[-1]["error_kind"] == "spill_error"


def wait_until_empty(folder: Path) -> bool:
    """Tasks that ran when the import gave up may end a little later."""
    deadline = time.monotonic() + 120
    while list(folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not list(folder.iterdir())


def test_what_is_spilled_is_loaded_and_removed(
    big: Path, expected: Digest, cluster: Client, pg_database: str, tmp_path: Path
) -> None:
    folder = tmp_path / "spill"
    folder.mkdir()
    worker_processes(cluster)
    cluster.run(no_memory)
    seen: list[int] = []
    try:
        import_big(
            big,
            pg_database,
            client=cluster,
            spill_dir=str(folder),
            progress=at(("load", 1), lambda: seen.append(spilled(folder))),
        )
    finally:
        cluster.run(as_usual)
    assert seen[0] > 5
    assert list(folder.iterdir()) == []
    assert_exact(pg_database, "big", expected)


def spilled(folder: Path) -> int:
    """How many files there are; workers go on removing what they have loaded."""
    names = [name for _, _, files in os.walk(folder) for name in files]
    return sum(name.endswith(".arrow") for name in names)


def test_a_log_that_changes_between_parsing_and_loading_is_refused(
    big: Path, cluster: Client, pg_database: str, tmp_path: Path
) -> None:
    """A worker dies, its parts are read again, and are other parts now."""
    copy = tmp_path / "big"
    (copy / "_delta_log").mkdir(parents=True)
    for file in (big / "_delta_log").iterdir():
        (copy / "_delta_log" / file.name).write_bytes(file.read_bytes())

    def change_and_kill() -> None:
        for file in (copy / "_delta_log").iterdir():
            file.write_bytes(
                file.read_bytes()
                .replace(b'"dataChange":true', b'"dataChange":true ')
                .replace(b"part-", b"tarp-")
            )
        kill(*worker_processes(cluster))

    with pytest.raises(DeltaLakeError) as caught:
        import_big(copy, pg_database, client=cluster, progress=at(("load", 1), change_and_kill))
    assert caught.value.kind is DeltaLakeErrorKind.LOG_DISAGREES
    assert_nothing_visible(pg_database)
    assert left_over(pg_database) == {}


def test_a_run_that_was_taken_for_dead_changes_nothing(
    big: Path, expected: Digest, pg_database: str
) -> None:
    """Its lease was lost, another import came, cleaned up and failed in its turn."""
    from deltalakedb.catalog.catalog import Catalog
    from deltalakedb.catalog.loads import ledger

    def clean_up() -> None:
        with Catalog(pg_database) as catalog, reading(pg_database) as connection:
            [row] = select(connection, "SELECT location FROM dl_import_runs")
            ledger.clean_up(catalog, row["location"])

    for step in (("load", 4), ("index", 0), ("index", 1)):

        def progress(stage: str, done: int, *_: int, step: Step = step) -> None:
            if (stage, done) == step:
                clean_up()

        with pytest.raises(DeltaLakeError) as caught:
            import_big(big, pg_database, progress=progress)
        assert caught.value.kind in (
            DeltaLakeErrorKind.CONCURRENCY_ERROR,
            DeltaLakeErrorKind.DATABASE_ERROR,
        )
        assert_nothing_visible(pg_database)
        assert left_over(pg_database) == {}
        with reading(pg_database) as connection:
            connection.exec_driver_sql("DELETE FROM dl_import_runs")
            connection.commit()
    import_big(big, pg_database)
    assert_exact(pg_database, "big", expected)
