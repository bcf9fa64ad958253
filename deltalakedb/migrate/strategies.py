"""Moving a table from its log into the catalog, step by step; each may be repeated.

`offline`: writers are paused, so that nothing may come between the import and the fence. `online`:
they go on until the fence. `hybrid`: both sides write, the log ratifies, until somebody cuts over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.records import TableRow
from deltalakedb.catalog.retry import passes
from deltalakedb.config import SqlConfig, database_url
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing.context import Progress, no_progress
from deltalakedb.importing.result import ImportResult
from deltalakedb.importing.run import import_table
from deltalakedb.migrate import cutting
from deltalakedb.migrate.options import MoveOptions, MoveResult
from deltalakedb.migrate.records import (
    Migration,
    MigrationLease,
    database_now,
    migration_at,
)
from deltalakedb.migrate.safety import check_log_writers
from deltalakedb.migrate.steps import On, note_failure, note_point
from deltalakedb.mirror import publish
from deltalakedb.mirror.adopt import adopt
from deltalakedb.parity.report import DiffReport
from deltalakedb.parity.run import diff_table
from deltalakedb.storage.store import ObjectStore
from deltalakedb.table.operations.handover import check_own_log

_PROOF_SECONDS = 300.0
"""How long a proof stands before `ready` is proven again while it is kept caught up."""
_CATCHING_UP = 20
"""Rounds of catching up before a proof is tried again."""
_ASKED = "`dl cutover`"
_LONGEST_PAUSE = 30.0
_LOOK_SECONDS = 0.25


class Move:
    """A move under its lease."""

    def __init__(
        self,
        database: str | SqlConfig,
        lease: MigrationLease,
        options: MoveOptions,
        on: On,
        progress: Progress = no_progress,
    ) -> None:
        self.database = database
        self.lease = lease
        self.options = options
        self.progress = progress
        self.log_dir: str | None = None
        self.table_name: str | None = None
        self.seconds: dict[str, float] = {}
        self.imported: ImportResult | None = None
        self.proof: DiffReport | None = None
        self.freeze_ms: float | None = None
        self.waits_for = _ASKED
        """What `ready` waits for, as people are told."""
        self._on = on
        self._proven_at = 0.0
        self._verified = False
        found = migration_at(lease.catalog, lease.location)
        assert found is not None
        self.now: Migration = found

    def told(self, point: str, facts: Mapping[str, object] | None = None) -> None:
        """A named point is reached."""
        of_table = {
            "table": self.now.table,
            "location": self.now.location,
            "state": self.now.state,
            "strategy": self.options.strategy,
        }
        found = {**of_table, **(facts or {})}
        note_point(point, found, self.now.table_id)
        self._on(point, found)

    def run(self, stop: Callable[[], bool] | None = None) -> MoveResult:
        """Take the steps from where the table is up to what the options say."""
        began = time.perf_counter()
        self.record(strategy=self.options.strategy)
        try:
            if self.now.state == "failed":
                self.to(self.now.step or "planned")
            self._as_it_is()
            while not self._is_done():
                step = self.now.state
                started = time.perf_counter()
                self._step()
                spent = time.perf_counter() - started
                self.seconds[step] = self.seconds.get(step, 0.0) + spent
                if self.now.state == step and step in ("ready", "probation"):
                    if step == "ready" or not self.options.wait:
                        break
                    time.sleep(self.options.pace.seconds)
            if self.now.state == "ready" and stop is not None:
                self.keep_up(stop)
        except DeltaLakeError as error:
            self.lease.fail(error)
            note_failure(error, self.now.table, self.now.table_id, self.now.state)
            failed = {"error": error.message, "kind": error.kind.value}
            self._on("failure", {"table": self.now.table, "location": self.now.location, **failed})
            raise
        took = {k: round(v, 3) for k, v in self.seconds.items()}
        known = self.now.details.get("seconds", {})
        self.record(details={"seconds": {**known, **took}})
        self.seconds["all"] = time.perf_counter() - began
        return MoveResult(
            self.now,
            self._is_done() or self.now.state == "probation",
            self.imported,
            self.proof,
            self.seconds,
            self.freeze_ms,
        )

    def _as_it_is(self) -> None:
        """Where others have handed the table over, it stands elsewhere than its row says."""
        if self.now.table_id is None:
            return
        row = queries.lookup_table(self.lease.catalog, self.now.table_id)
        if row is None:
            self.to("planned", table_id=None)
        elif self.now.state == "sql" and row.authority == "log":
            self.to("following", cutover_id=None, fence_version=None)

    def _is_done(self) -> bool:
        if self.now.state == "sql":
            return self._verified
        return self.options.until == "ready" and self.now.state in ("ready", "probation")

    def _step(self) -> None:
        match self.now.state:
            case "planned":
                self._plan()
            case "importing":
                self._import()
            case "following" | "rolling_back":
                self._follow()
            case "ready":
                check_own_log(self.row())
                check_log_writers(self.now, self.options)
                cutting.begin(self)
            case "cutting":
                cutting.cut(self)
            case "probation":
                cutting.settle_or_wait(self)
            case "sql":
                self._verify()
            case _:
                raise AssertionError(self.now.state)

    def to(self, state: Any, details: Mapping[str, Any] | None = None, **values: Any) -> None:
        self.now = self.lease.move(state, details, **values)

    def record(self, details: Mapping[str, Any] | None = None, **values: Any) -> None:
        self.now = self.lease.move(None, details, **values)

    # planned, importing

    def _plan(self) -> None:
        check_log_writers(self.now, self.options)
        self.told("planned")
        said = self.options.estimated_seconds
        self.to("importing", {"estimated_seconds": said}, log_writers=self.options.log_writers)

    def _import(self) -> None:
        self.told("importing")
        self.imported = import_table(
            log_dir=self.log_dir or self.now.log_location,
            database=self.database,
            table_location=self.now.location,
            mode=self.options.mode,
            table_name=None if self.now.table_id else self.table_name,
            storage_options=self.options.storage_options,
            client=self.options.client,
            connections=self.options.connections,
            sizes=self.options.sizes,
            progress=self.progress,
        )
        self.told("imported", {"version": self.imported.to_version})
        self.to("following", table_id=self.imported.table_id, table_name=self.imported.table_name)

    # following, ready

    def _follow(self) -> None:
        self.told("following")
        self._wait_turn()
        row, _ = self.adopted()
        self.told("caught-up", {"version": row.head_version})
        if row.authority == "sql":
            self.to("sql")
            return
        if self.options.validate:
            self._prove()
        self.told("proved", {"version": self.now.parity_version or row.head_version})
        self.to("ready", reason=self.waits_for if self.options.until == "ready" else None)
        self.told("ready", {"version": row.head_version})

    def keep_up(self, stop: Callable[[], bool]) -> None:
        """Adopt what comes into the log until told to stop; prove it again from time to time.

        A database or a store that is away for a while is waited for: nothing is at stake here.
        """
        pause = self.options.pace.seconds
        try:
            self.record(reason=self.waits_for)
            while not stop():
                try:
                    if not self._kept_up(stop):
                        return
                    pause = self.options.pace.seconds
                except DeltaLakeError as error:
                    if not (passes(error) or error.kind is DeltaLakeErrorKind.STORAGE_ERROR):
                        raise
                    note_failure(error, self.now.table, self.now.table_id, self.now.state)
                    self._rest(pause, stop)
                    pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            # Whoever waited for it is gone, or takes the next step.
            with suppress(DeltaLakeError):
                self.record(reason=_ASKED)

    def _kept_up(self, stop: Callable[[], bool]) -> bool:
        """One look at the log; False when others have handed the table over."""
        self._wait_turn(stop)
        row = self.row()
        log = self.log_of(row)
        if row.authority != "log":
            return False
        if log.exists(publish.commit_name(row.head_version + 1)):
            adopt(database_url(self.database), row, log)
        elif self.options.validate and time.monotonic() > self._proven_at + _PROOF_SECONDS:
            self._prove()
        else:
            self._rest(self.options.pace.seconds, stop)
        return True

    def _rest(self, seconds: float, stop: Callable[[], bool]) -> None:
        until = time.monotonic() + seconds
        while not stop() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_SECONDS))

    def _prove(self) -> None:
        """Compare catalog and log in full, at the newest version of both."""
        for _ in range(_CATCHING_UP):
            self.proof = self._diff()
            if self.proof.exit_code in (0, 3) or self.proof.compared_version is not None:
                break
            self.adopted()
        assert self.proof is not None
        if self.proof.exit_code == 2:
            raise DeltaLakeError(
                DeltaLakeErrorKind.LOG_DISAGREES,
                f"catalog and log of {self.now.table} differ, so it isn't handed over; `dl diff "
                f"--table-id {self.now.table_id}` shows where",
                table=self.now.table,
            )
        self._proven_at = time.monotonic()
        self.record(parity_version=self.proof.compared_version)

    # cutting, probation, sql

    def _verify(self) -> None:
        if self.options.validate:
            self._prove()
            self.told("verified", {"version": self.now.parity_version or 0})
        self.told("success")
        self._verified = True

    # what all need

    def row(self) -> TableRow:
        return queries.find_table(self.lease.catalog, str(self.now.table_id))

    def log_of(self, row: TableRow) -> ObjectStore:
        return publish.log_of(row, self.options.storage_options)

    def adopted(self) -> tuple[TableRow, ObjectStore]:
        row = self.row()
        log = self.log_of(row)
        if row.authority == "log":
            adopt(database_url(self.database), row, log)
            row = self.row()
        return row, log

    def _diff(self) -> DiffReport:
        return diff_table(
            str(self.now.table_id),
            database=self.database,
            storage_options=self.options.storage_options,
            client=self.options.client,
        )

    def _wait_turn(self, stop: Callable[[], bool] | None = None) -> None:
        """Stand still as the pace asks for, and say why."""
        said: str | None = None
        while stop is None or not stop():
            why = self.options.pace.waits_for(
                lambda: database_now(self.lease.catalog), self._is_paused
            )
            if why is None:
                break
            if why != said:
                self.record(reason=why)
                said = why
            time.sleep(self.options.pace.seconds)
        if said is not None:
            self.record(reason=self.waits_for if self.now.state == "ready" else None)

    def _is_paused(self) -> bool:
        found = migration_at(self.lease.catalog, self.lease.location)
        return found is not None and found.paused
