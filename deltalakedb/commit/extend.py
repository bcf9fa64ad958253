"""The rows of a load, brought to later versions: what a replayed range changes, no more."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from deltalakedb.catalog import rows
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.limits import unstorable
from deltalakedb.catalog.loads.totals import (
    CHANGE_SCHEMA,
    live_changes,
    live_totals,
    sum_changes,
)
from deltalakedb.catalog.records import TableRow
from deltalakedb.catalog.tables import (
    change_files,
    load_files,
    metadata,
    metadatas,
    other_actions,
    partitions,
    versions,
)
from deltalakedb.commit.prepared import keys_of_rows, wider_slots
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.keys import SkippingColumn
from deltalakedb.log.protocol import Protocol, check_known, unreadable_features
from deltalakedb.log.rows import LIVE
from deltalakedb.replay.intervals import StateInterval, commit_times, state_intervals
from deltalakedb.replay.state import RangeState

_CHUNK = 500
_KEY_COLUMN = {"txn": "app_id", "domainMetadata": "domain"}


class ClosedLife(NamedTuple):
    """A life that a range ends: when, which file's, and what goes with it."""

    version: int
    path_key: int
    partition_id: int
    size: int


@dataclass(frozen=True)
class Extended:
    """A load after the new versions.

    `skipping`, `unreadable`: what `dl_tables` has to say from now on; None where that holds.
    """

    adds: int
    removes: int
    num_files: int
    total_bytes: int
    skipping: str | None
    unreadable: str | None
    closed: tuple[ClosedLife, ...]

    def of_table(self) -> dict[str, str]:
        """What changes in the row of `dl_tables`."""
        said = {"skipping": self.skipping, "unreadable_features": self.unreadable}
        return {name: text for name, text in said.items() if text is not None}


def extend_load(
    catalog: Catalog, connection: sa.Connection, table: TableRow, state: RangeState
) -> Extended:
    """Write the versions after `table.head_version` into the load `table.live_load`.

    The head is left to the caller, who has it locked, or a load that nobody sees. Raises
    UNSUPPORTED_FEATURE or INVALID_LOG when the new head can't be catalogued.
    """
    return _Extension(catalog, connection, table, state).run()


def insert_rows(
    catalog: Catalog, connection: sa.Connection, target: sa.Table, found: pa.Table
) -> None:
    """INSERT rows; what the database can't hold is refused by name."""
    for batch in found.to_batches(_CHUNK * 4):
        if batch.num_rows:
            with _naming_unstorable(catalog, target, batch):
                connection.execute(target.insert(), batch.to_pylist())


@contextmanager
def _naming_unstorable(catalog: Catalog, target: sa.Table, found: pa.RecordBatch) -> Iterator[None]:
    try:
        yield
    except (sa.exc.SQLAlchemyError, ValueError) as error:
        # psycopg2 refuses a NUL by a ValueError of its own.
        table = pa.Table.from_batches([found])
        refusal = unstorable(catalog.dialect, {target.name: table})
        if refusal is None:
            raise
        raise refusal from error


class _Event(NamedTuple):
    """The first thing that a range does to a file; `closing` is the remove's row if it is one."""

    version: int
    removed_at: int | None
    closing: int | None


