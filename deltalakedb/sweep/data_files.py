"""Data files of the newest versions: a share each night, all of a small table in a week.

Are they there, of the size that the log gives, with a footer that counts the rows that it gives?
Can their pages be decoded, are their values within their statistics, are small ones the bytes that
they were on an earlier night? Can their deletion vectors be read?
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
import xxhash

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.records import HEAP, TableRow, in_heap, load_files_name
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.rows import LIVE
from deltalakedb.scan.file import read_vector
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import ObjectStore
from deltalakedb.sweep import contents
from deltalakedb.sweep.findings import Finding

NIGHTS = 7
"""Within so many nights each file of a small table has its turn."""
MOST_FILES = 50
"""Of a table, a night."""
TABLE_BYTES = 32 << 20
"""Of a table, so much is read a night of what its files hold, and of the others the ends."""
NIGHT_BYTES = 4 << 30
"""Of all tables together."""
KNOWN_FILES = NIGHTS * MOST_FILES
"""Of a table, of so many files the bytes are remembered."""
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
    stats: str | None = None
    added_version: int | None = None

    @property
    def key(self) -> str:
        """By which its bytes are remembered: a path may be another file's later."""
        return f"{xxhash.xxh3_64_hexdigest(self.path.encode())}@{self.added_version}"


Sample = Mapping[int, list[DataFile]]
"""Some of the live files, by load."""


@dataclass
class Looked:
    """What a night has seen of a table's data files.

    `wrong`: findings, each with its file; `read`: digests by the keys of the files whose bytes were
    read whole; `count` files were looked at, the content of `inside` of them too.
    """

    wrong: list[tuple[Finding, DataFile]] = field(default_factory=list)
    read: dict[str, str] = field(default_factory=dict)
    count: int = 0
    inside: int = 0


class Budget:
    """Bytes of content that a night still reads."""

    def __init__(self, left: int = NIGHT_BYTES) -> None:
        self.left = left

    def of_table(self, files: Collection[DataFile]) -> Iterator[bool]:
        """Whether the content of each of a table's files is read."""
        mine = TABLE_BYTES
        for file in files:
            size = min(file.size or 0, contents.WHOLE_BYTES)
            fits = size <= min(mine, self.left)
            if fits:
                mine -= size
                self.left -= size
            yield fits


def sample(
    catalog: Catalog, load_ids: Collection[int], night: int, new: Collection[int] = ()
) -> dict[int, list[DataFile]]:
    """The files whose turn it is, at most MOST_FILES of a table.

    Of `new` loads that share the heap any files: what they hold is known from the beginning.
    """
    found: dict[int, list[DataFile]] = {load: [] for load in load_ids}
    turn = night % NIGHTS
    of_turn = f"((path_key % {NIGHTS}) + {NIGHTS}) % {NIGHTS}"
    names = ", ".join(("load_id", *DataFile._fields))
    for source in sorted({HEAP if in_heap(load) else load_files_name(load) for load in load_ids}):
        every = source == HEAP and any(in_heap(load) for load in new)
        mine = "" if every else f" AND {of_turn} = {turn}"
        order = f"CASE WHEN {of_turn} = {turn} THEN 0 ELSE 1 END, path_key"
        for load, path, size, records, dv, stats, added, of in catalog.reader.rows(
            f"SELECT {names}, turn FROM (SELECT {names}, {of_turn} AS turn, row_number() OVER "
            f"(PARTITION BY load_id ORDER BY {order}) AS place FROM {source} "
            f"WHERE removed_version = {LIVE}{mine}) turns WHERE place <= {MOST_FILES}"
        ):
            if load in found and (int(of) == turn or load in new):
                found[load].append(
                    DataFile(path, _int(size), _int(records), dv, stats, _int(added))
                )
    return found


def _int(value: object) -> int | None:
    return None if value is None else int(str(value))


