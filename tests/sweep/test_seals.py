"""Seals: rows that are as they were need not be read, and no column may change unseen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from deltalakedb import import_table
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading.queries import all_tables
from deltalakedb.catalog.records import TableRow, in_heap, load_files_name
from deltalakedb.importing import load
from deltalakedb.sweep.digest import FILE_COLUMNS, FileSums, file_sums
from deltalakedb.sweep.proofs import known_proofs
from deltalakedb.sweep.run import sweep
from deltalakedb.sweep.seals import known_sums
from tests.fleet.logs import add_actions, fleet_of, write_log
from tests.sweep.test_sweep import NO_FILES

REMOVE = {
    "remove": {
        "path": "d=2024-01-01/part-0.parquet",
        "deletionTimestamp": 1_700_000_003_000,
        "dataChange": True,
    }
}
_TEXTS = {"path", "dv_id", "stats", "tags", "dv", "clustering_provider", "extra"}


@pytest.fixture
def lake(tmp_path: Path, catalog_url: str, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A table in the heap and one of a load of its own, both proven."""
    tables = fleet_of(tmp_path / "lake", 2)
    import_table(str(tables[0]), database=catalog_url)
    monkeypatch.setattr(load, "HEAP_ROWS", 1)
    import_table(str(tables[1]), database=catalog_url)
    assert sweep(catalog_url, NO_FILES).exit_code == 0
    return tables


def test_no_column_changes_unseen(catalog_url: str, lake: list[Path]) -> None:
    with Catalog(catalog_url) as catalog:
        rows, sums = _known(catalog)
        assert [in_heap(row.live_load) for row in rows] == [True, False]
        assert len(sums) == 2
        assert sums == file_sums(catalog, list(sums))
        for column in sorted({*FILE_COLUMNS} - {"load_id"}):
            for row in rows:
                before = _change(catalog, row, column, "7" if column in _TEXTS else 7)
                assert row.live_load not in _known(catalog)[1], column
                _change(catalog, row, column, before, to="7" if column == "size" else "1001")
        assert _known(catalog)[1] == sums


def test_of_a_large_load_what_commits_changed_is_read(catalog_url: str, lake: list[Path]) -> None:
    for table in lake:
        write_log(table, 1, first=3)
        add_actions(table, 3, REMOVE)
        import_table(str(table), database=catalog_url)
    with Catalog(catalog_url) as catalog:
        (_, large), sums = _known(catalog)
        assert (large.head_version, set(sums)) == (3, {large.live_load})
        assert sums == file_sums(catalog, [large.live_load])
        # The next night's seal follows from the last one and what commits changed.
        rows, proofs = [large], known_proofs(catalog)
        assert known_sums(catalog, rows, proofs)[0] == known_sums(catalog, rows, {})[0] != {}
        # A row of before was changed beside: then all of them are read.
        _change(catalog, large, "stats", "7")
        assert _known(catalog)[1] == {}
    assert [t.status for t in sweep(catalog_url, NO_FILES).tables] == ["verified", "drift"]


def _known(catalog: Catalog) -> tuple[list[TableRow], dict[int, FileSums]]:
    rows = sorted(all_tables(catalog), key=lambda row: row.name)
    return rows, known_sums(catalog, rows, known_proofs(catalog))[1]


def _change(catalog: Catalog, row: TableRow, column: str, value: Any, to: str = "1001") -> Any:
    """Of the file whose size is `to`: what was there before."""
    of = f"{load_files_name(row.live_load)} WHERE load_id = {row.live_load} AND size = {to}"
    with catalog.write() as connection:
        [(before,)] = connection.execute(sa.text(f"SELECT {column} FROM {of}"))
        put = of.replace(" WHERE", f" SET {column} = :value WHERE", 1)
        assert connection.execute(sa.text(f"UPDATE {put}"), {"value": value}).rowcount == 1
    return before
