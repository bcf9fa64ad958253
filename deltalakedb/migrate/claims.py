"""Who imports which table of a fleet: a claim is a row of `dl_migrations`, made in one statement.

Several runs may work on the same tables. A row says which run has it (`plan_id`); that a run lives
is told by its lease, so that what a dead one had is taken up by the next.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.commit_tables import leases, migrations
from deltalakedb.catalog.holder import is_dead
from deltalakedb.catalog.leases import Lease, acquire
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.location import location_hash
from deltalakedb.migrate.mapping import Entry

_LEASE = "fleet "
_CHUNK = 500
_IMPORTED = ("following", "ready", "cutting", "probation", "sql", "rolling_back")


def new_run() -> str:
    """A name for a run."""
    return uuid.uuid4().hex


def begin_run(catalog: Catalog, run: str) -> Lease:
    """The lease that says that a run lives; release it at its end."""
    lease = acquire(catalog, _LEASE + run)
    assert lease is not None
    return lease


def live_runs(connection: sa.Connection, catalog: Catalog) -> set[str]:
    """Ids of the runs that aren't known to be dead."""
    found = connection.execute(
        sa.select(leases.c.name, leases.c.holder).where(
            leases.c.name.like(f"{_LEASE}%"),
            leases.c.expires_at > sa.literal_column(catalog.dialect.clock_ms),
        )
    )
    return {name.removeprefix(_LEASE) for name, holder in found if not is_dead(holder)}


def rows_by_location(catalog: Catalog) -> dict[str, sa.Row[Any]]:
    """Every table's row of `dl_migrations`, in one question."""
    with catalog.read() as connection:
        return {row.location: row for row in connection.execute(sa.select(migrations))}


def plan(catalog: Catalog, entries: Sequence[tuple[Entry, str]]) -> None:
    """Rows in state `planned` for tables that have none; others get their name and strategy.

    `entries`: each with the place of its log.
    """
    known = rows_by_location(catalog)
    new, changed = [], []
    for entry, log in entries:
        row = known.get(entry.location)
        if row is None:
            new.append({**_named(entry), **_place(entry, log)})
        elif row.state not in _IMPORTED and _differs(row, entry):
            changed.append({"key": row.migration_key, **_named(entry)})
    now: sa.ColumnElement[int] = sa.literal_column(catalog.dialect.clock_ms)
    first = {"state": "planned", "attempts": 0}
    for start in range(0, len(new), _CHUNK):
        with catalog.write() as connection:
            connection.execute(
                catalog.dialect.insert_ignoring(migrations).values(
                    [
                        {**row, **first, "created_at": now, "updated_at": now}
                        for row in new[start : start + _CHUNK]
                    ]
                )
            )
    if changed:
        with catalog.write() as connection:
            connection.execute(
                migrations.update()
                .where(migrations.c.migration_key == sa.bindparam("key"))
                .values(
                    table_name=sa.bindparam("table_name"),
                    strategy=sa.bindparam("strategy"),
                    table_id=sa.bindparam("table_id"),
                ),
                changed,
            )


def _differs(row: sa.Row[Any], entry: Entry) -> bool:
    return (row.table_name, row.strategy) != (entry.full_name, entry.strategy)


def _named(entry: Entry) -> dict[str, Any]:
    return {"table_name": entry.full_name, "strategy": entry.strategy, "table_id": None}


def _place(entry: Entry, log: str) -> dict[str, Any]:
    return {
        "location_hash": location_hash(entry.location),
        "location": entry.location,
        "log_location": log,
    }


