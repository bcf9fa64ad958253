"""The heap of small loads: moves out of it, and readers beside all that removes rows."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

import deltalakedb as dl
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.loads import heap, ledger
from deltalakedb.catalog.loads.slots import SlotRange, narrow_slots
from deltalakedb.catalog.loads.swap import index_load
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.records import in_heap
from deltalakedb.catalog.tables import LOAD_TABLES, heads, load_files
from deltalakedb.catalog.tables import heap as heap_table
from deltalakedb.config import CacheConfig
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing import load
from tests.cli.commands import dl as command
from tests.migrate.catalogs import left_over, write_log
from tests.migrate.test_import import assert_is
from tests.replay.generated import Log, add, remove, table_commit

ROWS = pa.table({"day": ["a", "b"], "n": [1, 2]})


def made(url: str, place: Path, commits: int, **options: Any) -> Any:
    uri = f"deltasql://{url}?table=t"
    table = dl.create_table(uri, ROWS.schema, location=str(place), partition_by=["day"], **options)
    for _ in range(commits):
        table.append(ROWS)
    return table


def everything(catalog: Catalog) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the one live load."""
    found = {}
    with catalog.read() as connection:
        load_id = connection.scalars(sa.select(heads.c.live_load)).one()
        for table in (load_files(load_id), *LOAD_TABLES):
            columns = [c for c in table.columns if c.name != "load_id"]
            rows = connection.execute(sa.select(*columns).where(table.c.load_id == load_id))
            name = table.name if table in LOAD_TABLES else "files"
            found[name] = sorted((tuple(row) for row in rows), key=repr)
    return found


def live_load(catalog: Catalog) -> int:
    with catalog.read() as connection:
        return int(connection.scalars(sa.select(heads.c.live_load)).one())


def test_a_table_that_has_outgrown_the_heap_moves_out(
    any_catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = made(any_catalog_url, tmp_path / "t", 3)
    table.overwrite(ROWS)
    held = table.snapshot()
    with Catalog(any_catalog_url) as catalog:
        assert heap.outgrown(catalog) == []
        monkeypatch.setattr(heap, "HEAP_ROWS", 7)
        before = everything(catalog)
        [found] = heap.outgrown(catalog)
        assert found.file_rows == 8

        def index_late(*args: Any) -> None:
            # After the copy, before the swap.
            index_load(*args)
            table.append(ROWS)
            table.overwrite(ROWS)

        monkeypatch.setattr(heap, "index_load", index_late)
        assert heap.move_out(catalog, found.table.table_id)
        after = everything(catalog)
        assert not in_heap(live_load(catalog))
        with catalog.read() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(heap_table)) == 0
        assert not heap.move_out(catalog, found.table.table_id)
        assert len(after["files"]) == len(before["files"]) + 4
        assert len(after["dl_versions"]) == len(before["dl_versions"]) + 2
        assert [row for row in before["dl_versions"] if row not in after["dl_versions"]] == []
    assert dl.diff_table("t", database=any_catalog_url).parity
    assert table.append(ROWS).version == 7
    assert held.to_pyarrow_table().num_rows == held.plan().num_rows == 2
    assert table.snapshot(3).count_rows() == 6
    assert table.snapshot().count_rows() == 4


