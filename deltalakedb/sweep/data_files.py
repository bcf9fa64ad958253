"""Data files of the newest versions: a share each night, all of a small table in a week.

Are they there, of the size that the log gives, with a footer that counts the rows that it gives?
Can their deletion vectors be read? Rows themselves are not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

import orjson

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.records import HEAP, TableRow, in_heap, load_files_name
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.rows import LIVE
from deltalakedb.scan.file import read_vector
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import ObjectStore
from deltalakedb.sweep.findings import Finding

NIGHTS = 7
"""Within so many nights each file of a small table has its turn."""
MOST_FILES = 50
"""Of a table, a night."""
_MARK = b"PAR1"
"""With which a Parquet file begins and ends, unless its footer is encrypted (`PARE`)."""
_OTHERS = 8
"""Files of a table that are asked whether any of them is Parquet, where one isn't."""


class DataFile(NamedTuple):
    """A live file as the catalog has it; `dv`: its deletion vector's descriptor, as JSON."""

    path: str
    size: int | None = None
    num_records: int | None = None
    dv: str | None = None


Sample = Mapping[int, list[DataFile]]
"""Some of the live files, by load."""
Wrong = tuple[Finding, DataFile]


def sample(catalog: Catalog, load_ids: Collection[int], night: int) -> dict[int, list[DataFile]]:
    """The files whose turn it is, at most MOST_FILES of a table."""
    found: dict[int, list[DataFile]] = {load: [] for load in load_ids}
    turn = night % NIGHTS
    names = ", ".join(("load_id", *DataFile._fields))
    for source in sorted({HEAP if in_heap(load) else load_files_name(load) for load in load_ids}):
        for load, path, size, records, dv in catalog.reader.rows(
            f"SELECT {names} FROM (SELECT {names}, row_number() OVER "
            f"(PARTITION BY load_id ORDER BY path_key) AS place FROM {source} "
            f"WHERE removed_version = {LIVE} "
            f"AND ((path_key % {NIGHTS}) + {NIGHTS}) % {NIGHTS} = {turn}) turns "
            f"WHERE place <= {MOST_FILES}"
        ):
            if load in found:
                found[load].append(DataFile(path, _int(size), _int(records), dv))
    return found


def _int(value: object) -> int | None:
    return None if value is None else int(str(value))


def look_at_files(
    catalog: Catalog,
    rows: Collection[TableRow],
    files: Sample,
    options: Mapping[str, object],
    at_once: int,
) -> dict[int, list[Wrong]]:
    """What is wrong with the files, by table key. Few requests a file, `at_once` at a time."""
    asked = [(row, file) for row in rows for file in files.get(row.live_load, ())]
    stores = {
        row.table_key: open_store(StoreSpec(row.location, dict(options)))  # type: ignore[arg-type]
        for row in rows
    }
    found: dict[int, list[Wrong]] = {}
    strange: dict[int, list[DataFile]] = {}
    with ThreadPoolExecutor(at_once) as pool:
        looked = pool.map(lambda a: _look(stores[a[0].table_key], a[1]), asked)
        for (row, file), (wrong, is_parquet) in zip(asked, looked, strict=True):
            if wrong:
                found.setdefault(row.table_key, []).extend((each, file) for each in wrong)
            if not is_parquet:
                strange.setdefault(row.table_key, []).append(file)
    for row in rows:
        some = strange.get(row.table_key)
        # Where no file is, the table holds something else, of which this can't judge.
        if some and _has_parquet(catalog, row, stores[row.table_key]):
            found.setdefault(row.table_key, []).extend(
                (Finding("data-file-damaged", f"{file.path} is no Parquet file"), file)
                for file in some
            )
    return found


def _has_parquet(catalog: Catalog, row: TableRow, store: ObjectStore) -> bool:
    """Whether any of a few of a table's files begins as Parquet does."""
    source = HEAP if in_heap(row.live_load) else load_files_name(row.live_load)
    paths = catalog.reader.rows(
        f"SELECT path FROM {source} WHERE load_id = {row.live_load} "
        f"AND removed_version = {LIVE} LIMIT {_OTHERS}"
    )
    for (path,) in paths:
        home, name = store.resolve(path)
        with suppress(DeltaLakeError):
            if home.read_range(name, 0, len(_MARK)) == _MARK:
                return True
    return False


def _look(store: ObjectStore, file: DataFile) -> tuple[list[Finding], bool]:
    """What is wrong with a file and its vector, and whether the file is Parquet at all."""
    found, is_parquet = _look_at_data(store, file)
    if file.dv is not None:
        found += _look_at_vector(store, file.path, file.dv)
    return found, is_parquet


def _look_at_data(store: ObjectStore, file: DataFile) -> tuple[list[Finding], bool]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = file.path
    home, name = store.resolve(path)
    try:
        with home.open_input(name) as data:
            there = int(data.size())
            if file.size is not None and there != file.size:
                text = f"{path} has {there} bytes, not {file.size}"
                return [Finding("data-file-size", text)], True
            data.seek(max(there - len(_MARK), 0))
            ending = data.read(len(_MARK))
            if ending != _MARK:
                return [], ending == b"PARE"
            rows = pq.read_metadata(data).num_rows
    except DeltaLakeError as error:
        if error.kind is DeltaLakeErrorKind.NOT_FOUND:
            return [Finding("data-file-gone", f"{path} isn't there")], True
        raise
    except (pa.ArrowException, OSError) as error:
        # What a system says of a file has a number; Thrift's complaints don't.
        if getattr(error, "errno", None) is not None:
            raise
        text = f"{path} has a footer that can't be read: {error}"
        return [Finding("data-file-damaged", text)], True
    if file.num_records is not None and rows != file.num_records:
        text = f"{path} has {rows} rows, and was added with {file.num_records}"
        return [Finding("data-file-damaged", text)], True
    return [], True


def _look_at_vector(store: ObjectStore, path: str, dv: str) -> list[Finding]:
    try:
        read_vector(store, orjson.loads(dv))
    except DeltaLakeError as error:
        if error.kind is DeltaLakeErrorKind.NOT_FOUND:
            return [Finding("vector-gone", f"the deletion vector of {path} isn't there")]
        if error.kind is DeltaLakeErrorKind.CORRUPT_DELETION_VECTOR:
            return [Finding("vector-damaged", f"of {path}: {error.message}")]
        raise
    return []
