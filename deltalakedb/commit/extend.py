"""New versions into a load, by the functions of `commit.live`: what a range changes, no more."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from deltalakedb.catalog import rows
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.dialects.writer import Statement, WrongCountError
from deltalakedb.catalog.dialects.writers import writer_of
from deltalakedb.catalog.limits import unstorable
from deltalakedb.catalog.loads.slots import SlotRange, join_slots, slot_ranges, wider_slots
from deltalakedb.catalog.loads.totals import live_changes, live_totals, sum_changes
from deltalakedb.catalog.records import TableRow, load_files_name
from deltalakedb.catalog.tables import metadatas, versions
from deltalakedb.commit.live import LiveLoad, put
from deltalakedb.commit.lives import LivesEnded, end_lives, find_lives
from deltalakedb.commit.prepared import Counted, Ending, columns_of
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit import StateChange
from deltalakedb.log.keys import SkippingColumn
from deltalakedb.log.protocol import Protocol, check_known, unreadable_features
from deltalakedb.replay.intervals import commit_times, state_intervals
from deltalakedb.replay.state import RangeState

_CHUNK = 1_000
_AT_ONCE = 20_000
_COUNTS = ("num_adds", "num_removes")


@dataclass(frozen=True)
class NewRows:
    """What some of the new versions bring, made before any lock.

    `tables`: rows by table name; `versions` (VERSION_SCHEMA), `partitions` (as
    `rows.partition_rows` gives them), `live_changes` and `slots` are summed up over all.
    """

    tables: Mapping[str, pa.Table]
    versions: pa.Table
    partitions: pa.Table
    live_changes: pa.Table
    slots: tuple[SlotRange, ...]


def new_rows(state: RangeState, load_id: int, skipping: Sequence[SkippingColumn]) -> NewRows:
    """The rows of a range whose removes of older files have been taken out."""
    files = rows.file_rows(state, load_id, skipping)
    tables = {
        load_files_name(load_id): files,
        "dl_change_files": rows.with_load(state.changes, load_id),
        "dl_other_actions": rows.with_load(state.others, load_id),
    }
    return NewRows(
        tables,
        state.versions,
        rows.partition_rows(state),
        live_changes(state.files),
        slot_ranges(files, len(skipping)),
    )


@dataclass(frozen=True)
class Extended:
    """A load after the new versions.

    `skipping`, `unreadable`: what `dl_tables` has to say from now on; None where that holds.
    `versions`: the new ones (VERSION_SCHEMA).
    """

    adds: int
    removes: int
    num_files: int
    total_bytes: int
    skipping: str | None
    unreadable: str | None
    versions: pa.Table

    @property
    def head(self) -> int:
        """The newest version."""
        return int(pc.max(self.versions.column("version")).as_py())

    def of_table(self) -> dict[str, str]:
        """What changes in the row of `dl_tables`."""
        said = {"skipping": self.skipping, "unreadable_features": self.unreadable}
        return {name: text for name, text in said.items() if text is not None}


@dataclass
class _Sums:
    """Of the rows that were inserted."""

    versions: list[pa.Table] = field(default_factory=list)
    partitions: list[pa.Table] = field(default_factory=list)
    live_changes: list[pa.Table] = field(default_factory=list)
    slots: list[tuple[SlotRange, ...]] = field(default_factory=list)


class Extension:
    """Versions after a load's head, within a transaction of the caller's.

    `insert` all their rows, in any order, before the head is locked or afterwards; then `finish`,
    with the head locked.
    """

    def __init__(
        self,
        catalog: Catalog,
        connection: sa.Connection,
        table: TableRow,
        changes: Sequence[StateChange],
    ) -> None:
        """`changes`: the small actions of the new versions.

        Raises UNSUPPORTED_FEATURE or INVALID_LOG when the new head can't be catalogued.
        """
        self._dialect = catalog.dialect
        self._connection = connection
        self._writer = writer_of(catalog.url, connection.connection.dbapi_connection)
        self._table = table
        self._changes = sorted(changes, key=lambda change: change.version)
        self._load = LiveLoad(table.table_key, table.live_load)
        self._unreadable = _check_head(self._changes)
        self._sums = _Sums()

    @property
    def skipping(self) -> tuple[SkippingColumn, ...]:
        """The columns that have pruning keys."""
        return columns_of(self._table.skipping)

    def ask(self, question: Statement) -> list[tuple[Any, ...]]:
        """The rows of a query, as the transaction sees them."""
        return self._writer.ask(question)

    def apply(self, state: RangeState) -> tuple[Extended, LivesEnded]:
        """All of them at once, with the head locked."""
        events = state.events(0)
        ended, endings = end_lives(find_lives(self.ask, self._table, events.key), events, [0])
        self.insert(new_rows(state.end(endings[0]), self._table.live_load, self.skipping))
        return self.finish(ended), ended

    def insert(self, new: NewRows) -> None:
        """Put down rows that nobody sees before the head moves."""
        for name, found in new.tables.items():
            self.put(name, found)
        self._sums.versions.append(new.versions)
        self._sums.partitions.append(new.partitions)
        self._sums.live_changes.append(new.live_changes)
        self._sums.slots.append(new.slots)

    def finish(self, ended: LivesEnded) -> Extended:
        """End older files, count, and record the versions."""
        self._end(ended)
        files, size = self._count_partitions(ended)
        self._put_state()
        versions = pa.concat_tables(self._sums.versions).sort_by("version")
        self._put_versions(versions, ended)
        adds, removes = (pc.sum(versions.column(n)).as_py() or 0 for n in _COUNTS)
        added = [join_slots(slots) for slots in zip(*self._sums.slots, strict=True)]
        return Extended(
            adds,
            removes,
            self._table.num_files + files,
            self._table.total_bytes + size,
            wider_slots(self._table.skipping, added),
            None if self._unreadable is None else ",".join(self._unreadable),
            versions,
        )

    def put(self, name: str, found: pa.Table) -> None:
        """Insert rows of a table; what the database can't hold is refused by name."""
        try:
            self._writer.run(list(put(self._writer, name, found)))
        except (DeltaLakeError, ValueError) as error:
            # psycopg2 refuses a NUL by a ValueError of its own.
            refusal = unstorable(self._dialect, {name: found})
            if refusal is None:
                raise
            raise refusal from error

    def _end(self, ended: LivesEnded) -> None:
        names = ("path_key", "path", "dv_id", "version", "removed_at")
        try:
            for start in range(0, ended.rows.num_rows, _AT_ONCE):
                endings = [
                    Ending(key, path, dv or "", version, at)
                    for key, path, dv, version, at in _columns(
                        ended.rows.slice(start, _AT_ONCE), *names
                    )
                ]
                self._writer.run(list(self._load.close(self._writer, endings)))
        except WrongCountError:
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONCURRENCY_ERROR,
                f"files of {self._table.full_name} that the new versions end aren't live any more; "
                "run this again",
                table=self._table.full_name,
            ) from None

    def _count_partitions(self, ended: LivesEnded) -> tuple[int, int]:
        """Bring `dl_partitions` up to date; returns the change in files and bytes."""
        changes: dict[int, list[Any]] = {}
        added = rows.sum_partitions(self._sums.partitions)
        for ident, text, count, size, at in _columns(added, *added.column_names):
            changes[ident] = [text, count, size, at or 0]
        for ident, size, version in _columns(ended.rows, "partition_id", "size", "version"):
            entry = changes.setdefault(ident, [None, 0, 0, 0])
            entry[1] -= 1
            entry[2] -= size or 0
            entry[3] = max(entry[3], version)
        texts = self._partition_texts([i for i, entry in changes.items() if entry[0] is None])
        counted = [
            Counted(ident, texts.get(ident, text), files, size, version)
            for ident, (text, files, size, version) in sorted(changes.items())
        ]
        self._writer.run(list(self._load.count(self._writer, counted)))
        return sum(c.files for c in counted), sum(c.size for c in counted)

    def _partition_texts(self, idents: Sequence[int]) -> dict[int, str]:
        texts: dict[int, str] = {}
        for start in range(0, len(idents), _CHUNK):
            some = ", ".join(map(str, idents[start : start + _CHUNK]))
            question = Statement(
                "SELECT partition_id, partition_values FROM dl_partitions "
                f"WHERE load_id = {self._table.live_load} AND partition_id IN ({some})"
            )
            texts |= self.ask(question)
        return texts

    def _put_state(self) -> None:
        found = rows.state_rows(state_intervals(self._changes), self._table.live_load)
        tables = {name: pa.Table.from_pylist(some) for name, some in found.items()}
        if refusal := unstorable(self._dialect, tables):
            raise refusal
        self._writer.run(list(self._load.state(self._writer, self._changes)))

    def _put_versions(self, found: pa.Table, ended: LivesEnded) -> None:
        table = self._table
        time_before = self._connection.scalar(
            sa.select(versions.c.commit_time).where(
                versions.c.load_id == table.live_load, versions.c.version == table.head_version
            )
        )
        known = list(_columns(found, "version", "file_time", "in_commit_time"))
        metadata = state_intervals([*self._metadata_before(), *self._changes])
        times = commit_times(known, metadata, time_before)
        recorded = rows.version_rows(found, table.live_load, times, [True] * len(known))
        live = sum_changes([*self._sums.live_changes, ended.live_changes()])
        before = (table.num_files, table.total_bytes)
        totals = list(live_totals(live, [version for version, _, _ in known], before))
        for place, name in enumerate(("live_files", "live_bytes")):
            recorded = recorded.append_column(
                name, pa.array([total[place] for total in totals], pa.int64())
            )
        self.put("dl_versions", recorded)

    def _metadata_before(self) -> list[StateChange]:
        """What held at the head; an interval that the new versions have ended holds until then."""
        found = self._connection.execute(
            sa.select(metadatas.c.added_version, metadatas.c.body).where(
                metadatas.c.load_id == self._table.live_load,
                metadatas.c.added_version <= self._table.head_version,
                metadatas.c.removed_version > self._table.head_version,
            )
        )
        return [StateChange(version, "metaData", "", json.loads(body)) for version, body in found]


def _check_head(changes: Sequence[StateChange]) -> list[str] | None:
    """Refuse a new head that we would refuse to import. The protocol's marks if it changed."""
    newest = {change.action: change for change in changes}
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


def _columns(table: pa.Table, *names: str) -> Iterator[tuple[Any, ...]]:
    return zip(*[table.column(n).to_pylist() for n in names], strict=True)
