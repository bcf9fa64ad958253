"""Where each table is on its way between its log and the catalog: one row a location.

    planned → importing → following → ready → cutting → probation → sql
                              ↑                                      │
                              └──────────── rolling_back ────────────┘

`failed` keeps the step that failed and what to do; the same command again takes it up there.
Every step may be repeated, by whoever holds the table's lease: what it did before is found done.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.commit_tables import migrations
from deltalakedb.catalog.leases import Lease, acquire
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.location import location_hash

State = Literal[
    "planned",
    "importing",
    "following",
    "ready",
    "cutting",
    "probation",
    "sql",
    "rolling_back",
    "failed",
]
Strategy = Literal["offline", "online", "hybrid"]
STRATEGIES: tuple[Strategy, ...] = ("offline", "online", "hybrid")
LogWriters = Literal["conditional-put", "dynamodb", "paused"]
LOG_WRITERS: tuple[LogWriters, ...] = ("conditional-put", "dynamodb", "paused")
"""How file-based writers take a slot of the log: by a put that fails where a file is, through a
table in DynamoDB, or not at all since they are paused."""

_COLUMNS = [c for c in migrations.c if c.name != "location_hash"]


@dataclass(frozen=True)
class Migration:
    """A table on its way. Times are milliseconds since 1970 by the database's clock.

    `state` is where it stands, `step` the state that failed (None unless `failed`), `reason` what
    it waits for or why it failed. `parity_version` is the newest version at which catalog and log
    were proven equal, `fence_version` that of the commit which keeps file-based writers out,
    `attempts` how many cutovers were tried. `details` are facts of the steps: `estimated_seconds`,
    `seconds` by step, `paused`, `foreign` (commits of writers that passed the fence), `stranded`,
    `cutovers` (tries to put a fence up, by how they ended: `fenced`, `lost`, `failed`).
    """

    key: int
    location: str
    log_location: str
    table_id: str | None
    table: str
    state: State
    strategy: Strategy | None
    log_writers: LogWriters | None
    cutover_id: str | None
    parity_version: int | None
    fence_version: int | None
    probation_until: int | None
    attempts: int
    error_kind: str | None
    reason: str | None
    created_at: int
    updated_at: int
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def step(self) -> State | None:
        """The state that failed, and that running it again takes up."""
        found: State | None = self.details.get("step") if self.state == "failed" else None
        return found

    @property
    def paused(self) -> bool:
        """Whether it was asked to stand still."""
        return bool(self.details.get("paused"))

    def to_json(self) -> dict[str, Any]:
        """The machine-readable form of `dl migrate status --format json`."""
        names = (
            "table",
            "table_id",
            "location",
            "state",
            "step",
            "strategy",
            "log_writers",
            "parity_version",
            "fence_version",
            "probation_until",
            "attempts",
            "error_kind",
            "reason",
            "paused",
            "created_at",
            "updated_at",
        )
        return {**{name: getattr(self, name) for name in names}, "details": self.details}


def _of(row: sa.Row[Any]) -> Migration:
    found = row._mapping
    return Migration(
        key=found["migration_key"],
        location=found["location"],
        log_location=found["log_location"],
        table_id=found["table_id"],
        table=found["table_name"],
        state=found["state"],
        strategy=found["strategy"],
        log_writers=found["log_writers"],
        cutover_id=found["cutover_id"],
        parity_version=found["parity_version"],
        fence_version=found["fence_version"],
        probation_until=found["probation_until"],
        attempts=found["attempts"],
        error_kind=found["error_kind"],
        reason=found["reason"],
        created_at=found["created_at"],
        updated_at=found["updated_at"],
        details=json.loads(found["details"] or "{}"),
    )


def all_migrations(catalog: Catalog) -> list[Migration]:
    """Every table's, by name."""
    with catalog.read() as connection:
        query = sa.select(*_COLUMNS).order_by(migrations.c.table_name)
        return [_of(row) for row in connection.execute(query)]


def migration_at(catalog: Catalog, location: str) -> Migration | None:
    """That of the table at a normalised location, None for none."""
    with catalog.read() as connection:
        return _at(connection, location)


def _at(connection: sa.Connection, location: str) -> Migration | None:
    where = migrations.c.location_hash == location_hash(location)
    row = connection.execute(sa.select(*_COLUMNS).where(where)).first()
    return None if row is None else _of(row)


def _now(catalog: Catalog) -> sa.ColumnElement[int]:
    return sa.literal_column(catalog.dialect.clock_ms)


