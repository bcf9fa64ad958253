"""Import runs and their parts: what was planned, what is loaded, what a dead run left."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.grants import check_writer
from deltalakedb.catalog.leases import Lease
from deltalakedb.catalog.records import in_heap, run_of
from deltalakedb.catalog.tables import (
    LOAD_TABLES,
    heads,
    heap,
    import_parts,
    import_runs,
    loads,
    tables,
)
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind


def now_ms() -> int:
    """This machine's time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Run:
    """A running import. `run_key` is the load's id if it makes a new load.

    `lease`: under which it runs; what it makes visible is so only while that holds.
    """

    run_key: int
    run_id: str
    table_id: str
    lease: Lease | None = None


@dataclass(frozen=True)
class Part:
    """Versions that one task loads. `log_bytes`: what it reads of the log."""

    part: int
    first_version: int
    last_version: int
    log_bytes: int


def start_run(
    catalog: Catalog,
    *,
    table_id: str,
    table_name: str,
    location: str,
    mode: str,
    workers: int,
    lease: Lease | None = None,
) -> Run:
    """Record a new run; from here on its rows are its own, and nobody sees them."""
    run_id = str(uuid.uuid4())
    with catalog.write() as connection:
        result = connection.execute(
            import_runs.insert().values(
                run_id=run_id,
                table_id=table_id,
                table_name=table_name,
                location=location,
                mode=mode,
                status="running",
                workers=workers,
                started_at=now_ms(),
            )
        )
        key = result.inserted_primary_key
    assert key is not None
    return Run(int(key[0]), run_id, table_id, lease)


def begin_load(catalog: Catalog, run: Run, load_id: int) -> None:
    """Record a load before its first row, and make its own table if it is to have one.

    Raises AUTHENTICATION_ERROR when the user may not add one.
    """
    if not in_heap(load_id):
        check_writer(catalog, own_table=True)
    with catalog.write() as connection:
        connection.execute(
            loads.insert().values(load_id=load_id, run_key=run.run_key, created_at=now_ms())
        )
        if not in_heap(load_id):
            catalog.dialect.create_load(connection, load_id)


def plan_parts(catalog: Catalog, run: Run, parts: list[Part]) -> None:
    """Write the ledger: one row a part, all of them before the first load."""
    if not parts:
        return
    with catalog.write() as connection:
        connection.execute(
            import_parts.insert(),
            [
                {
                    "run_key": run.run_key,
                    "part": p.part,
                    "first_version": p.first_version,
                    "last_version": p.last_version,
                    "log_bytes": p.log_bytes,
                    "state": "planned",
                    "attempt": 0,
                }
                for p in parts
            ],
        )


def unloaded_parts(connection: sa.Connection, run: Run) -> list[int]:
    """Numbers of a run's parts that aren't loaded yet."""
    query = sa.select(import_parts.c.part).where(
        import_parts.c.run_key == run.run_key, import_parts.c.state != "loaded"
    )
    return list(connection.scalars(query))


def finish_run(connection: sa.Connection, run: Run, **facts: Any) -> None:
    """Record a run's success, in the transaction that makes what it did visible.

    Raises CONCURRENCY_ERROR when another has taken its lease, or it isn't running any more:
    another took it for dead and has removed what it loaded.
    """
    if run.lease is not None:
        run.lease.check(connection)
    finished = connection.execute(
        import_runs.update()
        .where(import_runs.c.run_key == run.run_key, import_runs.c.status == "running")
        .values(status="succeeded", finished_at=now_ms(), **facts)
    )
    if finished.rowcount != 1:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONCURRENCY_ERROR,
            f"import run {run.run_id} was taken for dead and cleaned up by another; run it again",
            run_id=run.run_id,
        )


def fail_run(catalog: Catalog, run: Run, error: BaseException) -> None:
    """Record a failure and remove what the run has loaded.

    Nothing is done to a run that isn't running: it may have succeeded after all, when the answer
    to its last COMMIT was lost.
    """
    kind = error.kind.value if isinstance(error, DeltaLakeError) else type(error).__name__
    with catalog.write() as connection:
        failed = connection.execute(
            import_runs.update()
            .where(import_runs.c.run_key == run.run_key, import_runs.c.status == "running")
            .values(
                status="failed", finished_at=now_ms(), error_kind=kind, error_message=str(error)
            )
        )
    if failed.rowcount == 1:
        with catalog.read() as connection:
            made = list(
                connection.scalars(sa.select(loads.c.load_id).where(loads.c.run_key == run.run_key))
            )
        for load_id in made:
            remove_load(catalog, load_id)


