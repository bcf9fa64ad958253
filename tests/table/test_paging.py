"""Pages of a file list: all files once, each page one indexed question."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from deltalakedb.error import DeltaLakeError
from deltalakedb.planning.paging import FilePages
from tests.table.opening import GrowingTable, add, asked, first_actions, open_table, remove


def paths(pages: FilePages) -> list[str]:
    return [path for page in pages for path in page["path"].to_pylist()]


@pytest.mark.parametrize("version", [20, 7])
@pytest.mark.parametrize("size", [1, 45, 269, 270, 271, 5000])
def test_pages_hold_every_file_once(shared: str, version: int, size: int) -> None:
    table = open_table(shared)
    snapshot = table.snapshot(version)
    expected = sorted(snapshot.plan(None, ["path"])["path"].to_pylist())
    with asked(table) as statements:
        found = paths(snapshot.file_pages(size))
    assert sorted(found) == expected
    # No question for a page that isn't there.
    assert len(statements) == max(1, -(-len(expected) // size))


def test_a_page_is_found_by_an_index(tmp_path: Path, generated: Path) -> None:
    made = GrowingTable(tmp_path, f"sqlite:///{tmp_path}/catalog.sqlite")
    made.folder = generated
    made.imported()
    table = made.open()
    pages = table.snapshot().file_pages(50)
    pages.page(1)
    with asked(table) as statements:
        pages.page(2)
    [(*_, plan)] = [
        row
        for row in table._catalog.reader.rows("EXPLAIN QUERY PLAN " + statements[0])
        if "dl_files" in row[-1]
    ]
    assert "USING INDEX" in plan
    assert "path_key>?" in plan


def test_files_with_one_key_are_neither_lost_nor_doubled(tmp_path: Path) -> None:
    made = GrowingTable(tmp_path, f"sqlite:///{tmp_path}/catalog.sqlite")
    made.commit(*first_actions(), *(add(f"f{n}") for n in range(20)))
    made.imported()
    table = made.open()
    with sqlite3.connect(tmp_path / "catalog.sqlite") as database:
        # As if the hashes of eleven files had met.
        database.execute("UPDATE dl_files_heap SET path_key = rowid WHERE rowid <= 5")
        database.execute("UPDATE dl_files_heap SET path_key = 9 WHERE rowid > 5 AND rowid <= 16")
        database.execute("UPDATE dl_files_heap SET path_key = rowid WHERE rowid > 16")
    for size in (1, 2, 3, 7, 11, 19, 20):
        found = paths(table.snapshot().file_pages(size))
        assert len(found) == len(set(found)) == 20, size


def test_pages_by_number_are_walked_to_once(shared: str) -> None:
    table = open_table(shared)
    pages = table.snapshot().file_pages(50, keep=2)
    in_order = [page["path"].to_pylist() for page in table.snapshot().file_pages(50)]
    with asked(table) as statements:
        assert pages.page(5)["path"].to_pylist() == in_order[5]
        assert len(statements) == 6
        assert pages.page(5)["path"].to_pylist() == in_order[5]
        assert len(statements) == 6
        assert pages.page(2)["path"].to_pylist() == in_order[2]
        assert len(statements) == 7
    assert pages.kept == 2
    for number in (6, -1):
        with pytest.raises(DeltaLakeError, match="pages are 0 to 5"):
            pages.page(number)


@pytest.mark.parametrize("keep", [0, 3])
def test_a_limit_ends_the_reading(shared: str, keep: int) -> None:
    table = open_table(shared)
    for limit in (0, 1, 50, 51, 270, 1000):
        pages = table.snapshot().file_pages(50, keep)
        with asked(table) as statements:
            found = [path for page in pages.first(limit) for path in page["path"].to_pylist()]
        assert len(found) == len(set(found)) == min(limit, 270)
        assert len(statements) == -(-min(limit, 270) // 50)


def test_a_table_without_files_has_an_empty_page(tmp_path: Path, catalog_url: str) -> None:
    made = GrowingTable(tmp_path, catalog_url)
    made.commit(*first_actions(), add("a"))
    made.commit(remove("a"))
    made.imported()
    snapshot = made.open().snapshot()
    assert paths(snapshot.file_pages(10)) == []
    assert snapshot.file_pages(10, keep=1).page(0).num_rows == 0
    assert list(snapshot.files) == []
    assert snapshot.plan().num_rows == 0
    assert snapshot.to_pyarrow_table().num_rows == 0
    assert snapshot.partition_summary() == []
    assert snapshot.partition_values() == []