def claim(catalog: Catalog, run: str, locations: Iterable[str]) -> set[str]:
    """Take tables for a run: those of `locations` that nobody who lives has; returns them.

    Planned ones, those that failed, and those that a dead run had. What this run has already it
    gets again, so that a task may be repeated.
    """
    hashes = [location_hash(location) for location in locations]
    taken: set[str] = set()
    with catalog.write() as connection:
        others = live_runs(connection, catalog) - {run}
        abandoned = sa.and_(
            migrations.c.state == "importing",
            sa.or_(migrations.c.plan_id.is_(None), migrations.c.plan_id.not_in(sorted(others))),
        )
        for start in range(0, len(hashes), _CHUNK):
            some = migrations.c.location_hash.in_(hashes[start : start + _CHUNK])
            free = sa.and_(some, sa.or_(migrations.c.state.in_(("planned", "failed")), abandoned))
            # The keys first, locked in their order: two runs that meet can't wait for each other.
            keys = list(
                connection.scalars(
                    catalog.dialect.for_update(
                        sa.select(migrations.c.migration_key)
                        .where(free)
                        .order_by(migrations.c.migration_key)
                    )
                )
            )
            if not keys:
                continue
            connection.execute(
                migrations.update()
                .where(migrations.c.migration_key.in_(keys))
                .values(
                    state="importing",
                    plan_id=run,
                    attempts=migrations.c.attempts + 1,
                    error_kind=None,
                    reason=None,
                    updated_at=sa.literal_column(catalog.dialect.clock_ms),
                )
            )
            taken.update(
                connection.scalars(
                    sa.select(migrations.c.location).where(migrations.c.migration_key.in_(keys))
                )
            )
    return taken


def imported(
    connection: sa.Connection,
    catalog: Catalog,
    tables: Mapping[str, tuple[str, str]],
    run: str,
) -> None:
    """In the transaction that makes them visible: tables are in the catalog, and followed.

    `tables`: by location, (table id, digest of the log's listing). Raises CONCURRENCY_ERROR when
    another run has taken one.
    """
    if not tables:
        return
    ids = {location_hash(place): table_id for place, (table_id, _) in tables.items()}
    details = {
        location_hash(place): json.dumps({"listing": listing})
        for place, (_, listing) in tables.items()
    }
    of = migrations.c.location_hash
    done = connection.execute(
        migrations.update()
        .where(of.in_(list(ids)), migrations.c.state == "importing", migrations.c.plan_id == run)
        .values(
            state="following",
            table_id=sa.case(ids, value=of),
            details=sa.case(details, value=of),
            error_kind=None,
            reason=None,
            updated_at=sa.literal_column(catalog.dialect.clock_ms),
        )
    )
    if done.rowcount != len(tables):
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONCURRENCY_ERROR,
            "the import of some tables was taken over by another run; nothing was changed",
        )


def seen(catalog: Catalog, location: str, listing: str, table_id: str) -> None:
    """A table that is in the catalog was found at, or brought to, what its log lists."""
    with catalog.write() as connection:
        row = connection.execute(
            catalog.dialect.for_update(
                sa.select(migrations).where(migrations.c.location_hash == location_hash(location))
            )
        ).first()
        if row is None:
            return
        details = json.loads(row.details or "{}") | {"listing": listing}
        values: dict[str, Any] = {"details": json.dumps(details), "table_id": table_id}
        if row.state not in _IMPORTED:
            details.pop("step", None)
            values |= {"state": "following", "error_kind": None, "reason": None}
            values["details"] = json.dumps(details)
        connection.execute(
            migrations.update()
            .where(migrations.c.migration_key == row.migration_key)
            .values(**values, updated_at=sa.literal_column(catalog.dialect.clock_ms))
        )


def failed(catalog: Catalog, location: str, error: DeltaLakeError) -> None:
    """Record why a table couldn't be imported, or caught up with; the step is kept."""
    with catalog.write() as connection:
        where = migrations.c.location_hash == location_hash(location)
        row = connection.execute(sa.select(migrations).where(where)).first()
        if row is None:
            return
        step = row.state
        details = json.loads(row.details or "{}")
        details.setdefault("step", step) if step == "failed" else details.update(step=step)
        connection.execute(
            migrations.update()
            .where(where, migrations.c.state.in_(("planned", "importing", "failed", "following")))
            .values(
                state="failed",
                error_kind=error.kind.value,
                reason=error.message,
                details=json.dumps(details),
                updated_at=sa.literal_column(catalog.dialect.clock_ms),
            )
        )


def give_back(catalog: Catalog, run: str) -> None:
    """What a run has claimed and not done is free again."""
    with catalog.write() as connection:
        connection.execute(
            migrations.update()
            .where(migrations.c.plan_id == run, migrations.c.state == "importing")
            .values(state="planned", plan_id=None)
        )
