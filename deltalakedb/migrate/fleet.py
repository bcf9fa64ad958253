"""Many tables into one catalog: what is unchanged is told from one question and its listing.

One failing table stops none. A run that is killed leaves each table done or not begun, and the next
one goes on; several runs share the tables by claims (`migrate.claims`).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import sqlalchemy as sa

from deltalakedb import logs, tracing
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.grants import check_writer
from deltalakedb.catalog.reading.queries import all_tables
from deltalakedb.catalog.records import TableRow
from deltalakedb.config import SqlConfig, database_url
from deltalakedb.display.text import count_text
from deltalakedb.error import DeltaLakeError
from deltalakedb.executor.executor import Executor, executor_of
from deltalakedb.log.reader import read_listing
from deltalakedb.migrate import batch, claims
from deltalakedb.migrate.advice import what_to_do
from deltalakedb.migrate.batch import BatchSpec, Outcome
from deltalakedb.migrate.claims import new_run
from deltalakedb.migrate.mapping import Entry, check_entries
from deltalakedb.redact import redact
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec

BATCH_TABLES = 50
_LISTINGS_AT_ONCE = 16
_AHEAD = 2
"""Batches under way for each worker, so that none waits for the next."""
_ORDER = (
    *("failed", "elsewhere", "left"),
    *("imported", "caught_up", "ready", "probation", "sql", "unchanged", "skipped"),
)
_IN_CATALOG = ("imported", "caught_up", "unchanged")

log = logging.getLogger(__name__)

Client = Callable[[], AbstractContextManager[tuple[Any, str | None]]]
"""Gives a `distributed.Client` (None: this process) and where to spill, once there is work."""


@dataclass
class FleetReport:
    """What became of every table. `seconds`: of the whole run."""

    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, status: str) -> int:
        """How many tables have ended so."""
        return sum(o.status == status for o in self.outcomes)

    @property
    def counts(self) -> dict[str, int]:
        return {s: n for s in _ORDER if (n := self.count(s))}

    @property
    def failed(self) -> list[Outcome]:
        """What needs a person, by name."""
        return sorted((o for o in self.outcomes if o.status == "failed"), key=lambda o: o.table)

    @property
    def exit_code(self) -> int:
        """0; 1 when a table failed; 75 when all that is missing may go better next time."""
        if any(not o.retryable for o in self.failed):
            return 1
        return 75 if self.failed or self.count("left") else 0

    def to_json(self) -> dict[str, Any]:
        """The machine-readable form of `dl migrate --json-output`."""
        order = sorted(self.outcomes, key=lambda o: (_ORDER.index(o.status), o.table))
        return {
            "exit_code": self.exit_code,
            "counts": self.counts,
            "seconds": round(self.seconds, 3),
            "tables": [o.to_json() for o in order],
        }


@dataclass(frozen=True)
class FleetOptions:
    """How a fleet is imported.

    `retry_failed`: also what failed before, other than for a passing reason; `fail_fast`: begin
    nothing more once a table has failed; `deadline`: begin nothing more after so many seconds;
    `until`: go on with each table by its strategy (`move_table`) until it is there.
    """

    mode: str | None = None
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    retry_failed: bool = False
    fail_fast: bool = False
    deadline: float | None = None
    batch_tables: int = BATCH_TABLES
    until: Literal["imported", "ready", "sql"] = "imported"


def no_progress(done: int, total: int, outcome: Outcome) -> None:
    """The progress of those who don't look."""


@tracing.traced("migrate")
def migrate_fleet(
    entries: Sequence[Entry],
    database: str | SqlConfig,
    options: FleetOptions = FleetOptions(),
    client: Client = lambda: nullcontext((None, None)),
    progress: Callable[[int, int, Outcome], None] = no_progress,
) -> FleetReport:
    """Import tables, or catch up with them; `progress` is called with each outcome as it comes.

    Raises CONFIGURATION_ERROR for names that collide, before anything is done, and whatever
    keeps the whole from going on: the database away, the cluster lost. What is done then stays.
    """
    began = time.monotonic()
    report = FleetReport()
    with Catalog(database, create=True) as catalog:
        check_writer(catalog, own_table=False)
        fleet = _Fleet(catalog, database, entries, options, report, progress, began, new_run())
        with logs.timed(log, "migrate", run_id=fleet.run_id) as told:
            try:
                fleet.run(client)
            finally:
                report.seconds = time.monotonic() - began
            told["event"] = f"migrate ended, {summary_line(report)}"
    return report


