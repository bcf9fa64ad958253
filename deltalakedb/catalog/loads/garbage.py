"""What dead imports left behind: runs that say `running`, loads that nobody points to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.leases import Lease, acquire
from deltalakedb.catalog.loads import ledger
from deltalakedb.catalog.loads.swap import lease_name
from deltalakedb.catalog.records import run_of
from deltalakedb.catalog.tables import import_parts, import_runs


@dataclass(frozen=True)
class DeadRun:
    """An import whose process has ended without a word. `started_at`: milliseconds."""

    run_key: int
    run_id: str
    table_name: str
    location: str
    started_at: int


@dataclass(frozen=True)
class DeadLoad:
    """Rows that no table shows. `file_rows`: as far as the ledger knows."""

    load_id: int
    table_name: str
    file_rows: int


@dataclass(frozen=True)
class Garbage:
    """What was found, and removed unless it was a dry run.

    `held`: loads that somebody still reads; the next collection removes them. `alive`: imports
    that run now, whose rows are left alone.
    """

    runs: tuple[DeadRun, ...]
    loads: tuple[DeadLoad, ...]
    held: tuple[DeadLoad, ...]
    alive: int


def collect_garbage(catalog: Catalog, *, dry_run: bool = False) -> Garbage:
    """End the runs whose process is gone and remove every load that nobody points to.

    A run is dead when its location's lease can be taken: a living import holds it. Leases stay
    taken until all is removed, so that no import of these locations starts meanwhile.
    """
    leases: list[Lease] = []
    try:
        dead: list[DeadRun] = []
        alive = 0
        for run in _running(catalog):
            lease = acquire(catalog, lease_name(run.location))
            if lease is None and not any(d.location == run.location for d in dead):
                alive += 1
                continue
            if lease is not None:
                leases.append(lease)
            dead.append(run)
        loads = _dead_loads(catalog, [run.run_key for run in dead])
        held: list[DeadLoad] = []
        if not dry_run:
            for run in dead:
                ledger.end_dead_runs(catalog, run.location)
            held = [x for x in loads if not ledger.remove_unless_read(catalog, x.load_id)]
        removed = tuple(load for load in loads if load not in held)
        return Garbage(tuple(dead), removed, tuple(held), alive)
    finally:
        for lease in leases:
            lease.release()


def _running(catalog: Catalog) -> list[DeadRun]:
    wanted = [import_runs.c[name] for name in DeadRun.__dataclass_fields__]
    query = sa.select(*wanted).where(import_runs.c.status == "running")
    with catalog.read() as connection:
        found = connection.execute(query.order_by(import_runs.c.run_key)).all()
    return [DeadRun(*row) for row in found]


def _dead_loads(catalog: Catalog, dead_runs: Sequence[int]) -> list[DeadLoad]:
    found = [*ledger.dead_loads(catalog, dead_runs), *ledger.unrecorded_loads(catalog)]
    if not found:
        return []
    runs = [run_of(load_id) for load_id in found]
    with catalog.read() as connection:
        names = connection.execute(
            sa.select(import_runs.c.run_key, import_runs.c.table_name).where(
                import_runs.c.run_key.in_(runs)
            )
        ).all()
        rows = connection.execute(
            sa.select(import_parts.c.run_key, sa.func.sum(import_parts.c.file_rows))
            .where(import_parts.c.run_key.in_(runs))
            .group_by(import_parts.c.run_key)
        ).all()
    name_of = {row.run_key: row.table_name for row in names}
    rows_of = {key: int(count or 0) for key, count in rows}
    return [
        DeadLoad(load_id, name_of.get(run, "?"), rows_of.get(run, 0))
        for load_id, run in zip(found, runs, strict=True)
    ]