def test_a_load_that_moves_out_is_indexed_as_an_imported_one(
    any_catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"deltasql://{any_catalog_url}?table=t"
    ids = [pa.table({"id": [start, start + 1]}) for start in range(0, 120, 10)]
    table = dl.create_table(uri, ids[0].schema, location=str(tmp_path / "t"))
    for rows in ids:
        table.append(rows)
    monkeypatch.setattr(heap, "HEAP_ROWS", 10)
    with Catalog(any_catalog_url) as catalog:
        assert heap.move_out(catalog, table.table_id)
        [slot] = json.loads(queries.find_table(catalog, "t").skipping)
        assert slot["indexed"]
        name = load_files(live_load(catalog)).name
        indexes = sa.inspect(catalog.engine).get_indexes(name)
        assert ["lo0"] in [index["column_names"] for index in indexes]
    assert table.snapshot().plan("id = 51").num_rows == 1


def test_a_catch_up_moves_a_load_out_that_would_outgrow_the_heap(
    any_catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: Log = [
        table_commit(),
        [add("a"), add("b")],
        [remove("a"), *[add(f"f{n}") for n in range(20)]],
    ]
    monkeypatch.setattr(heap, "HEAP_ROWS", 10)
    monkeypatch.setattr(load, "HEAP_ROWS", 10)
    for length in (2, 3):
        write_log(tmp_path / "t", log[:length])
        imported = dl.import_table(str(tmp_path / "t"), database=any_catalog_url)
        with Catalog(any_catalog_url) as catalog:
            assert in_heap(live_load(catalog)) == (length == 2)
    assert imported.status == "caught_up"
    assert_is(any_catalog_url, "t", log)
    assert left_over(any_catalog_url) == {}


def test_gc_tells_of_moves(sqlite_url: str, tmp_path: Path) -> None:
    made(sqlite_url, tmp_path / "t", 0)
    with Catalog(sqlite_url) as catalog, catalog.write() as connection:
        # As if that many commits had been.
        load_id = connection.scalars(sa.select(heads.c.live_load)).one()
        names = [c for c in heap_table.columns if not c.nullable]
        row = {c.name: 0 for c in names} | {"load_id": load_id, "removed_version": 0}
        connection.execute(
            heap_table.insert(), [row | {"path": f"f{n}"} for n in range(heap.HEAP_ROWS + 1)]
        )
    said = f"t ({heap.HEAP_ROWS + 1:,} file rows) to a table of its own"
    assert command("gc", "--dry-run", "--database", sqlite_url).stdout == f"Would move {said}\n"
    assert command("gc", "--database", sqlite_url).stdout == f"Moved {said}\n"
    assert command("gc", "--database", sqlite_url).stdout == "Nothing to remove\n"


CLEAR = {DeltaLakeErrorKind.CONCURRENCY_ERROR, DeltaLakeErrorKind.TIMEOUT_ERROR}
REBUILDS = 4


class Readers:
    """Threads that read again and again what must not change."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.wrong: list[Any] = []
        self.refused: list[DeltaLakeError] = []
        self.answers = 0

    def start(self, question: Callable[[], Any]) -> None:
        """`question` gives what is wrong, or nothing."""

        def run() -> None:
            while not self._stop.is_set():
                try:
                    said = question()
                except DeltaLakeError as error:
                    if error.kind not in CLEAR:
                        self.wrong.append(error)
                    self.refused.append(error)
                except Exception as error:  # noqa: BLE001 - whatever it is, it is wrong
                    self.wrong.append(error)
                else:
                    self.answers += 1
                    if said:
                        self.wrong.append(said)
                time.sleep(0.02)

        self._threads.append(threading.Thread(target=run, name=question.__name__))
        self._threads[-1].start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def readers() -> Iterator[Readers]:
    found = Readers()
    yield found
    found.stop()


def test_readers_beside_rebuilds_moves_and_gc(
    catalog_url: str, tmp_path: Path, readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Rebuilt into the heap, and moved out of it.
    monkeypatch.setattr(load, "HEAP_ROWS", 5_000)
    monkeypatch.setattr(heap, "HEAP_ROWS", 7)
    table = made(catalog_url, tmp_path / "t", 6)
    held, expected = table.snapshot(), sorted(f.path for f in table.snapshot().files)
    cached = dl.connect_to_table(table.uri, cache=CacheConfig(directory=str(tmp_path / "lists")))
    assert len(expected) == 12

    def held_twice() -> Any:
        for _ in range(2):
            found = sorted(held.plan()["path"].to_pylist())
            if found != expected:
                return found
        return None

    def newest() -> Any:
        snapshot = dl.connect_to_table(table.uri, cache=False).snapshot()
        # Each version adds two files; number 0 has none.
        counts = (snapshot.num_files, snapshot.plan().num_rows, len(list(snapshot.files)))
        return counts if counts != (2 * snapshot.version,) * 3 else None

    def pages() -> Any:
        found = [path for page in held.file_pages(5) for path in page["path"].to_pylist()]
        return found if sorted(found) != expected else None

    def lists() -> Any:
        snapshot = cached.snapshot(5)
        found = (len(list(snapshot.files)), snapshot.plan("day = 'a'").num_rows)
        return found if found != (10, 5) else None

    with Catalog(catalog_url) as catalog:

        def views() -> Any:
            with catalog.dialect.errors(), catalog.engine.connect() as connection:
                sql = (
                    "SELECT h.num_files, (SELECT count(*) FROM dl_live_files f WHERE f.table_name "
                    "= t.name) FROM dl_heads h JOIN dl_tables t ON t.table_key = h.table_key"
                )
                [(counted, seen)] = connection.exec_driver_sql(sql).all()
                return (counted, seen) if counted != seen else None

        for question in (held_twice, newest, pages, lists, views):
            readers.start(question)
        moved = 0
        for _ in range(REBUILDS):
            dl.import_table(log_dir=str(tmp_path / "t"), database=catalog_url, rebuild=True)
            table.append(ROWS)
            for each in heap.outgrown(catalog):
                moved += heap.move_out(catalog, each.table.table_id)
            ledger.clean_up(catalog)
        readers.stop()
    assert readers.wrong == []
    assert moved == REBUILDS
    assert readers.answers > 10 * len(readers.refused)
    assert readers.answers > 50


def test_the_narrowest_slots_are_indexed_in_whatever_order_files_come() -> None:
    narrow, narrower, wide = (SlotRange(0, 10_000, width, 0) for width in (100, 7, 900))
    sparse = SlotRange(0, 10_000, 3, 500)
    slots = [narrow, wide, sparse, narrower]
    assert narrow_slots(slots, 1_000, 4) == (3, 0)
    assert narrow_slots(slots, 1_000, 1) == (3,)
    assert narrow_slots(slots, 10_000, 4) == (2, 3, 0)
