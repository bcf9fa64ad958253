"""New versions into a live load, in one transaction: its rows, and the head with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from deltalakedb.catalog import rows
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.commit_tables import commits, mirror
from deltalakedb.catalog.loads.ledger import Run, finish_run, now_ms
from deltalakedb.catalog.records import TableRow
from deltalakedb.catalog.tables import heads, tables
from deltalakedb.commit.extend import Extended, Extension, NewRows
from deltalakedb.commit.lives import LivesEnded
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit import StateChange
from deltalakedb.replay.state import RangeState

_TOKEN_LENGTH = 64


@dataclass(frozen=True)
class Applied:
    """Totals after the new versions."""

    adds: int
    removes: int
    num_files: int
    total_bytes: int


def apply_nothing(catalog: Catalog, table: TableRow, run: Run) -> Applied:
    """Record a run that found no new version."""
    with catalog.write() as connection:
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


def apply_state(catalog: Catalog, table: TableRow, run: Run, state: RangeState) -> Applied:
    """Apply the versions after the table's head.

    Raises CONCURRENCY_ERROR when the table has moved since `table` was read, UNSUPPORTED_FEATURE
    or INVALID_LOG when the new head can't be catalogued; nothing is changed then.
    """
    with catalog.write() as connection:
        _lock(catalog, connection, table)
        extension = Extension(catalog, connection, table, state.state)
        extended, ended = extension.apply(state)
        changes = rows.change_rows(table.table_key, state.files, ended.rows)
        extension.put("dl_changes", changes)
        return _finish(catalog, connection, table, run, extended)


def apply_parts(
    catalog: Catalog,
    table: TableRow,
    run: Run,
    parts: Iterable[NewRows],
    changes: Sequence[StateChange],
    ended: LivesEnded,
) -> Applied:
    """The same for versions of many rows, which come in parts.

    They are put down before the head is locked: until then nobody waits but for SQLite, which has
    one writer. What other commits are held against isn't recorded row by row: those that have read
    an older version are told to read again, as after a rebuild. Raises as `apply_state`.
    """
    with catalog.write() as connection:
        extension = Extension(catalog, connection, table, changes)
        for part in parts:
            extension.insert(part)
        _lock(catalog, connection, table)
        extended = extension.finish(ended)
        return _finish(catalog, connection, table, run, extended, changes_since=extended.head)


def _finish(
    catalog: Catalog,
    connection: sa.Connection,
    table: TableRow,
    run: Run,
    extended: Extended,
    **facts: Any,
) -> Applied:
    """The head, and what is said of table and run; `facts`: more of `dl_tables`."""
    _move_head(connection, table, extended)
    _record_tokens(catalog, connection, table, extended.versions)
    if said := extended.of_table() | facts:
        connection.execute(
            tables.update().where(tables.c.table_key == table.table_key).values(**said)
        )
    finish_run(
        connection,
        run,
        load_id=table.live_load,
        from_version=table.head_version + 1,
        to_version=extended.head,
        versions=extended.versions.num_rows,
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


def _record_tokens(
    catalog: Catalog, connection: sa.Connection, table: TableRow, found: pa.Table
) -> None:
    """Of commits of ours that only the log has held: a retry is to find them."""
    said = zip(*[found.column(n).to_pylist() for n in ("version", "txn_id")], strict=True)
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


def _move_head(connection: sa.Connection, table: TableRow, extended: Extended) -> None:
    connection.execute(
        heads.update()
        .where(heads.c.table_key == table.table_key)
        .values(
            head_version=extended.head,
            num_files=extended.num_files,
            total_bytes=extended.total_bytes,
            updated_at=now_ms(),
        )
    )
    if table.authority == "log":
        connection.execute(
            mirror.update()
            .where(mirror.c.table_key == table.table_key)
            .values(published_version=extended.head, durable_version=extended.head)
        )