class _Extension:
    def __init__(
        self, catalog: Catalog, connection: sa.Connection, table: TableRow, state: RangeState
    ) -> None:
        self._catalog = catalog
        self._connection = connection
        self._table = table
        self._state = state
        self._files = load_files(table.live_load)
        described = json.loads(table.skipping)
        self._described: list[dict[str, Any]] = described
        self._skipping = [SkippingColumn.from_json(d) for d in described]

    def run(self) -> Extended:
        table, state = self._table, self._state
        head = self._current_metadata()
        small = [*head, *state.state]
        unreadable = self._check_head()
        closed, consumed = self._close_files()
        remaining = pc.invert(
            pc.is_in(
                pa.array(range(state.closings.num_rows), pa.int64()),
                value_set=pa.array(consumed, pa.int64()),
            )
        )
        rest = replace(state, closings=state.closings.filter(remaining))
        new_files = rows.file_rows(rest, table.live_load, self._skipping)
        self._insert(self._files, new_files)
        partition_change = self._count_partitions(closed)
        self._insert_state()
        self._insert_versions(small, self._live_changes(closed))
        for target, added in ((change_files, state.changes), (other_actions, state.others)):
            self._insert(target, rows.with_load(added, table.live_load))
        adds, removes = (
            pc.sum(state.versions.column(n)).as_py() or 0 for n in ("num_adds", "num_removes")
        )
        return Extended(
            adds,
            removes,
            table.num_files + partition_change[0],
            table.total_bytes + partition_change[1],
            wider_slots(self._described, keys_of_rows(new_files)),
            None if unreadable is None else ",".join(unreadable),
            tuple(closed),
        )

    def _insert(self, target: sa.Table, found: pa.Table) -> None:
        insert_rows(self._catalog, self._connection, target, found)

    def _current_metadata(self) -> list[StateInterval]:
        found = self._connection.execute(
            sa.select(metadatas.c.added_version, metadatas.c.body).where(
                metadatas.c.load_id == self._table.live_load,
                metadatas.c.removed_version == LIVE,
            )
        )
        return [StateInterval("metaData", "", json.loads(b), v, LIVE) for v, b in found]

    def _check_head(self) -> list[str] | None:
        """Refuse a new head that we would refuse to import. The protocol's marks if it changed."""
        newest = {change.action: change for change in self._state.state}
        metadata_change = newest.get("metaData")
        if metadata_change is not None and rows.schema_of(metadata_change.body) is None:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_LOG,
                f"the metaData action of version {metadata_change.version} has no schemaString; "
                "set the table's schema with its own engine, then import again",
                version=metadata_change.version,
            )
        protocol_change = newest.get("protocol")
        if protocol_change is None:
            return None
        protocol = Protocol.from_action(protocol_change.body)
        check_known(protocol)
        return unreadable_features(protocol)

    def _first_events(self) -> dict[tuple[str, str | None], _Event]:
        first: dict[tuple[str, str | None], _Event] = {}

        def offer(key: tuple[str, str | None], event: _Event) -> None:
            before = first.get(key)
            if before is None or (event.version, event.closing is None) < (
                before.version,
                before.closing is None,
            ):
                first[key] = event

        closings = _columns(self._state.closings, "path", "dv_id", "removed_version", "removed_at")
        for row, (path, dv, version, at) in enumerate(closings):
            offer((path, dv), _Event(version, at, row))
        for path, dv, version in _columns(self._state.files, "path", "dv_id", "added_version"):
            offer((path, dv), _Event(version, None, None))
        return first

    def _close_files(self) -> tuple[list[ClosedLife], list[int]]:
        """End live rows that the range removes or replaces.

        Returns them, and the rows of `closings` that ended one.
        """
        first = self._first_events()
        wanted = [
            *self._state.closings.column("path_key").to_pylist(),
            *self._state.files.column("path_key").to_pylist(),
        ]
        closed: list[ClosedLife] = []
        consumed: list[int] = []
        updates: list[dict[str, Any]] = []
        for path_key, path, dv, partition, size in self._live_rows(sorted(set(wanted))):
            event = first.get((path, dv))
            if event is None:
                continue
            closed.append(ClosedLife(event.version, path_key, partition, size or 0))
            if event.closing is not None:
                consumed.append(event.closing)
            updates.append(
                {"k": path_key, "p": path, "d": dv or "", "v": event.version, "t": event.removed_at}
            )
        if updates:
            f = self._files.c
            self._connection.execute(
                self._files.update()
                .where(
                    f.load_id == self._table.live_load,
                    f.path_key == sa.bindparam("k"),
                    f.path == sa.bindparam("p"),
                    sa.func.coalesce(f.dv_id, "") == sa.bindparam("d"),
                    f.removed_version == LIVE,
                )
                .values(removed_version=sa.bindparam("v"), removed_at=sa.bindparam("t")),
                updates,
            )
        return closed, consumed

    def _live_rows(self, keys: Sequence[int]) -> Iterator[tuple[int, str, str | None, int, int]]:
        f = self._files.c
        for chunk in _chunks(keys):
            yield from self._connection.execute(
                sa.select(f.path_key, f.path, f.dv_id, f.partition_id, f.size).where(
                    f.load_id == self._table.live_load,
                    f.path_key.in_(chunk),
                    f.removed_version == LIVE,
                )
            )

    def _live_changes(self, closed: Sequence[ClosedLife]) -> pa.Table:
        ends = pa.table(
            [
                pa.array([c.version for c in closed], pa.int64()),
                pa.array([-1] * len(closed), pa.int64()),
                pa.array([-c.size for c in closed], pa.int64()),
            ],
            schema=CHANGE_SCHEMA,
        )
        return sum_changes([live_changes(self._state.files), ends])

    def _count_partitions(self, closed: Iterable[ClosedLife]) -> tuple[int, int]:
        """Bring `dl_partitions` up to date; returns the change in files and bytes."""
        change: dict[int, list[int]] = {}
        emptied: dict[int, int] = {}
        added = rows.partition_rows(self._state)
        for ident, count, size, at in _columns(
            added, "partition_id", "num_files", "total_bytes", "emptied_at"
        ):
            change[ident] = [count, size]
            emptied[ident] = at or 0
        for life in closed:
            entry = change.setdefault(life.partition_id, [0, 0])
            entry[0] -= 1
            entry[1] -= life.size
            emptied[life.partition_id] = max(emptied.get(life.partition_id, 0), life.version)
        load = self._table.live_load
        new = [
            {
                "load_id": load,
                "partition_id": ident,
                "partition_values": values,
                "num_files": 0,
                "total_bytes": 0,
            }
            for ident, values in _columns(added, "partition_id", "partition_values")
        ]
        if new:
            self._connection.execute(self._catalog.dialect.insert_ignoring(partitions), new)
        if change:
            self._connection.execute(
                partitions.update()
                .where(partitions.c.load_id == load, partitions.c.partition_id == sa.bindparam("i"))
                .ordered_values(
                    # First: MySQL counts on with what it has set before.
                    (
                        partitions.c.emptied_at,
                        sa.case(
                            (partitions.c.num_files + sa.bindparam("n") == 0, sa.bindparam("e"))
                        ),
                    ),
                    (partitions.c.num_files, partitions.c.num_files + sa.bindparam("n")),
                    (partitions.c.total_bytes, partitions.c.total_bytes + sa.bindparam("b")),
                ),
                [{"i": i, "n": n, "b": b, "e": emptied[i]} for i, (n, b) in sorted(change.items())],
            )
        return sum(n for n, _ in change.values()), sum(b for _, b in change.values())

    def _insert_state(self) -> None:
        load = self._table.live_load
        added = {
            name: pa.Table.from_pylist(found)
            for name, found in rows.state_rows(state_intervals(self._state.state), load).items()
        }
        if refusal := unstorable(self._catalog.dialect, added):
            raise refusal
        ended: dict[tuple[str, str], int] = {}
        for change in self._state.state:
            what = (change.action, change.key)
            ended[what] = min(ended.get(what, LIVE), change.version)
        for (action, key), version in ended.items():
            target = metadata.tables[rows.STATE_TABLES[action][0]]
            where = [target.c.load_id == load, target.c.removed_version == LIVE]
            if action in _KEY_COLUMN:
                where.append(target.c[_KEY_COLUMN[action]] == key)
            self._connection.execute(target.update().where(*where).values(removed_version=version))
        for name, found in added.items():
            self._insert(metadata.tables[name], found)

    def _insert_versions(self, small: Sequence[Any], live: pa.Table) -> None:
        load = self._table.live_load
        time_before = self._connection.scalar(
            sa.select(versions.c.commit_time).where(
                versions.c.load_id == load, versions.c.version == self._table.head_version
            )
        )
        times_known = list(_columns(self._state.versions, "version", "file_time", "in_commit_time"))
        times = commit_times(times_known, state_intervals(_as_changes(small)), time_before)
        found = rows.version_rows(self._state.versions, load, times, [True] * len(times_known))
        before = (self._table.num_files, self._table.total_bytes)
        totals = list(live_totals(live, [version for version, _, _ in times_known], before))
        for place, name in enumerate(("live_files", "live_bytes")):
            found = found.append_column(name, pa.array([t[place] for t in totals], pa.int64()))
        self._insert(versions, found)


def _as_changes(changes: Iterable[Any]) -> list[Any]:
    from deltalakedb.log.commit import StateChange

    return [
        StateChange(c.added_version, c.action, c.key, c.body) if isinstance(c, StateInterval) else c
        for c in changes
    ]


def _columns(table: pa.Table, *names: str) -> Iterator[tuple[Any, ...]]:
    return zip(*[table.column(n).to_pylist() for n in names], strict=True)


def _chunks(keys: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(keys), _CHUNK):
        yield keys[start : start + _CHUNK]
