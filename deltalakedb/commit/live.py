"""Rows of a live load: what a commit closes, inserts, counts and records, as statements.

Nothing is executed here, but for rows that are many: those are loaded in bulk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from deltalakedb.catalog import rows
from deltalakedb.catalog.dialects.writer import Statement, Upsert, Writer, insert
from deltalakedb.catalog.records import load_files_name
from deltalakedb.commit.prepared import BULK_ROWS, PreparedRows
from deltalakedb.log.rows import LIVE
from deltalakedb.replay.intervals import StateInterval

_CHUNK = 200
_KEY_COLUMN = {"txn": "app_id", "domainMetadata": "domain"}


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

    def insert(self, writer: Writer, prepared: PreparedRows) -> Iterator[Statement]:
        """The files that begin; many are loaded at once, here and now."""
        same = {"load_id": self.load_id, "added_version": self.version}
        if prepared.files is not None:
            found = prepared.files
            for name, value in same.items():
                place = found.schema.get_field_index(name)
                column = pa.repeat(value, found.num_rows)
                found = found.set_column(place, found.schema.field(place), column)
            writer.bulk(self.files, found)
            return
        values = dict(prepared.values)
        values |= {name: [value] * len(values[name]) for name, value in same.items()}
        yield from _inserts(self.files, tuple(values), list(zip(*values.values(), strict=True)))

    def close(self, prepared: PreparedRows, removed_at: int | None) -> Iterator[Statement]:
        """End lives: each exactly one that is live."""
        for start in range(0, len(prepared.ended), _CHUNK):
            some = prepared.ended[start : start + _CHUNK]
            each = " OR ".join(
                ["(path_key = ? AND path = ? AND coalesce(dv_id, '') = ?)"] * len(some)
            )
            keys = [life[0] for life in some] if len(some) > 1 else []
            # Many alternatives alone have SQLite look at all files of the load.
            listed = f"path_key IN ({', '.join('?' * len(keys))}) AND " if keys else ""
            yield Statement(
                f"UPDATE {self.files} SET removed_version = ?, removed_at = ? "
                f"WHERE load_id = ? AND removed_version = {LIVE} AND {listed}({each})",
                (
                    self.version,
                    removed_at,
                    self.load_id,
                    *keys,
                    *(value for life in some for value in life),
                ),
                rows=len(some),
            )

    def count(self, writer: Writer, prepared: PreparedRows) -> Iterator[Statement]:
        """Bring the counts of the partitions up to date."""
        grows = all(change.files > 0 for change in prepared.partitions)
        emptied = "NULL" if grows else f"CASE WHEN {{num_files}} = 0 THEN {self.version} END"
        what = Upsert(
            table="dl_partitions",
            key=("load_id", "partition_id"),
            columns=("load_id", "partition_id", "partition_values", "num_files", "total_bytes"),
            added=("num_files", "total_bytes"),
            assigned=(("emptied_at", emptied),),
        )
        entries = [
            (self.load_id, c.partition_id, c.partition_values, c.files, c.size)
            for c in prepared.partitions
        ]
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

    def changes(self, writer: Writer, prepared: PreparedRows) -> Iterator[Statement]:
        """What later commits hold against what they have read."""
        names = ("table_key", "version", "position", "kind", "path_key", "partition_id")
        found = [
            (self.table_key, self.version, place, *change)
            for place, change in enumerate(prepared.changes)
        ]
        if len(found) > BULK_ROWS:
            columns = zip(*found, strict=True)
            kinds = (pa.int64(), pa.int64(), pa.int32(), pa.int16(), pa.int64(), pa.int64())
            arrays = [
                pa.array(column, kind)
                for column, kind in zip(columns, (*kinds, pa.bool_()), strict=True)
            ]
            writer.bulk("dl_changes", pa.table(arrays, names=[*names, "data_change"]))
            return
        yield from _inserts("dl_changes", (*names, "data_change"), found)

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


def _inserts(
    table: str, columns: tuple[str, ...], found: Sequence[Sequence[Any]]
) -> Iterator[Statement]:
    for start in range(0, len(found), _CHUNK):
        yield insert(table, columns, found[start : start + _CHUNK])
