"""The swap: one short transaction after which a load is what everybody sees."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from deltalakedb import tracing
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.commit_tables import changes, commits, mirror, outbox
from deltalakedb.catalog.leases import Lease, acquire
from deltalakedb.catalog.loads.ledger import Run, finish_run, now_ms, unloaded_parts
from deltalakedb.catalog.records import TableRow, in_heap
from deltalakedb.catalog.table_name import full_name
from deltalakedb.catalog.tables import heads, tables
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.location import location_hash


@dataclass(frozen=True)
class TableFacts:
    """What a load brings to `dl_tables` and `dl_heads`."""

    table_id: str
    namespace: str
    name: str
    location: str
    log_location: str
    mode: str
    head_version: int
    known_since: int
    num_files: int
    total_bytes: int
    skipping: str
    unreadable_features: str

    @property
    def full_name(self) -> str:
        return full_name(self.namespace, self.name)


@dataclass(frozen=True)
class Swapped:
    """What is live now. `ms`: how long the transaction took."""

    ms: float
    facts: TableFacts


class Carry(Protocol):
    """How a load that isn't seen yet is brought up to the head."""

    def __call__(
        self, connection: sa.Connection, facts: TableFacts, head: sa.Row[Any]
    ) -> TableFacts:
        """In the swap's transaction, `head` (of `dl_heads`) locked; the facts at the head.

        Its load and its epoch are those of the beginning; its version may be.
        """
        ...


def lease_name(location: str) -> str:
    """The name of the lease under which a location is imported."""
    return f"location {location_hash(location)}"


def location_lease(catalog: Catalog, location: str) -> Lease:
    """The lease of a location, for whoever changes what the catalog says of it.

    Raises CONCURRENCY_ERROR while another holds it.
    """
    lease = acquire(catalog, lease_name(location))
    if lease is None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONCURRENCY_ERROR,
            f"another import of {location} is running; wait for it, or stop it and run again",
            location=location,
        )
    return lease


def index_load(catalog: Catalog, load_id: int, columns: Sequence[Sequence[str]]) -> None:
    """Index and analyse a loaded, still invisible table; several indexes at a time."""
    dialect = catalog.dialect
    # Beside the pool, which may be of one connection.
    engine = dialect.engine(poolclass=sa.NullPool)

    def build(ddl: str) -> None:
        # A transaction each: SQLite has one writer, and others have their turn in between.
        with dialect.errors(), dialect.begin(engine) as connection:
            connection.exec_driver_sql(ddl)

    try:
        with ThreadPoolExecutor(dialect.index_builds) as builds:
            list(builds.map(build, dialect.index_ddl(load_id, columns)))
    finally:
        engine.dispose()
    with catalog.write() as connection:
        catalog.dialect.analyze_load(connection, load_id)


@tracing.traced("swap")
def swap(
    catalog: Catalog,
    run: Run,
    facts: TableFacts,
    *,
    load_id: int,
    expected: TableRow | None,
    summary: dict[str, Any],
    carry: Carry | None = None,
) -> Swapped:
    """Make a load of the run the live one.

    `expected`: the table as it was when the run began, None for a new one. `carry` brings the
    load up to where the head has moved since. Raises CONCURRENCY_ERROR when there is none, when
    load or epoch are others by now, or when the load ends below the head, unless the log ratifies
    and has been set back. Nothing is changed then. A new table gets authority `log`.
    """
    if not in_heap(load_id):
        with catalog.dialect.errors():
            catalog.dialect.prepare_attach(load_id)
    with catalog.write() as connection:
        started = time.perf_counter()
        missing = unloaded_parts(connection, run)
        if missing:
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONCURRENCY_ERROR,
                f"parts {missing[:5]} of import run {run.run_id} aren't loaded; run it again",
                run_id=run.run_id,
            )
        of_table = sa.select(tables.c.table_key).where(tables.c.table_id == facts.table_id)
        current = connection.execute(
            catalog.dialect.for_update(
                sa.select(heads).where(heads.c.table_key == connection.scalar(of_table))
            )
        ).first()
        if (
            carry is not None
            and current is not None
            and _place(current)[1:] == _place(expected)[1:]
        ):
            facts = carry(connection, facts, current)
            summary = summary | {"to_version": facts.head_version, "live_files": facts.num_files}
        elif _place(current) != _place(expected):
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONCURRENCY_ERROR,
                f"table {facts.full_name} was changed by another import or commit meanwhile; "
                "run this one again",
                table_id=facts.table_id,
            )
        finish_run(connection, run, load_id=load_id, **summary)
        if not in_heap(load_id):
            catalog.dialect.attach_load(connection, load_id)
        head = _head(facts) | {"live_load": load_id}
        try:
            if current is None:
                _insert(connection, facts, head | {"authority": "log"})
            else:
                _update(connection, facts, head, current)
        except sa.exc.IntegrityError:
            raise DeltaLakeError(
                DeltaLakeErrorKind.TABLE_EXISTS,
                f"the name {facts.full_name} was taken by the import of another table meanwhile; "
                "give another with --table-name",
                table=facts.full_name,
            ) from None
    return Swapped((time.perf_counter() - started) * 1000, facts)


