"""Rows of a live load: what a commit closes, inserts, counts and records, as statements.

Nothing is executed here. A table of more rows than `BULK_ROWS` is to be loaded in bulk; the rest
are INSERTs of some rows each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from deltalakedb.catalog import rows
from deltalakedb.catalog.dialects.writer import Statement, Upsert, Writer, insert
from deltalakedb.catalog.records import load_files_name
from deltalakedb.log.keys import NEG_INF, POS_INF, SkippingColumn
from deltalakedb.log.rows import LIVE
from deltalakedb.replay.intervals import StateInterval

BULK_ROWS = 2_000
"""From here on rows are loaded in bulk."""
_CHUNK = 200
_KEY_COLUMN = {"txn": "app_id", "domainMetadata": "domain"}
ADDED, REMOVED = 0, 1


@dataclass(frozen=True)
class LiveLoad:
    """The load that is seen of a table, and the version that a commit gives it."""

    table_key: int
    load_id: int
    version: int

    @property
    def files(self) -> str:
        """The physical table of the load's files."""
        return load_files_name(self.load_id)

    def file_rows(self, adds: pa.Table, skipping: Sequence[SkippingColumn]) -> pa.Table:
        """Rows of the files that begin (FILE_SCHEMA), with their pruning keys."""
        count = adds.num_rows
        begun = adds
        for name, value in (("added_version", self.version), ("removed_version", LIVE)):
            place = begun.schema.get_field_index(name)
            filled = pa.array(np.full(count, value, dtype=np.int64))
            begun = begun.set_column(place, begun.schema.field(place), filled)
        return rows.keyed_files(begun, self.load_id, skipping)

    def insert(self, writer: Writer, table: str, found: pa.Table) -> Iterator[Statement]:
        """INSERTs of rows; many are loaded at once, here and now."""
        if found.num_rows > BULK_ROWS:
            writer.bulk(table, found)
            return
        for batch in found.to_batches(_CHUNK):
            if batch.num_rows:
                columns = [column.to_pylist() for column in batch.columns]
                yield insert(table, found.column_names, list(zip(*columns, strict=True)))

    def close(self, removes: pa.Table, removed_at: int) -> Iterator[Statement]:
        """End lives: each exactly one that is live."""
        keys = _lists(removes, "path_key", "path", "dv_id")
        for start in range(0, len(keys), _CHUNK):
            some = keys[start : start + _CHUNK]
            each = " OR ".join(
                ["(path_key = ? AND path = ? AND coalesce(dv_id, '') = ?)"] * len(some)
            )
            yield Statement(
                f"UPDATE {self.files} SET removed_version = ?, removed_at = ? "
                f"WHERE load_id = ? AND removed_version = {LIVE} AND ({each})",
                (
                    self.version,
                    removed_at,
                    self.load_id,
                    *(value for key, path, dv in some for value in (key, path, dv or "")),
                ),
                rows=len(some),
            )

    def count(self, writer: Writer, adds: pa.Table, removes: pa.Table) -> Iterator[Statement]:
        """Bring the counts of the partitions up to date."""
        change: dict[int, list[Any]] = {}
        for table, sign in ((adds, 1), (removes, -1)):
            for ident, values, size in _lists(table, "partition_id", "partition_values", "size"):
                entry = change.setdefault(ident, [values, 0, 0])
                entry[1] += sign
                entry[2] += sign * (size or 0)
        what = Upsert(
            table="dl_partitions",
            key=("load_id", "partition_id"),
            columns=("load_id", "partition_id", "partition_values", "num_files", "total_bytes"),
            added=("num_files", "total_bytes"),
            assigned=(("emptied_at", f"CASE WHEN {{num_files}} = 0 THEN {self.version} END"),),
        )
        entries = [(self.load_id, ident, *entry) for ident, entry in sorted(change.items())]
        for start in range(0, len(entries), _CHUNK):
            yield writer.upsert(what, entries[start : start + _CHUNK])

    def state(self, actions: Sequence[tuple[str, str, Mapping[str, Any]]]) -> Iterator[Statement]:
        """Small actions (name, appId or domain, body): what held until now ends."""
        for action, key, body in actions:
            table, build = rows.STATE_TABLES[action]
            where, params = "load_id = ? AND removed_version = ?", [self.load_id, LIVE]
            if action in _KEY_COLUMN:
                where += f" AND {_KEY_COLUMN[action]} = ?"
                params.append(key)  # type: ignore[arg-type]
            yield Statement(
                f"UPDATE {table} SET removed_version = ? WHERE {where}", (self.version, *params)
            )
            if action == "domainMetadata" and body.get("removed"):
                continue
            row = build(StateInterval(action, key, dict(body), self.version, LIVE))
            yield insert(table, ("load_id", *row), [(self.load_id, *row.values())])

    def record(self, row: Mapping[str, Any]) -> Statement:
        """The row of `dl_versions`."""
        whole = {"load_id": self.load_id, "readable": True, **row}
        return insert("dl_versions", tuple(whole), [tuple(whole.values())])

    def changes(
        self, writer: Writer, adds: pa.Table, removes: pa.Table, removes_change_data: bool
    ) -> Iterator[Statement]:
        """What later commits hold against what they have read."""
        count = adds.num_rows + removes.num_rows
        if not count:
            return
        kinds = np.repeat(
            np.array([ADDED, REMOVED], dtype=np.int16), [adds.num_rows, removes.num_rows]
        )
        said = pa.chunked_array(
            [
                *adds.column("data_change").chunks,
                pa.array([removes_change_data] * removes.num_rows, pa.bool_()),
            ],
            pa.bool_(),
        )
        both = {
            name: pa.chunked_array([*adds.column(name).chunks, *removes.column(name).chunks])
            for name in ("path_key", "partition_id")
        }
        found = pa.table(
            {
                "table_key": pa.array(np.full(count, self.table_key, dtype=np.int64)),
                "version": pa.array(np.full(count, self.version, dtype=np.int64)),
                "position": pa.array(np.arange(count, dtype=np.int32)),
                "kind": pa.array(kinds),
                **both,
                "data_change": said,
            }
        )
        yield from self.insert(writer, "dl_changes", found)

    def move_head(
        self, num_files: int, total_bytes: int, now: int, authority: str | None = None
    ) -> Statement:
        """The head on this version; a new authority begins an epoch."""
        handed = ", authority = ?, epoch = epoch + 1" if authority else ""
        return Statement(
            "UPDATE dl_heads SET head_version = ?, num_files = ?, total_bytes = ?, "
            f"updated_at = ?{handed} WHERE table_key = ? AND head_version = ?",
            (
                *(self.version, num_files, total_bytes, now),
                *([authority] if authority else []),
                *(self.table_key, self.version - 1),
            ),
            rows=1,
        )


def wider_slots(described: Sequence[Mapping[str, Any]], found: pa.Table) -> str | None:
    """`dl_tables.skipping` for the files of a table with these pruning keys; None if it holds."""
    slots = [dict(slot) for slot in described]
    for number, slot in enumerate(slots):
        low = found.column(f"lo{number}").to_pylist()
        high = found.column(f"hi{number}").to_pylist()
        for lo, hi in zip(low, high, strict=True):
            if lo is None or lo <= NEG_INF or hi >= POS_INF or lo > hi:
                # Whether there are any is enough; a count would change with every commit.
                slot["missing"] = max(slot["missing"], 1)
                continue
            if not (slot["least"] or slot["greatest"] or slot["width"]):
                slot["least"], slot["greatest"] = lo, hi
            slot["least"] = min(slot["least"], lo)
            slot["greatest"] = max(slot["greatest"], hi)
            slot["width"] = max(slot["width"], hi - lo)
    return None if slots == list(described) else json.dumps(slots)


def _lists(table: pa.Table, *names: str) -> list[tuple[Any, ...]]:
    return list(zip(*[table.column(name).to_pylist() for name in names], strict=True))
