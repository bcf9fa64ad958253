"""Every key of a configuration acts: each is named with the test that sees it act."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import deltalakedb as dl
from deltalakedb import logs
from deltalakedb.config.checks import Check
from deltalakedb.config.known import SECTIONS
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.migrate.points import rollback_points
from tests.table.opening import GrowingTable, add, first_actions, table_uri

DOCUMENTED = Path(__file__).parents[2] / "docs" / "configuration.md"
Seen = Callable[..., None]
SEEN: dict[str, Seen] = {}


def sees(*keys: str) -> Callable[[Seen], Seen]:
    """The decorated function sees these keys act."""

    def note(test: Seen) -> Seen:
        SEEN.update(dict.fromkeys(keys, test))
        return test

    return note


def config(**sections: dict[str, Any]) -> dict[str, Any]:
    return dl.ConfigLoader.load_mapping(sections)


def sql(shared: str, **database: Any) -> dl.SqlConfig:
    section = config(database={"url": shared, **database})["database"]
    return dl.ConfigFactory.create_sql_config(section)


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """The process's logs are as before afterwards."""
    logger = logging.getLogger(logs.ROOT)
    before, level = list(logger.handlers), logger.level
    yield
    for handler in [h for h in logger.handlers if h not in before]:
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(level)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a catalog with a table of 20 versions, each but the first a file more."""
    folder = tmp_path_factory.mktemp("shared")
    table = GrowingTable(folder, f"sqlite:///{folder / 'catalog.sqlite'}")
    table.commit(*first_actions())
    for number in range(20):
        table.commit(add(f"f{number}"))
    table.imported()
    return table.database


@sees("database.url", "database.connection_string")
def test_which_database(shared: str) -> None:
    for key in ("url", "connection_string"):
        section = config(database={key: shared})["database"]
        with dl.SqlConnection(dl.ConfigFactory.create_sql_config(section)) as connection:
            assert connection.execute("SELECT name FROM dl_tables") == [("sales",)]


@sees("database.pool_size", "database.max_overflow", "database.pool_timeout")
def test_the_pools_bounds(postgres_url: str) -> None:
    bounded = sql(postgres_url, pool_size=1, max_overflow=1, pool_timeout="10ms")
    with dl.SqlConnection(bounded) as connection:
        held = [connection.engine.connect(), connection.engine.connect()]
        with pytest.raises(DeltaLakeError) as caught:
            connection.execute("SELECT 1")
        assert caught.value.kind is DeltaLakeErrorKind.TIMEOUT_ERROR
        for each in held:
            each.close()
        # What was above the pool's size is closed, the rest is kept.
        assert connection.engine.pool.checkedin() == 1  # type: ignore[attr-defined]


@sees("database.pool_recycle")
def test_connections_that_are_too_old_are_made_anew(postgres_url: str) -> None:
    for seconds, anew in ((0, True), (-1, False)):
        with dl.SqlConnection(sql(postgres_url, pool_recycle=seconds, pool_size=1)) as connection:
            sessions = {connection.execute("SELECT pg_backend_pid()")[0] for _ in range(3)}
            assert (len(sessions) == 3) is anew


@sees("database.echo")
def test_the_sql_is_logged(shared: str, caplog: pytest.LogCaptureFixture) -> None:
    with dl.SqlConnection(sql(shared, echo=True)) as connection:
        connection.execute("SELECT 1 AS seen_in_the_log")
    assert "seen_in_the_log" in caplog.text


@sees("performance.enable_caching", "performance.cache_size")
def test_file_lists_are_kept(shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DL_CACHE_DIR", str(tmp_path / "cache"))
    for performance, kept in (
        ({"enable_caching": False}, 0),
        ({"enable_caching": True, "cache_size": 1}, 1),
        ({"enable_caching": True, "cache_size": 2}, 2),
    ):
        section = config(database={"url": shared}, performance=performance)["database"]
        table = dl.connect_to_table(table_uri(shared), dl.ConfigFactory.create_sql_config(section))
        for version in (18, 19, 20):
            assert table.snapshot(version).plan().num_rows
        assert len(list((tmp_path / "cache").rglob("*.arrow"))) == kept


@sees("performance.lazy_loading", "performance.chunk_size")
def test_how_file_lists_are_read(shared: str) -> None:
    for lazy, strategy in ((True, dl.LoadingStrategy.LAZY), (False, dl.LoadingStrategy.EAGER)):
        performance = {"lazy_loading": lazy, "chunk_size": 3}
        section = config(database={"url": shared}, performance=performance)["database"]
        manager = dl.LazyLoadingManager(sql_config=dl.ConfigFactory.create_sql_config(section))
        metadata = manager.create_lazy_table_metadata(table_uri(shared))
        assert metadata.strategy is strategy
        assert len(metadata.get_page(0)) == 3


@sees("performance.async_io", "performance.max_concurrent_tasks")
def test_how_many_calls_at_a_time() -> None:
    def most_at_a_time(performance: dict[str, Any], parties: int, seconds: float) -> bool:
        """Whether so many calls come to be under way together within so long."""
        barrier = threading.Barrier(parties)

        def call() -> bool:
            try:
                barrier.wait(seconds)
            except threading.BrokenBarrierError:
                return False
            return True

        made = dl.ConfigFactory.create_async_config(config(performance=performance)["performance"])

        async def both() -> list[bool]:
            with dl.AsyncIOExecutor(made) as executor:
                return await asyncio.gather(*(executor.run(call) for _ in range(parties)))

        return all(asyncio.run(both()))

    assert most_at_a_time({"max_concurrent_tasks": 2}, 2, 60)
    assert not most_at_a_time({"max_concurrent_tasks": 2}, 3, 0.3)
    assert not most_at_a_time({"async_io": False, "max_concurrent_tasks": 2}, 2, 0.3)


@sees(
    "migration.strategy",
    "migration.preserve_partitions",
    "migration.validate_after_migration",
    "migration.create_rollback_point",
    "monitoring.enable_metrics",
)
@pytest.mark.parametrize("said", [True, False])
def test_how_a_table_is_migrated(tmp_path: Path, said: bool) -> None:
    table = GrowingTable(tmp_path, f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    table.commit(*first_actions())
    table.commit(add("f"))
    section = config(
        database={"url": table.database},
        migration={
            "strategy": "offline" if said else "online",
            "preserve_partitions": said,
            "validate_after_migration": said,
            "create_rollback_point": said,
        },
        monitoring={"enable_metrics": said},
    )["database"]
    moving = dl.DeltaTableMigrator(str(table.folder), dl.ConfigFactory.create_sql_config(section))
    result = moving.migrate_table("sales")
    assert result.success is said
    assert (result.metrics is not None) is said
    if not said:
        assert "preserve_partitions" in str(result.error_message)
        result = moving.migrate_table("sales", preserve_partitions=True)
    assert result.success
    assert result.move is not None
    assert result.move.migration.state == ("sql" if said else "ready")
    assert (result.proof is not None) is said
    points = rollback_points("sales", database=table.database)
    assert [point.version for point in points] == ([1] if said else [])


def _log_of(shared: str, file: Path, **sections: dict[str, Any]) -> list[str]:
    """What is logged of three events by these sections."""
    section = config(database={"url": shared}, **sections)["database"]
    dl.connect_to_table(table_uri(shared), dl.ConfigFactory.create_sql_config(section))
    log = logging.getLogger("deltalakedb.of_a_test")
    for level in (logging.DEBUG, logging.INFO, logging.ERROR):
        logs.note(log, level, "at postgresql://u:hidden@h/d", table="sales")
    return file.read_text().splitlines() if file.exists() else []


@sees("logging.level", "logging.file", "logging.structured")
def test_logs(shared: str, tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    text = _log_of(shared, file, logging={"level": "INFO", "file": str(file)})
    assert text == [
        "info: sales: at postgresql://u:***@h/d",
        "error: sales: at postgresql://u:***@h/d",
    ]
    other = tmp_path / "b.log"
    settings = {"level": "debug", "file": str(other), "structured": True}
    lines = [json.loads(line) for line in _log_of(shared, other, logging=settings)]
    assert [line["level"] for line in lines] == ["debug", "info", "error"]
    assert {line["event"] for line in lines} == {"at postgresql://u:***@h/d"}
    assert len(file.read_text().splitlines()) == 2


@sees("monitoring.log_level", "monitoring.structured_logging")
def test_logs_by_their_other_names(shared: str, tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    lines = _log_of(
        shared,
        file,
        logging={"file": str(file)},
        monitoring={"log_level": "ERROR", "structured_logging": True},
    )
    assert [json.loads(line)["level"] for line in lines] == ["error"]


def test_every_key_is_seen_to_act() -> None:
    known = {
        f"{section}.{key}"
        for section, keys in SECTIONS.items()
        if not isinstance(keys, Check)
        for key in keys
    }
    assert known == set(SEEN)
    told = DOCUMENTED.read_text(encoding="utf-8")
    assert [
        key for key in known if f"`{key.partition('.')[2]}`" not in told and f"`{key}`" not in told
    ] == []
