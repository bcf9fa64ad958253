"""Data files of the newest versions: a share each night, all of a small table in a week."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.records import HEAP, TableRow, in_heap, load_files_name
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.rows import LIVE
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import ObjectStore
from deltalakedb.sweep.findings import Finding

NIGHTS = 7
"""Within so many nights each file of a small table has its turn."""
MOST_FILES = 50
"""Of a table, a night."""

Sample = Mapping[int, list[tuple[str, int | None]]]
"""By load, (path, size) of some of its live files."""
Wrong = tuple[Finding, str, int | None]
"""What is wrong with a file, its path, and the size that it should have."""


def sample(
    catalog: Catalog, load_ids: Collection[int], night: int
) -> dict[int, list[tuple[str, int | None]]]:
    """The files whose turn it is, at most MOST_FILES of a table."""
    found: dict[int, list[tuple[str, int | None]]] = {load: [] for load in load_ids}
    turn = night % NIGHTS
    for source in sorted({HEAP if in_heap(load) else load_files_name(load) for load in load_ids}):
        for load, path, size in catalog.reader.rows(
            "SELECT load_id, path, size FROM (SELECT load_id, path, size, row_number() OVER "
            f"(PARTITION BY load_id ORDER BY path_key) AS place FROM {source} "
            f"WHERE removed_version = {LIVE} "
            f"AND ((path_key % {NIGHTS}) + {NIGHTS}) % {NIGHTS} = {turn}) turns "
            f"WHERE place <= {MOST_FILES}"
        ):
            if load in found:
                found[load].append((path, None if size is None else int(size)))
    return found


def look_at_files(
    rows: Collection[TableRow],
    files: Sample,
    options: Mapping[str, object],
    at_once: int,
) -> dict[int, list[Wrong]]:
    """What is wrong with the files, by table key. One request a file, `at_once` at a time."""
    asked = [(row, *each) for row in rows for each in files.get(row.live_load, ())]
    stores = {
        row.table_key: open_store(StoreSpec(row.location, dict(options)))  # type: ignore[arg-type]
        for row in rows
    }
    found: dict[int, list[Wrong]] = {}
    with ThreadPoolExecutor(at_once) as pool:
        looked = pool.map(lambda a: _look(stores[a[0].table_key], a[1], a[2]), asked)
        for (row, path, size), wrong in zip(asked, looked, strict=True):
            if wrong is not None:
                found.setdefault(row.table_key, []).append((wrong, path, size))
    return found


def _look(store: ObjectStore, path: str, size: int | None) -> Finding | None:
    home, name = store.resolve(path)
    try:
        with home.open_input(name) as file:
            there = int(file.size())
    except DeltaLakeError as error:
        if error.kind is DeltaLakeErrorKind.NOT_FOUND:
            return Finding("data-file-gone", f"{path} isn't there")
        raise
    if size is not None and there != size:
        return Finding("data-file-size", f"{path} has {there} bytes, not {size}")
    return None