@dataclass
class _Fleet:
    catalog: Catalog
    database: str | SqlConfig
    entries: Sequence[Entry]
    options: FleetOptions
    report: FleetReport
    progress: Callable[[int, int, Outcome], None]
    began: float
    run_id: str

    def run(self, client: Client) -> None:
        self._note(f"migrate begins, {len(self.entries)} tables", step="migrate")
        known = {row.location: row for row in all_tables(self.catalog)}
        check_entries(self.entries, known)
        wanted = []
        for entry in self.entries:
            if entry.skip:
                self._tell(Outcome(entry.location, entry.full_name, "skipped", owner=entry.owner))
            else:
                wanted.append(entry)
        self._plan(wanted)
        moving = claims.rows_by_location(self.catalog)
        wanted = [e for e in wanted if not self._failed_before(e, moving[e.location])]
        new = [e for e in wanted if e.location not in known]
        there = [e for e in wanted if e.location in known]
        moved = self._moved(there, known, moving)
        on_from = self._to_bring_on(wanted, moving)
        if not new and not moved and not on_from:
            return
        run = self.run_id
        lease = claims.begin_run(self.catalog, run)
        try:
            with ExitStack() as stack:
                on, folder = stack.enter_context(client())
                self._work(run, new, moved, on, folder)
                self._bring_on(run, on_from, on)
        finally:
            claims.give_back(self.catalog, run)
            lease.release()

    def _to_bring_on(
        self, wanted: Sequence[Entry], moving: Mapping[str, sa.Row[Any]]
    ) -> list[Entry]:
        """Tables that aren't where `until` wants them."""
        until = self.options.until
        if until == "imported":
            return []
        there = ("sql",) if until == "sql" else ("sql", "probation")
        return [e for e in wanted if moving[e.location].state not in there]

    def _bring_on(self, run: str, entries: Sequence[Entry], on: Any) -> None:
        """Each by its strategy; what it says of a table stands in the place of what was said."""
        until = self.options.until
        if until == "imported":
            return
        told = {o.location: o for o in self.report.outcomes}
        going = [e for e in entries if told[e.location].status in _IN_CATALOG]
        executor, spec_of = self._executor(run, on)
        specs = [replace(spec_of([entry]), until=until) for entry in going]

        def handles() -> Iterator[Any]:
            for spec in specs:
                if not self._ended:
                    self._begins(spec.entries, "move")
                    yield executor.submit(batch.move_batch, spec)

        for _, outcomes in executor.completed(handles(), lambda: _AHEAD * executor.slots):
            for outcome in outcomes:
                self.report.outcomes.remove(told[outcome.location])
                self._tell(outcome)

    def _tell(self, outcome: Outcome) -> None:
        self.report.outcomes.append(outcome)
        self._note(
            f"{outcome.status}: {outcome.error}" if outcome.error else outcome.status,
            level=logging.ERROR if outcome.status == "failed" else logging.INFO,
            table=outcome.table,
            table_id=outcome.table_id,
            version=outcome.version,
            step=outcome.status,
            duration_s=round(outcome.seconds, 6),
            error_kind=outcome.error_kind,
        )
        self.progress(len(self.report.outcomes), len(self.entries), outcome)

    def _note(self, event: str, level: int = logging.INFO, **fields: Any) -> None:
        logs.note(log, level, event, run_id=self.run_id, **fields)

    def _begins(self, entries: Sequence[Entry], step: str) -> None:
        """Handed to whoever works; a batch is worked on as one."""
        for entry in entries:
            self._note(f"{step} begins", table=entry.full_name, step=step)

    @property
    def _ended(self) -> bool:
        if self.options.fail_fast and self.report.failed:
            return True
        limit = self.options.deadline
        return limit is not None and time.monotonic() - self.began >= limit

    def _plan(self, wanted: Sequence[Entry]) -> None:
        claims.plan(self.catalog, [(e, f"{e.location.rstrip('/')}/_delta_log") for e in wanted])

    def _failed_before(self, entry: Entry, row: sa.Row[Any]) -> bool:
        """Whether a table stays failed: told again, as nobody asked for another try."""
        if row.state != "failed" or self.options.retry_failed or passing(row.error_kind):
            return False
        self._tell(
            Outcome(
                entry.location,
                entry.full_name,
                "failed",
                error=row.reason,
                error_kind=row.error_kind,
                what_to_do=what_to_do(row.error_kind),
                owner=entry.owner,
            )
        )
        return True

    def _moved(
        self,
        there: Sequence[Entry],
        known: Mapping[str, TableRow],
        moving: Mapping[str, sa.Row[Any]],
    ) -> list[Entry]:
        """Tables of the catalog whose log lists something else than when it was last read."""
        moved = []
        with ThreadPoolExecutor(_LISTINGS_AT_ONCE) as pool:
            listed = pool.map(lambda e: self._listing(known[e.location]), there)
            for entry, digest in zip(there, listed, strict=True):
                row = known[entry.location]
                details = json.loads(moving[entry.location].details or "{}")
                # Where SQL ratifies, the log follows the catalog.
                same = digest is not None and details.get("listing") == digest
                if row.authority == "log" and not same:
                    moved.append(entry)
                    continue
                self._tell(
                    Outcome(
                        entry.location,
                        entry.full_name,
                        "unchanged",
                        version=row.head_version,
                        files=row.num_files,
                        owner=entry.owner,
                        table_id=row.table_id,
                    )
                )
        return moved

    def _listing(self, row: TableRow) -> str | None:
        """The digest of a log's listing; None where it can't be listed, which the import tells."""
        try:
            spec = StoreSpec(row.log_location, dict(self.options.storage_options))
            return batch.listing_digest(read_listing(open_store(spec)))
        except DeltaLakeError:
            return None

    def _work(
        self, run: str, new: Sequence[Entry], moved: Sequence[Entry], on: Any, folder: str | None
    ) -> None:
        executor, spec_of = self._executor(run, on)
        large: list[Entry] = []

        def handles() -> Iterator[Any]:
            size = self._batch_size(len(new) + len(moved), executor.slots)
            for task, entries, step in (
                (batch.import_batch, new, "import"),
                (batch.catch_up_batch, moved, "catch up"),
            ):
                for start in range(0, len(entries), size):
                    some = tuple(entries[start : start + size])
                    if self._ended:
                        self._leave(some)
                        continue
                    self._begins(some, step)
                    yield executor.submit(task, spec_of(some))

        by_location = {entry.location: entry for entry in (*new, *moved)}
        for _, outcomes in executor.completed(handles(), lambda: _AHEAD * executor.slots):
            for outcome in outcomes:
                if outcome.status == "large":
                    large.append(by_location[outcome.location])
                else:
                    self._tell(outcome)
        for entry in large:
            if self._ended:
                self._leave((entry,))
                continue
            self._tell(batch.import_alone(self.catalog, entry, spec_of([entry]), on, folder))

    def _executor(
        self, run: str, on: Any
    ) -> tuple[Executor, Callable[[Sequence[Entry]], BatchSpec]]:
        secret = database_url(self.database).secret
        options = StoreSpec("/", dict(self.options.storage_options))
        executor = executor_of(on, (secret, *options.secrets()), again="run `dl migrate` again")

        def spec_of(entries: Sequence[Entry]) -> BatchSpec:
            return BatchSpec(secret, run, tuple(entries), self.options.mode, options.options)

        return executor, spec_of

    def _batch_size(self, tables: int, slots: int) -> int:
        """Tables of a task: few enough that every worker has some."""
        return max(1, min(self.options.batch_tables, -(-tables // (2 * slots))))

    def _leave(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._tell(Outcome(entry.location, entry.full_name, "left", owner=entry.owner))


def passing(kind: str | None) -> bool:
    """Whether an error of that kind may be gone by itself: then every run tries again."""
    from deltalakedb.error import DeltaLakeErrorKind

    try:
        return DeltaLakeError(DeltaLakeErrorKind(kind), "").retryable
    except ValueError:
        return False


def summary_line(report: FleetReport) -> str:
    """One line for people."""
    told = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in report.counts.items())
    return redact(f"{count_text(len(report.outcomes), 'table')}: {told or 'nothing to do'}")
