"""Statistics and pruning keys: a row's keys against its own text, its text against the log's.

What a checkpoint says of a file may be written otherwise than its commit did, and mean the same;
so texts are compared with the commit that added a file, and what they mean with a checkpoint.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.records import SLOTS, TableRow, load_condition, load_files_name, run_of
from deltalakedb.commit.prepared import columns_of
from deltalakedb.display.text import count_text
from deltalakedb.executor.executor import Executor
from deltalakedb.log.keys import NEG_INF, POS_INF, SkippingColumn, keys_from_stats
from deltalakedb.log.ranges import RangeSpec
from deltalakedb.log.reader import read_range
from deltalakedb.log.rows import LIVE, file_keys
from deltalakedb.parity.log_side import Plan, plan_latest
from deltalakedb.replay.state import RangeState
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.sweep.digest import mix, text_hashes
from deltalakedb.sweep.findings import Finding
from deltalakedb.sweep.logs import Log

MOST_FILES = 5_000_000
"""Of larger tables each row is held against its own text alone: about 300 MB here."""
_SAID = np.dtype(
    [
        *(("key", "<i8"), ("key2", "<i8"), ("version", "<i8")),
        *(("means", "<u8"), ("text", "<u8"), ("stats", "?"), ("commit", "?")),
    ]
)
"""What one side says of a file: `means` hashes its keys, `text` whatever stands in its add."""
_TEXTS = ("stats", "tags", "extra", "clustering_provider")
_NUMBERS = (
    *("modification_time", "data_change", "base_row_id", "default_row_commit_version"),
    *("num_records", "added_version"),
)
_KEYS = tuple(f"{end}{slot}" for slot in range(SLOTS) for end in ("lo", "hi"))
_ROWS = pa.schema(
    [
        *((n, pa.string()) for n in ("path", "dv_id", *_TEXTS)),
        *((n, pa.int64()) for n in (*_NUMBERS, *_KEYS) if n != "data_change"),
        ("data_change", pa.bool_()),
    ]
)
_NULL = np.uint64(0x6A09E667F3BCC909)

Said = npt.NDArray[np.void]


def findings(catalog: Catalog, row: TableRow, log: Log, executor: Executor) -> Iterator[Finding]:
    """What is wrong with the live rows of a table. Raises what reading its log raises."""
    store = open_store(log.store)
    plan, _ = plan_latest(store, log.listing, row.head_version, set())
    yield from _Comparison(catalog, row, log.store, executor).findings(plan)


@dataclass(frozen=True)
class _Comparison:
    catalog: Catalog
    row: TableRow
    store: StoreSpec
    executor: Executor

    def findings(self, plan: Plan) -> Iterator[Finding]:
        ours = yield from self._rows()
        if ours is None:
            return
        log, ours = _paired(self._log(plan.ranges), ours)
        same = log["version"] == ours["version"]
        # Rows of a checkpoint aren't those of the commits in every letter.
        verbatim = log["commit"] & same & (log["version"] > self._from_checkpoint())
        other = verbatim & (log["text"] != ours["text"])
        if count := np.count_nonzero(other):
            yield Finding(
                "pruning-changed",
                f"{count_text(int(count), 'file')} not described as in the commits, such as "
                f"{self._path(ours[other][0])}",
            )
        # Some writers leave all statistics out of their checkpoints, none those of some files.
        given = log["stats"] | ~log["commit"] & bool((log["stats"] & ~log["commit"]).any())
        other = given & ours["stats"] & ~other & (log["means"] != ours["means"])
        if count := np.count_nonzero(other):
            base = plan.base
            named = "the log" if base is None else f"the checkpoint of version {base.version}"
            yield Finding(
                "pruning-changed" if base is None else "checkpoint-wrong",
                f"{named} has other statistics of {count_text(int(count), 'file')} than the "
                f"catalog, such as of {self._path(ours[other][0])}",
            )

    def _from_checkpoint(self) -> int:
        """Up to which version the load's rows may have come from a checkpoint."""
        found = self.catalog.reader.rows(
            "SELECT checkpoint_version FROM dl_import_runs WHERE run_key = ?",
            (run_of(self.row.live_load),),
        )
        return -1 if not found or found[0][0] is None else int(found[0][0])

    def _rows(self) -> Generator[Finding, None, Said | None]:
        """The live rows against themselves; returns what they say, None for too many."""
        row = self.row
        skipping = columns_of(row.skipping)
        sql = (
            f"SELECT {', '.join(_ROWS.names)} FROM {load_files_name(row.live_load)} "
            f"WHERE {load_condition(row.live_load)}removed_version = {LIVE}"
        )
        said, wrong, first = [np.empty(0, dtype=_SAID)], 0, ""
        dialect = self.catalog.reader.dialect
        with dialect.errors():
            for batch in dialect.stream(sql, _ROWS):
                table = pa.Table.from_batches([batch])
                bad = _inconsistent(table, skipping)
                wrong += int(np.count_nonzero(bad))
                if not first and bad.any():
                    first = str(table.column("path")[int(np.argmax(bad))].as_py())
                if row.num_files <= MOST_FILES:
                    said.append(_said(table, skipping, commit=False))
        if wrong:
            yield Finding(
                "pruning-changed",
                f"the keys of {wrong} files aren't those of their statistics, such as {first}",
            )
        return np.concatenate(said) if row.num_files <= MOST_FILES else None

    def _log(self, ranges: Sequence[RangeSpec]) -> Said:
        skipping = columns_of(self.row.skipping)
        handles = [self.executor.submit(read_said, self.store, r, skipping) for r in ranges]
        found = [np.empty(0, dtype=_SAID)]
        try:
            for position, part in self.executor.completed(handles):
                found.append(part)
                self.executor.release([handles[position]])
        except BaseException:
            self.executor.cancel()
            raise
        return np.concatenate(found)

    def _path(self, said: np.void) -> str:
        rows = self.catalog.reader.rows(
            f"SELECT path FROM {load_files_name(self.row.live_load)} "
            f"WHERE {load_condition(self.row.live_load)}path_key = ? "
            f"AND removed_version = {LIVE}",
            (int(said["key"]),),
        )
        return str(rows[0][0]) if rows else "one whose key is wrong"


