"""Lazy loading: four strategies, each with its own questions and memory."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.config import LazyLoadingConfig, LoadingStrategy
from deltalakedb.error import DeltaLakeError
from deltalakedb.facade.lazy import LazyLoadingManager, LazyTableMetadata
from tests.table.opening import GrowingTable, add, asked, first_actions, open_table, table_uri

FILES = 270
PAGES = 6
"""Of 50 files."""


@contextmanager
def counted(database: str) -> Iterator[list[str]]:
    """Questions that read files; opening asks others."""
    with asked(open_table(database)) as statements:
        found: list[str] = []
        yield found
        found += [text for text in statements if "FROM dl_files" in text]


def created(database: str, strategy: str, **config: int) -> LazyTableMetadata:
    manager = LazyLoadingManager(
        LazyLoadingConfig(strategy, **{"chunk_size": 50, **config}),  # type: ignore[arg-type]
        cache=False,
    )
    return manager.create_lazy_table_metadata(table_uri(database))


@pytest.mark.parametrize(
    ("strategy", "at_creation", "first", "again", "ten"),
    [
        ("eager", 1, 0, 0, 0),
        ("lazy", 0, 1, 0, 0),
        ("paginated", 0, PAGES, 0, 0),
        ("streaming", 0, PAGES, PAGES, 1),
    ],
)
def test_strategies_ask_at_different_times(
    shared: str, strategy: str, at_creation: int, first: int, again: int, ten: int
) -> None:
    with counted(shared) as statements:
        metadata = created(shared, strategy)
        assert metadata.num_files == len(metadata) == FILES
    assert len(statements) == at_creation
    lists = []
    for expected in (first, again):
        with counted(shared) as statements:
            lists.append([file.path for file in metadata.get_files_stream()])
        assert len(statements) == expected
    assert sorted(lists[0]) == sorted(f.path for f in open_table(shared).snapshot().files)
    assert sorted(lists[1]) == sorted(lists[0])
    with counted(shared) as statements:
        assert len(list(metadata.get_files_stream(limit=10))) == 10
    assert len(statements) == ten


def test_a_page_is_read_when_it_is_come_to(shared: str) -> None:
    for strategy in ("paginated", "streaming"):
        metadata = created(shared, strategy)
        with counted(shared) as statements:
            stream = metadata.get_files_stream()
            for _ in range(60):
                next(stream)
        assert len(statements) == 2


def test_no_more_pages_are_kept_than_configured(shared: str) -> None:
    metadata = created(shared, "paginated", cache_size=2)
    with counted(shared) as statements:
        metadata.get_files()
        last = metadata.get_page(5)
    assert len(statements) == PAGES
    assert len(last) == FILES - 5 * 50
    with counted(shared) as statements:
        metadata.get_page(0)
    assert len(statements) == 1
    with counted(shared) as statements:
        metadata.get_page(0)
    assert len(statements) == 0


MANY = 6_000


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A catalogued table of so many files that a list of them is seen in memory."""
    folder = tmp_path_factory.mktemp("many")
    made = GrowingTable(folder, f"sqlite:///{folder}/catalog.sqlite")
    made.commit(*first_actions(), *(add(f"{'x' * 100}{n}", least=n) for n in range(MANY)))
    made.imported()
    return made.database


def peak(database: str, strategy: str, **config: int) -> int:
    """Bytes at most while a stream is read: of Python's objects, and of Arrow's buffers."""
    metadata = created(database, strategy, chunk_size=100, **config)
    next(metadata.get_files_stream(1))
    gc.collect()
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    greatest = 0
    for number, _ in enumerate(metadata.get_files_stream()):
        if number % 500 == 0:
            greatest = max(greatest, pa.total_allocated_bytes() - before)
    python = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return greatest + python


def test_a_stream_has_the_memory_of_a_page(many: str) -> None:
    list_bytes = created(many, "eager").snapshot.plan().nbytes
    assert list_bytes > 1_500_000

    def peaks(strategy: str, **config: int) -> Iterator[int]:
        """What other threads of this process take or give back meanwhile counts too."""
        return (peak(many, strategy, **config) for _ in range(5))

    assert any(size < list_bytes / 3 for size in peaks("streaming"))
    assert any(size < list_bytes / 2 for size in peaks("paginated", cache_size=2))
    assert any(size > list_bytes / 2 for size in peaks("paginated", cache_size=1000))


def test_a_whole_list_stays_in_memory(many: str) -> None:
    def taken() -> int:
        before = pa.total_allocated_bytes()
        made.append(created(many, "lazy"))
        return pa.total_allocated_bytes() - before

    made: list[LazyTableMetadata] = []
    gc.collect()
    assert any(taken() < 100_000 for _ in range(5))
    lazy = made[-1]
    next(lazy.get_files_stream())
    kept = sum(batch.nbytes for batch in lazy._listing(None))
    assert kept > 1_000_000


def test_metadata_is_at_hand(shared: str, generated: Path) -> None:
    metadata = created(shared, "lazy")
    table = open_table(shared)
    assert (metadata.name, metadata.version) == (table.name, 20)
    assert metadata.schema_string == table.metadata.schema.schema_string
    assert metadata.partition_columns == ["date", "region"]
    assert metadata.configuration == {}
    assert metadata.total_bytes == sum(f.size for f in metadata)
    assert repr(metadata) == "LazyTableMetadata('sales', version=20, 270 files, lazy)"


def test_a_version_and_a_strategy_can_be_chosen(shared: str) -> None:
    manager = dl.LazyLoadingManager(sql_config=dl.SqlConfig(shared), cache=False)
    uri = table_uri("sqlite:////nowhere/else.sqlite")
    metadata = manager.create_lazy_table_metadata(uri, version=7, strategy="paginated")
    assert metadata.strategy is LoadingStrategy.PAGINATED
    assert (
        len(metadata.get_files()) == metadata.num_files == len(open_table(shared).snapshot(7).files)
    )
    with pytest.raises(DeltaLakeError, match="one of eager, lazy"):
        manager.create_lazy_table_metadata(uri, strategy="never")
    with pytest.raises(DeltaLakeError, match="makes no sense"):
        list(metadata.get_files_stream(-1))
