"""The catalog's side of a diff: its live files, as records or in full, and its state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.reading.proof import proven, proven_batches
from deltalakedb.catalog.reading.queries import TableRow, TableState, live_predicate
from deltalakedb.catalog.records import load_files_name, run_of
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.partition import partition_id
from deltalakedb.log.rows import file_keys
from deltalakedb.parity.details import FileFacts
from deltalakedb.parity.diff import Difference
from deltalakedb.parity.facts import FILE_RECORD, Records, fact_hashes

_FILES = pa.schema(
    [
        ("path", pa.string()),
        ("dv_id", pa.string()),
        ("partition_id", pa.int64()),
        ("size", pa.int64()),
        ("has_stats", pa.int64()),
        ("dv", pa.string()),
        ("path_key", pa.int64()),
    ]
)
_PARTITIONS = pa.schema([("partition_id", pa.int64()), ("partition_values", pa.string())])
_MARK = np.uint64(0x5DEECE66D)
"""Goes into the hash of a row that contradicts itself, so that it equals no file of the log."""

Ints = npt.NDArray[np.int64]


class CatalogFiles:
    """The live files of a table's version, read from the catalog in batches."""

    def __init__(self, catalog: Catalog, table: TableRow, version: int) -> None:
        self._dialect = catalog.reader.dialect
        self._table = table
        self._version = version
        self._ids, self._actual = self._partition_ids()

    def _stream(self, sql: str, schema: pa.Schema, key: str) -> Iterator[pa.RecordBatch]:
        table, version = self._table, self._version
        with self._dialect.errors():
            batches = self._dialect.stream(proven(table, version, schema.names, sql), schema)
            yield from proven_batches(batches, table, version, key)

    def _partitions(self) -> Iterator[pa.RecordBatch]:
        load = self._table.live_load
        return self._stream(
            f"SELECT partition_id, partition_values FROM dl_partitions WHERE load_id = {load}",
            _PARTITIONS,
            "partition_id",
        )

    def _partition_ids(self) -> tuple[Ints, Ints]:
        """The ids in `dl_partitions`, ascending, and those of the tuples that they stand beside."""
        ids, actual = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for batch in self._partitions():
            ids.append(np.asarray(batch.column(0).to_numpy(zero_copy_only=False)))
            texts = batch.column(1).to_pylist()
            actual.append(np.fromiter((partition_id(t) for t in texts), np.int64, len(texts)))
        joined = np.concatenate(ids)
        order = np.argsort(joined)
        return joined[order], np.concatenate(actual)[order]

    def _batches(self) -> Iterator[pa.RecordBatch]:
        return self._stream(
            "SELECT f.path, f.dv_id, f.partition_id, f.size, "
            "CASE WHEN f.stats IS NULL THEN 0 ELSE 1 END AS has_stats, f.dv, f.path_key "
            f"FROM {load_files_name(self._table.live_load)} f "
            f"WHERE {live_predicate(self._table, self._version, 'f')}",
            _FILES,
            "path_key",
        )

    def records(self) -> Iterator[tuple[Records, int]]:
        """FILE_RECORDs, and the bytes of the files that they stand for, batch by batch."""
        for batch in self._batches():
            key, key2 = _keys(batch)
            ids = _ints(batch, "partition_id")
            place, known = self._place(ids)
            actual = np.where(known, self._actual[place], ids) if len(self._ids) else ids
            fact = fact_hashes(batch.column("size"), pa.array(actual), batch.column("dv"))
            unsound = ~known | (_ints(batch, "path_key") != key)
            records = np.zeros(batch.num_rows, dtype=FILE_RECORD)
            records["key"], records["key2"] = key, key2
            records["fact"] = np.where(unsound, fact ^ _MARK, fact)
            records["stats"] = _ints(batch, "has_stats") != 0
            sizes = batch.column("size").drop_null().to_numpy(zero_copy_only=False)
            yield records, int(sizes.sum())

    def _place(self, ids: Ints) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """Where the ids stand among those of `dl_partitions`, and whether they do."""
        if not len(self._ids):
            return np.zeros(len(ids), dtype=np.intp), np.zeros(len(ids), dtype=bool)
        place = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        return place, np.asarray(self._ids[place] == ids)

    def find(self, wanted: frozenset[tuple[int, int]]) -> dict[tuple[int, int], list[FileFacts]]:
        """The files of some keys in full, by one more pass: a row's own key column may be wrong."""
        rows: dict[tuple[int, int], list[dict[str, Any]]] = {}
        for batch in self._batches():
            keys = list(zip(*(k.tolist() for k in _keys(batch)), strict=True))
            for number, key in enumerate(keys):
                if key in wanted:
                    row = {n: batch.column(n)[number].as_py() for n in _FILES.names}
                    rows.setdefault(key, []).append(row)
        ids = {row["partition_id"] for found in rows.values() for row in found}
        texts = {
            ident: text
            for batch in self._partitions()
            for ident, text in zip(*(c.to_pylist() for c in batch.columns), strict=True)
            if ident in ids
        }
        return {key: [_facts(row, key, texts) for row in found] for key, found in rows.items()}


def _facts(row: dict[str, Any], key: tuple[int, int], texts: dict[int, str]) -> FileFacts:
    unsound = None
    if row["path_key"] != key[0]:
        unsound = f"path_key is {row['path_key']}, not {key[0]}"
    elif row["partition_id"] not in texts:
        unsound = f"partition_id {row['partition_id']} is not in dl_partitions"
    text = texts.get(row["partition_id"])
    return FileFacts.of({**row, "partition_values": text}, unsound)


def _keys(batch: pa.RecordBatch) -> tuple[Ints, Ints]:
    return file_keys(batch.column("path").to_pylist(), batch.column("dv_id").to_pylist())


def _ints(batch: pa.RecordBatch, name: str) -> Ints:
    column = batch.column(name).fill_null(0)
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.int64)


def catalog_state(catalog: Catalog, table: TableRow, version: int) -> TableState | None:
    """What the catalog says at a version; None when it has no metadata or no protocol."""
    try:
        return queries.state_at(catalog, table, version)
    except DeltaLakeError as error:
        if error.kind is not DeltaLakeErrorKind.INVALID_LOG:
            raise
        return None


def lost_state(catalog: Catalog, table: TableRow, version: int) -> list[Difference]:
    """Which of metadata and protocol the catalog has lost at a version."""
    sources = {"metadata": "dl_metadata", "protocol": "dl_protocols"}
    return [
        Difference(kind, kind, None, "present")
        for kind, source in sources.items()
        if not catalog.reader.rows(
            f"SELECT 1 FROM {source} WHERE load_id = ? AND {live_predicate(table, version)}",
            (table.live_load,),
        )
    ]


def import_checkpoint(catalog: Catalog, table: TableRow) -> str | None:
    """The fingerprint of the newest checkpoint that was there when the live load was imported."""
    found = catalog.reader.rows(
        "SELECT checkpoint_fingerprint FROM dl_import_runs WHERE run_key = ?",
        (run_of(table.live_load),),
    )
    return str(found[0][0]) if found and found[0][0] is not None else None


def commit_time(catalog: Catalog, table: TableRow, version: int) -> int | None:
    """When a version was committed, in ms, as the catalog has it."""
    found = catalog.reader.rows(
        "SELECT commit_time FROM dl_versions WHERE load_id = ? AND version = ?",
        (table.live_load, version),
    )
    return int(found[0][0]) if found else None
