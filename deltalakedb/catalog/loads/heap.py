"""The heap that small loads share, and the way out of it for a load that has outgrown it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.leases import Lease, acquire
from deltalakedb.catalog.loads import ledger
from deltalakedb.catalog.loads.slots import SlotRange, indexes, narrow_slots
from deltalakedb.catalog.loads.swap import TableFacts, index_load, lease_name, swap
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.records import TableRow, in_heap, load_of
from deltalakedb.catalog.tables import LOAD_TABLES, heads, heap, load_files, tables
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.keys import NEG_INF, POS_INF
from deltalakedb.log.rows import LIVE

HEAP_ROWS = 5_000
"""Files and removes up to which a load shares the heap."""
_ATTEMPTS = 3
_CHUNK = 500


@dataclass(frozen=True)
class Outgrown:
    """A table whose load is too large for the heap. `file_rows`: live ones and ended ones."""

    table: TableRow
    file_rows: int


def outgrown(catalog: Catalog) -> list[Outgrown]:
    """Tables whose live load has outgrown the heap."""
    count = sa.func.count()
    query = (
        sa.select(tables.c.table_id, count)
        .join(heads, heads.c.table_key == tables.c.table_key)
        .join(heap, heap.c.load_id == heads.c.live_load)
        .group_by(tables.c.table_id)
        .having(count > HEAP_ROWS)
        .order_by(tables.c.table_id)
    )
    with catalog.read() as connection:
        found = connection.execute(query).tuples().all()
    return [Outgrown(queries.find_table(catalog, table_id), rows) for table_id, rows in found]


def make_room(catalog: Catalog, table: TableRow, lease: Lease, more: int) -> TableRow:
    """Before `more` rows come into the load of `table`: out of the heap where it would outgrow it.

    The caller holds the lease of the table's location. The row as it is then; who may not make
    tables leaves that to `dl gc`.
    """
    if not in_heap(table.live_load) or table.num_files + more <= HEAP_ROWS:
        return table
    try:
        _move(catalog, table, lease)
    except DeltaLakeError as error:
        if error.kind is not DeltaLakeErrorKind.AUTHENTICATION_ERROR:
            raise
        return table
    ledger.remove_unless_read(catalog, table.live_load)
    return queries.find_table(catalog, table.table_id)


def move_out(catalog: Catalog, table_id: str) -> bool:
    """Give the load of a table a table of its own, beside its readers and writers.

    False where it has one, and while an import of the table runs. Needs the right to make
    tables. Raises CONCURRENCY_ERROR when the table becomes another meanwhile; nothing is changed
    then.
    """
    table = queries.find_table(catalog, table_id)
    lease = acquire(catalog, lease_name(table.location))
    if lease is None:
        return False
    try:
        for left in reversed(range(_ATTEMPTS)):
            table = queries.find_table(catalog, table_id)
            if not in_heap(table.live_load):
                return False
            try:
                _move(catalog, table, lease)
                break
            except DeltaLakeError as error:
                if error.kind is not DeltaLakeErrorKind.CONCURRENCY_ERROR or not left:
                    raise
        ledger.remove_unless_read(catalog, table.live_load)
        return True
    finally:
        lease.release()


def _move(catalog: Catalog, table: TableRow, lease: Lease) -> None:
    run = ledger.start_run(
        catalog,
        table_id=table.table_id,
        table_name=table.full_name,
        location=table.location,
        mode=table.mode,
        workers=0,
        lease=lease,
    )
    load_id = load_of(run.run_key, heap=False)
    names = [f.name for f in fields(TableFacts)]
    facts = TableFacts(**{name: getattr(table, name) for name in names})
    summary = {"to_version": table.head_version, "versions": 0, "adds": 0, "removes": 0}
    try:
        ledger.begin_load(catalog, run, load_id)
        move = _Move(table, load_id)
        with catalog.write() as connection:
            move.copy(connection, heap.c.added_version <= table.head_version)
        move.indexed = _narrow(catalog, table, load_id)
        index_load(catalog, load_id, indexes(move.indexed))
        swap(
            catalog,
            run,
            facts,
            load_id=load_id,
            expected=table,
            summary=summary,
            carry=move,
        )
    except BaseException as error:
        ledger.fail_run(catalog, run, error)
        raise


def _narrow(catalog: Catalog, table: TableRow, load_id: int) -> tuple[int, ...]:
    """The slots that an import of these files would index.

    In the heap they had no index, and what the table says of their keys lags behind appends.
    """
    described = json.loads(table.skipping)
    files = load_files(load_id)
    count = sa.func.count()
    with catalog.read() as connection:
        rows = connection.scalar(sa.select(count).select_from(files)) or 0
        slots = []
        for number, slot in enumerate(described):
            lo, hi = files.c[f"lo{number}"], files.c[f"hi{number}"]
            known = sa.and_(lo > NEG_INF, hi < POS_INF, lo <= hi)
            found = sa.select(sa.func.min(lo), sa.func.max(hi), count).where(known)
            least, greatest, keyed = connection.execute(found).tuples().one()
            slots.append(SlotRange(least or 0, greatest or 0, slot["width"], rows - keyed))
    return narrow_slots(slots, rows, catalog.dialect.indexed_slots)


@dataclass
class _Move:
    """From the load that `table` had in the heap when the move was begun.

    `indexed`: the slots that have an index where it goes.
    """

    table: TableRow
    load_id: int
    indexed: tuple[int, ...] = ()

    def copy(self, connection: sa.Connection, which: sa.ColumnElement[bool]) -> None:
        """Copy those files of the old load."""
        self._copy_rows(connection, heap, load_files(self.load_id), which)

    def __call__(
        self, connection: sa.Connection, facts: TableFacts, head: sa.Row[Any]
    ) -> TableFacts:
        """Bring the copy up to the head, which is locked; all but the files is copied only now."""
        for keys in _chunks(self._changed_paths(connection)):
            files = load_files(self.load_id)
            connection.execute(files.delete().where(files.c.path_key.in_(keys)))
            self.copy(connection, heap.c.path_key.in_(keys))
        for table in LOAD_TABLES:
            self._copy_rows(connection, table, table, sa.true())
        said = connection.execute(
            sa.select(tables.c.skipping, tables.c.unreadable_features).where(
                tables.c.table_key == self.table.table_key
            )
        ).one()
        return replace(
            facts,
            head_version=head.head_version,
            known_since=head.known_since,
            num_files=head.num_files,
            total_bytes=head.total_bytes,
            skipping=self._skipping(said.skipping),
            unreadable_features=said.unreadable_features,
        )

    def _skipping(self, said: str) -> str:
        slots = json.loads(said)
        for number in self.indexed:
            slots[number]["indexed"] = True
        return json.dumps(slots)

    def _changed_paths(self, connection: sa.Connection) -> Sequence[int]:
        """Keys of the paths that versions after the copy's have added or removed."""
        after, h = self.table.head_version, heap.c
        ended = sa.and_(h.removed_version > after, h.removed_version < LIVE)
        query = sa.select(h.path_key).where(
            h.load_id == self.table.live_load, sa.or_(h.added_version > after, ended)
        )
        return sorted(set(connection.scalars(query)))

    def _copy_rows(
        self,
        connection: sa.Connection,
        source: sa.Table,
        target: sa.Table,
        which: sa.ColumnElement[bool],
    ) -> None:
        columns = [c for c in source.columns if c.name != "load_id"]
        rows = sa.select(sa.literal(self.load_id, sa.BigInteger), *columns).where(
            source.c.load_id == self.table.live_load, which
        )
        names = ["load_id", *(c.name for c in columns)]
        connection.execute(target.insert().from_select(names, rows))


def _chunks(keys: Sequence[int]) -> list[Sequence[int]]:
    return [keys[start : start + _CHUNK] for start in range(0, len(keys), _CHUNK)]
