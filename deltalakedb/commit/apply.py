"""New versions into a live load, in one transaction: its rows, and the head with them."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import sqlalchemy as sa

from deltalakedb.catalog import rows
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.commit_tables import changes, commits, mirror
from deltalakedb.catalog.loads.ledger import Run, finish_run, now_ms
from deltalakedb.catalog.records import TableRow
from deltalakedb.catalog.tables import heads, tables
from deltalakedb.commit.extend import Extended, extend_load, insert_rows
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.replay.state import RangeState

_TOKEN_LENGTH = 64


@dataclass(frozen=True)
class Applied:
    """Totals after the new versions."""

    adds: int
    removes: int
    num_files: int
    total_bytes: int


def apply_state(catalog: Catalog, table: TableRow, run: Run, state: RangeState | None) -> Applied:
    """Apply the versions after the table's head; with None only the run is recorded.

    Raises CONCURRENCY_ERROR when the table has moved since `table` was read, UNSUPPORTED_FEATURE
    or INVALID_LOG when the new head can't be catalogued; nothing is changed then.
    """
    with catalog.write() as connection:
        if state is None:
            finish_run(
                connection,
                run,
                from_version=table.head_version,
                to_version=table.head_version,
                versions=0,
                adds=0,
                removes=0,
                live_files=table.num_files,
            )
            return Applied(0, 0, table.num_files, table.total_bytes)
        _lock(catalog, connection, table)
        extended = extend_load(catalog, connection, table, state)
        _insert_changes(catalog, connection, table, state, extended)
        _move_head(connection, table, state, extended)
        _record_tokens(catalog, connection, table, state)
        if wide := extended.of_table():
            connection.execute(
                tables.update().where(tables.c.table_key == table.table_key).values(**wide)
            )
        finish_run(
            connection,
            run,
            load_id=table.live_load,
            from_version=state.first,
            to_version=state.last,
            versions=state.versions.num_rows,
            adds=extended.adds,
            removes=extended.removes,
            live_files=extended.num_files,
        )
        return Applied(extended.adds, extended.removes, extended.num_files, extended.total_bytes)


def _lock(catalog: Catalog, connection: sa.Connection, table: TableRow) -> None:
    query = sa.select(heads.c.head_version, heads.c.live_load).where(
        heads.c.table_key == table.table_key
    )
    found = connection.execute(catalog.dialect.for_update(query)).first()
    if found is None or tuple(found) != (table.head_version, table.live_load):
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONCURRENCY_ERROR,
            f"table {table.full_name} has moved on meanwhile; run this again",
            table_id=table.table_id,
        )


def _insert_changes(
    catalog: Catalog,
    connection: sa.Connection,
    table: TableRow,
    state: RangeState,
    extended: Extended,
) -> None:
    ended = pa.table(
        {
            name: pa.array([getattr(c, name) for c in extended.closed], pa.int64())
            for name in ("version", "path_key", "partition_id")
        }
    )
    found = rows.change_rows(table.table_key, state.files, ended)
    insert_rows(catalog, connection, changes, found)


def _record_tokens(
    catalog: Catalog, connection: sa.Connection, table: TableRow, state: RangeState
) -> None:
    """Of commits of ours that only the log has held: a retry is to find them."""
    said = zip(*[state.versions.column(n).to_pylist() for n in ("version", "txn_id")], strict=True)
    known = [
        {
            "table_key": table.table_key,
            "token": token,
            "version": version,
            "epoch": table.epoch,
            "committed_at": now_ms(),
        }
        for version, token in said
        if token and len(token) <= _TOKEN_LENGTH
    ]
    if known:
        connection.execute(catalog.dialect.insert_ignoring(commits), known)


def _move_head(
    connection: sa.Connection, table: TableRow, state: RangeState, extended: Extended
) -> None:
    connection.execute(
        heads.update()
        .where(heads.c.table_key == table.table_key)
        .values(
            head_version=state.last,
            num_files=extended.num_files,
            total_bytes=extended.total_bytes,
            updated_at=now_ms(),
        )
    )
    if table.authority == "log":
        connection.execute(
            mirror.update()
            .where(mirror.c.table_key == table.table_key)
            .values(published_version=state.last, durable_version=state.last)
        )