def _refuse_unpublished(connection: sa.Connection, table_key: int, facts: TableFacts) -> None:
    """Raises CONCURRENCY_ERROR for commits that the new load lacks, and that go to the log yet."""
    name = facts.full_name
    waiting = sa.select(sa.func.count(), sa.func.min(outbox.c.version)).where(
        outbox.c.table_key == table_key, outbox.c.version > facts.head_version
    )
    count, first = connection.execute(waiting).one()
    if count:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONCURRENCY_ERROR,
            f"{count} commits of table {name} from version {first} on are not in its log yet, "
            "and an import from the log would lose them; publish them first, by "
            f"`dl mirror drain {name}`, then run again",
            table=name,
            version=first,
        )


def _place(row: TableRow | sa.Row[Any] | None) -> tuple[int, ...]:
    return () if row is None else (row.head_version, row.live_load, row.epoch)


def _insert(connection: sa.Connection, facts: TableFacts, head: dict[str, Any]) -> None:
    values = _values(facts) | {"created_at": now_ms(), "changes_since": facts.head_version}
    key = connection.execute(tables.insert().values(**values)).inserted_primary_key
    assert key is not None
    connection.execute(heads.insert().values(table_key=key[0], epoch=1, **head))
    connection.execute(
        mirror.insert().values(
            table_key=key[0],
            published_version=facts.head_version,
            durable_version=facts.head_version,
        )
    )


def _update(
    connection: sa.Connection, facts: TableFacts, head: dict[str, Any], current: sa.Row[Any]
) -> None:
    table_key, values = current.table_key, _values(facts)
    _refuse_unpublished(connection, table_key, facts)
    if facts.head_version < current.head_version:
        if current.authority != "log":
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONCURRENCY_ERROR,
                f"the new load of {facts.full_name} ends at version {facts.head_version}, and the "
                f"SQL catalog has ratified {current.head_version}; run the import again",
                table_id=facts.table_id,
            )
        # The log was set back. Its versions will be others than those that were known before.
        head["epoch"] = current.epoch + 1
        for named in (commits, changes):
            after = named.c.version > facts.head_version
            connection.execute(named.delete().where(named.c.table_key == table_key, after))
    if facts.head_version != current.head_version:
        values["changes_since"] = facts.head_version
    if current.authority == "log":
        connection.execute(
            mirror.update()
            .where(mirror.c.table_key == table_key)
            .values(published_version=facts.head_version, durable_version=facts.head_version)
        )
    connection.execute(tables.update().where(tables.c.table_key == table_key).values(**values))
    connection.execute(heads.update().where(heads.c.table_key == table_key).values(**head))


def _values(facts: TableFacts) -> dict[str, Any]:
    return {
        "table_id": facts.table_id,
        "namespace": facts.namespace,
        "name": facts.name,
        "location": facts.location,
        "location_hash": location_hash(facts.location),
        "log_location": facts.log_location,
        "mode": facts.mode,
        "skipping": facts.skipping,
        "unreadable_features": facts.unreadable_features,
    }


def _head(facts: TableFacts) -> dict[str, Any]:
    return {
        "head_version": facts.head_version,
        "known_since": facts.known_since,
        "num_files": facts.num_files,
        "total_bytes": facts.total_bytes,
        "updated_at": now_ms(),
    }
