"""Rollback points: versions of a table that can be gone back to, whatever its retention is.

A point pins its version's data files against `vacuum` and its log entries against cleanup, and
keeps the protocol and metadata that held, until it is pruned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.commit_tables import rollback_points as points
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.reading.versions import check_version
from deltalakedb.catalog.records import TableRow
from deltalakedb.config import SqlConfig


@dataclass(frozen=True)
class RollbackPoint:
    """A version that is kept. Times are milliseconds since 1970.

    `protocol` and `metadata` are what held then, as in the catalog. `reason`: `cutover`,
    `rollback` or `manual`.
    """

    key: int
    table: str
    reason: str
    version: int
    epoch: int
    authority: str
    cutover_id: str | None
    note: str | None
    created_at: int
    retired_at: int | None
    protocol: dict[str, Any]
    metadata: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The machine-readable form."""
        return asdict(self)


def create_rollback_point(
    table: str, *, database: str | SqlConfig, version: int | None = None, note: str | None = None
) -> RollbackPoint:
    """Keep a version of a table, by default the newest. VERSION_NOT_FOUND where there is none."""
    with Catalog(database) as catalog:
        row = queries.find_table(catalog, table)
        return add_point(catalog, row, "manual", version=version, note=note)


def rollback_points(
    table: str, *, database: str | SqlConfig, retired: bool = False
) -> list[RollbackPoint]:
    """The points of a table, oldest first; with `retired` those that were pruned too."""
    with Catalog(database) as catalog:
        return points_of(catalog, queries.find_table(catalog, table), retired=retired)


def prune_rollback_points(
    table: str, *, database: str | SqlConfig, before: int | None = None, keep: int = 0
) -> list[RollbackPoint]:
    """Let go of points: those before a time (milliseconds since 1970; None: all), but the newest
    `keep`. What they kept goes with the next vacuum and cleanup. Those that were let go of."""
    with Catalog(database) as catalog:
        row = queries.find_table(catalog, table)
        found = points_of(catalog, row)
        gone = found[: len(found) - keep] if keep else found
        gone = [each for each in gone if before is None or each.created_at < before]
        keys = [each.key for each in gone]
        if keys:
            now: sa.ColumnElement[int] = sa.literal_column(catalog.dialect.clock_ms)
            with catalog.write() as connection:
                connection.execute(
                    points.update().where(points.c.rollback_key.in_(keys)).values(retired_at=now)
                )
        return gone


def points_of(catalog: Catalog, row: TableRow, *, retired: bool = False) -> list[RollbackPoint]:
    """A table's points, oldest first."""
    query = sa.select(points).where(points.c.table_key == row.table_key)
    if not retired:
        query = query.where(points.c.retired_at.is_(None))
    with catalog.read() as connection:
        found = connection.execute(query.order_by(points.c.rollback_key)).all()
    return [_point(row, each) for each in found]


def _point(row: TableRow, found: sa.Row[Any]) -> RollbackPoint:
    return RollbackPoint(
        key=found.rollback_key,
        table=row.full_name,
        reason=found.reason,
        version=found.version,
        epoch=found.epoch,
        authority=found.authority,
        cutover_id=found.cutover_id,
        note=found.note,
        created_at=found.created_at,
        retired_at=found.retired_at,
        protocol=json.loads(found.protocol or "{}"),
        metadata=json.loads(found.table_metadata or "{}"),
    )


def add_point(
    catalog: Catalog,
    row: TableRow,
    reason: str,
    *,
    version: int | None = None,
    cutover_id: str | None = None,
    note: str | None = None,
    authority: str | None = None,
) -> RollbackPoint:
    """Keep a version, once for each `cutover_id` and reason."""
    wanted = row.head_version if version is None else version
    check_version(catalog, row, wanted)
    if cutover_id is not None:
        for known in points_of(catalog, row, retired=True):
            if (known.cutover_id, known.reason) == (cutover_id, reason):
                return known
    state = queries.state_at(catalog, row, wanted, small=True)
    values: Mapping[str, Any] = {
        "table_key": row.table_key,
        "reason": reason,
        "version": wanted,
        "epoch": row.epoch,
        "authority": authority or row.authority,
        "cutover_id": cutover_id,
        "protocol": json.dumps(state.protocol),
        "table_metadata": json.dumps(state.metadata),
        "note": note,
        "created_at": sa.literal_column(catalog.dialect.clock_ms),
    }
    with catalog.write() as connection:
        done = connection.execute(points.insert().values(**values)).inserted_primary_key
        assert done is not None
        query = sa.select(points).where(points.c.rollback_key == done[0])
        return _point(row, connection.execute(query).one())
