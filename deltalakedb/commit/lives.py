"""Live files that later versions end: found by their keys, ended by the rule of replay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.dialects.writers import writer_of
from deltalakedb.catalog.loads.totals import CHANGE_SCHEMA
from deltalakedb.catalog.records import TableRow, load_files_name
from deltalakedb.log.rows import LIVE, file_keys
from deltalakedb.replay.events import NO_TIME, OPEN, Endings, Events, Ints, resolve

LIFE_SCHEMA = pa.schema(
    [
        ("path_key", pa.int64()),
        ("path", pa.string()),
        ("dv_id", pa.string()),
        ("partition_id", pa.int64()),
        ("size", pa.int64()),
    ]
)
"""A live file, as far as its end asks for it."""
_KEY_SCHEMA = pa.schema([LIFE_SCHEMA.field("path_key")])
_LIVES = -1
"""The part of the lives among the parts of the new versions."""
_CHUNK = 1_000
_FEW = 10_000
_SHARE = 8

Ask = Callable[[Statement], list[tuple[Any, ...]]]


@dataclass(frozen=True)
class LivesEnded:
    """Lives that new versions end. `rows`: LIFE_SCHEMA, `version` and `removed_at`."""

    rows: pa.Table

    def live_changes(self) -> pa.Table:
        """By how much that changes what is live (CHANGE_SCHEMA)."""
        sizes = pc.negate(pc.fill_null(self.rows.column("size"), 0))
        fewer = pa.array(np.full(self.rows.num_rows, -1, dtype=np.int64))
        return pa.table([self.rows.column("version"), fewer, sizes], schema=CHANGE_SCHEMA)

    @classmethod
    def concat(cls, many: Sequence[LivesEnded]) -> LivesEnded:
        """Those of several buckets of keys."""
        return cls(pa.concat_tables([ended.rows for ended in many]))


def find_lives(ask: Ask, table: TableRow, keys: Ints) -> pa.Table:
    """The live files that have one of these keys (LIFE_SCHEMA), by the index of the keys."""
    found = [LIFE_SCHEMA.empty_table()]
    wanted = np.unique(keys).tolist()
    for start in range(0, len(wanted), _CHUNK):
        some = ", ".join(map(str, wanted[start : start + _CHUNK]))
        answer = ask(Statement(f"{_question(table, LIFE_SCHEMA)} AND path_key IN ({some})"))
        if answer:
            columns = zip(*answer, strict=True)
            arrays = [pa.array(c, f.type) for c, f in zip(columns, LIFE_SCHEMA, strict=True)]
            found.append(pa.table(arrays, schema=LIFE_SCHEMA))
    return pa.concat_tables(found)


def search_lives(catalog: Catalog, table: TableRow, keys: Ints) -> pa.Table:
    """The same as `find_lives`, in whatever way is quicker: where many are asked for, all pass by.

    Most keys are those of new files, so that at first the keys alone do.
    """
    wanted = np.unique(keys)
    if _are_many(wanted, table):
        batches = catalog.dialect.stream(_question(table, _KEY_SCHEMA), _KEY_SCHEMA)
        there = [key[_among(key, wanted)] for key in map(_path_keys, batches)]
        wanted = np.concatenate([np.empty(0, np.int64), *there])
    if _are_many(wanted, table):
        wanted = np.sort(wanted)
        rows = catalog.dialect.stream(_question(table, LIFE_SCHEMA), LIFE_SCHEMA)
        return pa.Table.from_batches(list(_matching(rows, wanted)), schema=LIFE_SCHEMA)
    with catalog.read() as connection:
        writer = writer_of(catalog.url, connection.connection.dbapi_connection)
        return find_lives(writer.ask, table, wanted)


def _are_many(wanted: Ints, table: TableRow) -> bool:
    return len(wanted) > max(_FEW, table.num_files // _SHARE)


def _matching(batches: Iterator[pa.RecordBatch], wanted: Ints) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch.filter(pa.array(_among(_path_keys(batch), wanted)))


def _path_keys(batch: pa.RecordBatch) -> Ints:
    return np.asarray(batch.column("path_key").to_numpy(), dtype=np.int64)


def _among(keys: Ints, wanted: Ints) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which keys are among the wanted, ascending ones."""
    if not len(wanted):
        return np.zeros(len(keys), dtype=bool)
    place = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
    return np.asarray(wanted[place] == keys)


def _question(table: TableRow, columns: pa.Schema) -> str:
    """SELECT of live files; they are those of the head that the caller has seen, or will lock."""
    return (
        f"SELECT {', '.join(columns.names)} FROM {load_files_name(table.live_load)} "
        f"WHERE load_id = {table.live_load} AND removed_version = {LIVE} "
        f"AND added_version <= {table.head_version}"
    )


def end_lives(
    lives: pa.Table, events: Events, parts: Sequence[int]
) -> tuple[LivesEnded, dict[int, Endings]]:
    """What new versions do to lives, and to one another (PROTOCOL.md, "Action Reconciliation").

    `events` are those of `parts`; removes that have found a life among `lives` are consumed.
    """
    found = resolve(Events.concat([_events(lives), events]), [_LIVES, *parts])
    mine = found.pop(_LIVES)
    at = pa.array(mine.at, mask=mine.at == NO_TIME)
    rows = lives.take(pa.array(mine.rows))
    rows = rows.append_column("version", pa.array(mine.versions))
    return LivesEnded(rows.append_column("removed_at", at)), found


def _events(lives: pa.Table) -> Events:
    count = lives.num_rows
    _, key2 = file_keys(lives.column("path").to_pylist(), lives.column("dv_id").to_pylist())
    return Events(
        key=np.asarray(lives.column("path_key").to_numpy(), dtype=np.int64),
        key2=key2,
        version=np.full(count, _LIVES, dtype=np.int64),
        kind=np.full(count, OPEN, dtype=np.int8),
        part=np.full(count, _LIVES, dtype=np.int32),
        row=np.arange(count),
        at=np.full(count, NO_TIME, dtype=np.int64),
    )
