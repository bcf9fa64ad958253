"""Rows of a live load: what new versions close, insert, count and record, as statements.

The one place that knows how a load changes: commits and what adopts the commits of others call the
same functions. Nothing is executed here, but for rows that are many: those are loaded in bulk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from deltalakedb.catalog import rows
from deltalakedb.catalog.dialects.writer import Statement, UpdateEach, Upsert, Writer, insert
from deltalakedb.catalog.records import load_files_name
from deltalakedb.commit.prepared import BULK_ROWS, CHANGE_COLUMNS, Changes, Counted, Ending
from deltalakedb.log.columns import array_of
from deltalakedb.log.commit import StateChange
from deltalakedb.log.rows import LIVE
from deltalakedb.replay.intervals import state_intervals

_CHUNK = 200
_JOINED = 2_000
_KEY_COLUMN = {"txn": "app_id", "domainMetadata": "domain"}


_ENDS = UpdateEach(
    table="",
    given=(
        ("path_key", int),
        ("path", str),
        ("dv_id", str),
        ("version", int),
        ("removed_at", int),
    ),
    assigned=(("removed_version", "given.version"), ("removed_at", "given.removed_at")),
    where="",
)
_COUNTS = Upsert(
    table="dl_partitions",
    key=("load_id", "partition_id"),
    columns=(
        "load_id",
        "partition_id",
        "partition_values",
        "num_files",
        "total_bytes",
        "emptied_at",
    ),
    added=("num_files", "total_bytes"),
    assigned=(("emptied_at", "CASE WHEN {num_files} = 0 THEN {emptied_at} END"),),
)


@dataclass(frozen=True)
class LiveLoad:
    """The load that is seen of a table, or one that becomes so."""

    table_key: int
    load_id: int

    @property
    def files(self) -> str:
        """The physical table of the load's files."""
        return load_files_name(self.load_id)

    def insert(
        self, writer: Writer, files: pa.Table | Mapping[str, list[Any]]
    ) -> Iterator[Statement]:
        """The files that begin, rows of `dl_files`; many are loaded at once, here and now."""
        if isinstance(files, pa.Table):
            yield from put(writer, self.files, files)
        else:
            # What no file has isn't sent: less to say and to read.
            said = {n: values for n, values in files.items() if values.count(None) < len(values)}
            found = list(zip(*said.values(), strict=True))
            yield from _inserts(self.files, tuple(said), found)

    def close(self, writer: Writer, endings: Sequence[Ending]) -> Iterator[Statement]:
        """End lives: each exactly one that is live, and is older than its end."""
        same = {(ending.version, ending.removed_at) for ending in endings}
        if len(same) == 1 and len(endings) <= _CHUNK:
            [(version, removed_at)] = same
            each = " OR ".join(
                ["(path_key = ? AND path = ? AND coalesce(dv_id, '') = ?)"] * len(endings)
            )
            # Alternatives alone have SQLite look at all files of the load.
            keys = [ending[0] for ending in endings] if len(endings) > 1 else []
            listed = f"AND path_key IN ({', '.join('?' * len(keys))}) " if keys else ""
            yield Statement(
                f"UPDATE {self.files} SET removed_version = ?, removed_at = ? "
                f"WHERE load_id = ? AND removed_version = {LIVE} AND added_version < ? "
                f"{listed}AND ({each})",
                (
                    *(version, removed_at, self.load_id, version, *keys),
                    *(value for ending in endings for value in ending[:3]),
                ),
                rows=len(endings),
            )
            return
        what = _ENDS._replace(
            table=self.files,
            where=f"target.load_id = {self.load_id} AND target.path_key = given.path_key "
            "AND target.path = given.path AND coalesce(target.dv_id, '') = given.dv_id "
            f"AND target.removed_version = {LIVE} AND target.added_version < given.version",
        )
        for start in range(0, len(endings), _JOINED):
            some = endings[start : start + _JOINED]
            yield writer.update_each(what, some)._replace(rows=len(some))

    def count(self, writer: Writer, changes: Iterable[Counted]) -> Iterator[Statement]:
        """Bring the counts of the partitions up to date."""
        entries = [
            # Files that only come empty nothing.
            (self.load_id, *change[:4], change.version if change.files <= 0 else None)
            for change in changes
        ]
        what = _COUNTS
        if all(entry[3] > 0 for entry in entries):
            what = what._replace(assigned=(("emptied_at", "NULL"),))
        for start in range(0, len(entries), _CHUNK):
            yield writer.upsert(what, entries[start : start + _CHUNK])

    def state(self, writer: Writer, changes: Sequence[StateChange]) -> Iterator[Statement]:
        """Small actions: what held until now ends."""
        first: dict[tuple[str, str], int] = {}
        for change in changes:
            what = change.action, change.key
            first[what] = min(first.get(what, LIVE), change.version)
        for (action, key), version in first.items():
            table, _ = rows.STATE_TABLES[action]
            where, params = "load_id = ? AND removed_version = ?", [self.load_id, LIVE]
            if action in _KEY_COLUMN:
                where += f" AND {_KEY_COLUMN[action]} = ?"
                params.append(key)  # type: ignore[arg-type]
            yield Statement(
                f"UPDATE {table} SET removed_version = ? WHERE {where}", (version, *params)
            )
        found = rows.state_rows(state_intervals(changes), self.load_id)
        for table, some in found.items():
            if len(some) > BULK_ROWS:
                yield from put(writer, table, pa.Table.from_pylist(some))
            else:
                yield from _inserts(table, tuple(some[0]), [tuple(row.values()) for row in some])

    def record(self, row: Mapping[str, Any]) -> Statement:
        """The row of `dl_versions` of one version."""
        whole = {"load_id": self.load_id, "readable": True, **row}
        return insert("dl_versions", tuple(whole), [tuple(whole.values())])

    def changes(self, writer: Writer, version: int, changes: Changes) -> Iterator[Statement]:
        """What later commits hold against what they have read, of the files of one version."""
        if isinstance(changes, pa.Table):
            count = changes.num_rows
            columns = {
                "table_key": pa.repeat(self.table_key, count),
                "version": pa.repeat(version, count),
                "position": array_of(np.arange(count, dtype=np.int32)),
                **{name: changes.column(name) for name in CHANGE_COLUMNS},
            }
            yield from put(writer, "dl_changes", pa.table(columns))
            return
        names = ("table_key", "version", "position", *CHANGE_COLUMNS)
        found = [(self.table_key, version, place, *each) for place, each in enumerate(changes)]
        yield from _inserts("dl_changes", names, found)

    def move_head(
        self,
        before: int,
        version: int,
        num_files: int,
        total_bytes: int,
        now: int,
        authority: str | None = None,
        place: tuple[str, str] | None = None,
    ) -> Statement:
        """The head from one version to a later one; a new authority begins an epoch.

        `place`: the column, and its value, by which the locked row is found (`Writer.place`).
        """
        handed = ", authority = ?, epoch = epoch + 1" if authority else ""
        found = f"{place[0]} = ? AND " if place else ""
        return Statement(
            "UPDATE dl_heads SET head_version = ?, num_files = ?, total_bytes = ?, "
            f"updated_at = ?{handed} WHERE {found}table_key = ? AND head_version = ?",
            (
                *(version, num_files, total_bytes, now),
                *([authority] if authority else []),
                *([place[1]] if place else []),
                *(self.table_key, before),
            ),
            rows=1,
        )


def put(writer: Writer, table: str, found: pa.Table) -> Iterator[Statement]:
    """Rows of a table; many are loaded at once, here and now."""
    if not found.num_rows:
        return
    filled = found.select([n for n in found.column_names if found[n].null_count < len(found)])
    if filled.num_rows > BULK_ROWS:
        writer.bulk(table, filled)
        return
    columns = [column.to_pylist() for column in filled.columns]
    yield from _inserts(table, tuple(filled.column_names), list(zip(*columns, strict=True)))


def _inserts(
    table: str, columns: tuple[str, ...], found: Sequence[Sequence[Any]]
) -> Iterator[Statement]:
    for start in range(0, len(found), _CHUNK):
        yield insert(table, columns, found[start : start + _CHUNK])