def look_at_files(
    catalog: Catalog,
    rows: Collection[TableRow],
    files: Sample,
    known: Mapping[int, Mapping[str, str]],
    options: Mapping[str, object],
    at_once: int,
    night: int,
    budget: Budget,
) -> dict[int, Looked]:
    """What is seen of the files, by table key. Few requests a file, `at_once` at a time.

    `known`: what was read of a table's files on earlier nights, by table key.
    """
    stores = {
        row.table_key: open_store(StoreSpec(row.location, dict(options)))  # type: ignore[arg-type]
        for row in rows
    }
    looks = []
    for row in rows:
        mine = files.get(row.live_load, ())
        before = known.get(row.table_key, {})
        for file, whole in zip(mine, budget.of_table(mine), strict=True):
            look = _Look(stores[row.table_key], file, whole, before.get(file.key), night)
            looks.append((row, look))
    found: dict[int, Looked] = {}
    strange: dict[int, list[DataFile]] = {}
    with ThreadPoolExecutor(at_once) as pool:
        for row, look in zip(
            (row for row, _ in looks), pool.map(lambda each: each[1].done(), looks), strict=True
        ):
            seen = found.setdefault(row.table_key, Looked())
            seen.wrong += [(each, look.file) for each in look.found]
            seen.count += 1
            seen.inside += look.whole
            if look.digest is not None:
                seen.read[look.file.key] = look.digest
            if not look.is_parquet:
                strange.setdefault(row.table_key, []).append(look.file)
    for row in rows:
        some = strange.get(row.table_key)
        # Where no file is, the table holds something else, of which this can't judge.
        if some and _has_parquet(catalog, row, stores[row.table_key]):
            seen = found[row.table_key]
            for file in some:
                text = f"{file.path} is no Parquet file"
                seen.wrong.append((Finding("data-file-damaged", text), file))
                seen.read.pop(file.key, None)
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


@dataclass
class _Look:
    """A look at one file: what is wrong with it and its vector.

    `whole`: its content is read too; `before`: the digest of its bytes on an earlier night.
    """

    store: ObjectStore
    file: DataFile
    whole: bool
    before: str | None
    night: int
    found: list[Finding] = field(default_factory=list)
    digest: str | None = None
    is_parquet: bool = True

    def done(self) -> _Look:
        """Having looked."""
        self._data()
        if self.file.dv is not None:
            self.found += _look_at_vector(self.store, self.file.path, self.file.dv)
        return self

    def _note(self, kind: str, text: str) -> None:
        self.found.append(Finding(kind, f"{self.file.path} {text}"))

    def _data(self) -> None:
        import pyarrow as pa

        home, name = self.store.resolve(self.file.path)
        try:
            with home.open_input(name) as data:
                there = int(data.size())
                if self.file.size is not None and there != self.file.size:
                    self._note("data-file-size", f"has {there} bytes, not {self.file.size}")
                elif self.whole and there <= contents.WHOLE_BYTES:
                    self._bytes(data.read(there))
                else:
                    data.seek(max(there - len(_MARK), 0))
                    self._parquet(data, data.read(len(_MARK)))
        except DeltaLakeError as error:
            if error.kind is not DeltaLakeErrorKind.NOT_FOUND:
                raise
            self._note("data-file-gone", "isn't there")
        except (pa.ArrowException, OSError) as error:
            # What a system says of a file has a number; Thrift's complaints don't.
            if getattr(error, "errno", None) is not None:
                raise
            self._note("data-file-damaged", f"has a footer that can't be read: {error}")
            self.digest = self.before

    def _bytes(self, data: bytes) -> None:
        """All of it: bytes that are known needn't be looked into again."""
        digest = contents.digest_of(data)
        if digest == self.before:
            self.digest = digest
            return
        self._parquet(data, data[-len(_MARK) :])
        if self.before is not None:
            # It stays told: what is remembered is what was there before.
            self.digest, self.is_parquet = self.before, True
            if not self.found:
                self._note("data-file-changed", "has other bytes than on an earlier night")
        elif not self.found:
            self.digest = digest

    def _parquet(self, data: Any, ending: bytes) -> None:
        if ending != _MARK:
            self.is_parquet = ending == b"PARE"
            return
        file = contents.opened(data)
        rows = file.metadata.num_rows
        if self.file.num_records is not None and rows != self.file.num_records:
            self._note(
                "data-file-damaged", f"has {rows} rows, and was added with {self.file.num_records}"
            )
        elif self.whole:
            wrong = contents.wrong_values(
                file, self.file.stats, loose=self.file.dv is not None, turn=self.night
            )
            if wrong is not None:
                self._note("data-file-damaged", f"isn't what was added: {wrong}")


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