def clean_up(catalog: Catalog, location: str | None = None) -> list[int]:
    """Remove what runs left that are no longer running, and loads that nothing points to.

    The caller holds the lease of `location`, so that a run of it that says `running` is dead.
    Returns the loads removed.
    """
    if location is not None:
        end_dead_runs(catalog, location)
    return [load_id for load_id in dead_loads(catalog) if remove_unless_read(catalog, load_id)]


def end_dead_runs(catalog: Catalog, location: str) -> None:
    """Mark runs of a location as failed that say `running`; the caller holds its lease."""
    with catalog.write() as connection:
        connection.execute(
            import_runs.update()
            .where(import_runs.c.location == location, import_runs.c.status == "running")
            .values(
                status="failed",
                finished_at=now_ms(),
                error_kind="died",
                error_message="the process that ran it has ended; cleaned up by the next run",
            )
        )


def dead_loads(catalog: Catalog, ended: Collection[int] = ()) -> list[int]:
    """Loads that are neither live nor of a running import.

    `ended`: runs that say `running` and are known to be dead.
    """
    query = (
        sa.select(loads.c.load_id, import_runs.c.run_key)
        .outerjoin(heads, heads.c.live_load == loads.c.load_id)
        .outerjoin(
            import_runs,
            sa.and_(import_runs.c.run_key == loads.c.run_key, import_runs.c.status == "running"),
        )
        .where(heads.c.live_load.is_(None))
        .order_by(loads.c.load_id)
    )
    with catalog.read() as connection:
        found = connection.execute(query).all()
    return [load_id for load_id, running in found if running is None or running in ended]


def unrecorded_loads(catalog: Catalog) -> list[int]:
    """Loads that a program of schema 0001 has begun under an upgrade, and couldn't remove.

    It knew no `dl_loads`; their parts are in the ledger. Each has a table of its own.
    """
    query = (
        sa.select(import_parts.c.run_key)
        .distinct()
        .join(import_runs, import_runs.c.run_key == import_parts.c.run_key)
        .outerjoin(loads, loads.c.run_key == import_parts.c.run_key)
        .where(loads.c.load_id.is_(None), import_runs.c.status == "failed")
        .order_by(import_parts.c.run_key)
    )
    with catalog.read() as connection:
        return list(connection.scalars(query))


def remove_unless_read(catalog: Catalog, load_id: int) -> bool:
    """Remove a load; False when somebody still reads it, then it is left to the next clean-up."""
    try:
        remove_load(catalog, load_id)
    except DeltaLakeError as error:
        if error.kind is not DeltaLakeErrorKind.TIMEOUT_ERROR:
            raise
        return False
    return True


def remove_load(catalog: Catalog, load_id: int) -> None:
    """Remove a load's rows everywhere. Raises TIMEOUT_ERROR while somebody reads its files.

    The load isn't live, so that whoever asks for its files finds that out, and asks anew. The
    ledger goes first, so that a late worker finds none.
    """
    with catalog.write() as connection:
        live = (
            sa.select(tables.c.table_id)
            .join(heads, heads.c.table_key == tables.c.table_key)
            .where(heads.c.live_load == load_id)
        )
        if (table_id := connection.scalar(live)) is not None:
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONCURRENCY_ERROR,
                f"load {load_id} is what table {table_id} shows, so it isn't removed",
                table_id=table_id,
            )
        connection.execute(import_parts.delete().where(import_parts.c.run_key == run_of(load_id)))
    if not in_heap(load_id):
        with catalog.dialect.errors():
            catalog.dialect.drop_load(catalog.engine, load_id)
    with catalog.write() as connection:
        if in_heap(load_id):
            connection.execute(heap.delete().where(heap.c.load_id == load_id))
        for table in LOAD_TABLES:
            connection.execute(table.delete().where(table.c.load_id == load_id))
        connection.execute(loads.delete().where(loads.c.load_id == load_id))