def read_said(spec: StoreSpec, part: RangeSpec, skipping: Sequence[SkippingColumn]) -> Said:
    """What a range of the log says of the files that are live at its end."""
    files = RangeState.replay(read_range(open_store(spec), part), part.first, part.last).files
    live = pa.array(_plain(files.column("removed_version"), np.int64) == LIVE)
    return _said(files.filter(live), skipping, commit=not part.units)


def _said(table: pa.Table, skipping: Sequence[SkippingColumn], *, commit: bool) -> Said:
    found = np.zeros(table.num_rows, dtype=_SAID)
    paths, vectors = (table.column(n).to_pylist() for n in ("path", "dv_id"))
    found["key"], found["key2"] = file_keys(paths, vectors)
    found["version"] = _plain(table.column("added_version"), np.int64)
    stats = table.column("stats")
    found["stats"] = ~_nulls(stats)
    keys = keys_from_stats(stats, skipping)
    means = _numbers(keys.num_records)
    for values in (*keys.lo, *keys.hi):
        means = mix(means ^ _numbers(values))
    found["means"] = means
    text = np.zeros(table.num_rows, np.uint64)
    for name in _NUMBERS[:4]:
        text = mix(text ^ _numbers(table.column(name)))
    for name in _TEXTS:
        text = mix(text ^ text_hashes(table.column(name).to_pylist()))
    found["text"] = text
    found["commit"] = commit
    return found


def _inconsistent(table: pa.Table, skipping: Sequence[SkippingColumn]) -> npt.NDArray[np.bool_]:
    """Rows whose keys aren't those of their statistics; an empty key keeps a file in."""
    keys = keys_from_stats(table.column("stats"), skipping)
    bad: npt.NDArray[np.bool_] = _numbers(table.column("num_records")) != _numbers(keys.num_records)
    for slot in range(SLOTS):
        for end, ends in (("lo", keys.lo), ("hi", keys.hi)):
            column = table.column(f"{end}{slot}")
            there = ~_nulls(column)
            if slot >= len(skipping):
                bad = bad | there
                continue
            ours = _plain(column.fill_null(0), np.int64)
            bad = bad | there & (ours != _plain(ends[slot], np.int64)) & ~_open(end, ours)
    return bad


def _open(end: str, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    return np.asarray(keys == (NEG_INF if end == "lo" else POS_INF))


def _paired(log: Said, ours: Said) -> tuple[Said, Said]:
    """What both say of the files that both have, each once, the log's newest."""
    log = log[np.lexsort((log["version"], log["key2"], log["key"]))]
    last = np.ones(len(log), dtype=bool)
    last[:-1] = ~_same(log[1:], log[:-1])
    log = log[last]
    ours = ours[np.lexsort((ours["key2"], ours["key"]))]
    both = np.concatenate([log, ours])
    order = np.lexsort((np.arange(len(both)) >= len(log), both["key2"], both["key"]))
    left, right = order[:-1], order[1:]
    pairs = _same(both[left], both[right]) & (left < len(log)) & (right >= len(log))
    return both[left[pairs]], both[right[pairs]]


def _same(a: Said, b: Said) -> npt.NDArray[np.bool_]:
    return np.asarray((a["key"] == b["key"]) & (a["key2"] == b["key2"]), dtype=bool)


def _nulls(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = _plain(column.is_null(), np.bool_)
    return found


def _numbers(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    values = _plain(column.cast(pa.int64()).fill_null(0), np.int64).view(np.uint64)
    return np.where(_nulls(column), _NULL, values)


def _plain(column: pa.Array | pa.ChunkedArray, kind: type[np.generic]) -> npt.NDArray[Any]:
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    plain = [np.asarray(c.to_numpy(zero_copy_only=False), dtype=kind) for c in chunks]
    return np.concatenate([np.empty(0, dtype=kind), *plain])