def database_now(catalog: Catalog) -> int:
    """The database's clock, milliseconds since 1970."""
    with catalog.read() as connection:
        return int(connection.scalar(sa.select(_now(catalog))) or 0)


class MigrationLease:
    """The right to take the steps of one table: one process at a time has it."""

    def __init__(self, catalog: Catalog, location: str, lease: Lease) -> None:
        self.catalog = catalog
        self.location = location
        self._lease = lease

    def __enter__(self) -> MigrationLease:
        return self

    def __exit__(self, *_: object) -> None:
        self._lease.release()

    def begin(self, table: str, log_location: str, table_id: str | None = None) -> Migration:
        """The table's row, made in state `planned` where there is none."""
        with self.catalog.write() as connection:
            self._lease.check(connection)
            found = _at(connection, self.location)
            if found is not None:
                return found
            connection.execute(
                migrations.insert().values(
                    location_hash=location_hash(self.location),
                    location=self.location,
                    log_location=log_location,
                    table_id=table_id,
                    table_name=table,
                    state="planned",
                    attempts=0,
                    created_at=_now(self.catalog),
                    updated_at=_now(self.catalog),
                )
            )
            made = _at(connection, self.location)
            assert made is not None
            return made

    def move(
        self,
        state: State | None = None,
        details: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> Migration:
        """Change the row, while the lease is held. `details` are merged; None takes one away.

        Raises CONCURRENCY_ERROR when another process has taken the lease.
        """
        with self.catalog.write() as connection:
            self._lease.check(connection)
            found = _at(connection, self.location)
            if found is None:
                raise DeltaLakeError(
                    DeltaLakeErrorKind.NOT_FOUND,
                    f"the migration of {self.location} was taken away meanwhile; run it again",
                )
            merged = {**found.details, **(details or {})}
            if state is not None:
                values["state"] = state
                if state != "failed":
                    values = {"error_kind": None, "reason": None, **values}
                    merged.pop("step", None)
            connection.execute(
                migrations.update()
                .where(migrations.c.migration_key == found.key)
                .values(
                    details=json.dumps({k: v for k, v in merged.items() if v is not None}),
                    updated_at=_now(self.catalog),
                    **values,
                )
            )
            moved = _at(connection, self.location)
            assert moved is not None
            return moved

    def fail(self, error: DeltaLakeError) -> Migration | None:
        """Record why a step failed; None where even that can't be written."""
        try:
            found = migration_at(self.catalog, self.location)
            step = None if found is None else found.step or found.state
            return self.move(
                "failed",
                {"step": step},
                error_kind=error.kind.value,
                reason=error.message,
            )
        except DeltaLakeError:
            return None


def lease_of(catalog: Catalog, location: str) -> MigrationLease:
    """The lease of a table's steps. CONCURRENCY_ERROR while another process has it."""
    lease = acquire(catalog, f"migrate/{location_hash(location)}")
    if lease is None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONCURRENCY_ERROR,
            f"another process is moving {location}; `dl migrate status` shows how far it is",
            location=location,
        )
    return MigrationLease(catalog, location, lease)


def ask(catalog: Catalog, location: str, **details: Any) -> Migration:
    """Set details from outside, such as `paused`, whoever holds the lease. NOT_FOUND for none."""
    with catalog.write() as connection:
        found = _at(connection, location)
        if found is None:
            raise DeltaLakeError(
                DeltaLakeErrorKind.NOT_FOUND,
                f"no migration of {location} is known here; begin one with `dl migrate`",
            )
        query = sa.select(migrations.c.migration_key).where(migrations.c.migration_key == found.key)
        connection.execute(catalog.dialect.for_update(query))
        found = _at(connection, location)
        assert found is not None
        merged = {k: v for k, v in {**found.details, **details}.items() if v is not None}
        connection.execute(
            migrations.update()
            .where(migrations.c.migration_key == found.key)
            .values(details=json.dumps(merged))
        )
        return _at(connection, location) or found


def named(catalog: Catalog, reference: str) -> Migration:
    """The move of a table by its name, uuid or location. NOT_FOUND for none."""
    for found in all_migrations(catalog):
        if reference in (found.table, found.table_id, found.location):
            return found
    raise DeltaLakeError(
        DeltaLakeErrorKind.NOT_FOUND,
        f"no move of {reference} is known here; `dl migrate status` lists them",
        table=reference,
    )
