"""`diff_table`: prove that the catalog and the log say the same of a table."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deltalakedb import logs, tracing
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.loads.ledger import now_ms
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.reading.versions import check_version
from deltalakedb.catalog.tables import parity_runs
from deltalakedb.config import SqlConfig
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.executor.executor import executor_of
from deltalakedb.log.damaged import without_damaged
from deltalakedb.log.place import log_store
from deltalakedb.log.reader import read_listing
from deltalakedb.log.segment import LogListing
from deltalakedb.memory import enough_memory
from deltalakedb.mirror import fingerprints as commits
from deltalakedb.parity.catalog_side import catalog_state, import_checkpoint
from deltalakedb.parity.comparison import Outcome, Progress, Sides, compare, file_lists
from deltalakedb.parity.lag import measure_lag
from deltalakedb.parity.log_side import plan_history, plan_latest
from deltalakedb.parity.report import DiffReport, FileLists
from deltalakedb.redact import redact
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import ObjectStore

_log = logging.getLogger(__name__)
_NOTHING_TO_COMPARE = (DeltaLakeErrorKind.MISSING_COMMIT, DeltaLakeErrorKind.VERSION_NOT_FOUND)
"""Why a version isn't on one side; if commits were lost, that is the news."""


def no_progress(stage: str, done: int, total: int, actions: int) -> None:
    """The progress of those who don't look."""


@tracing.traced("diff")
def diff_table(
    table: str,
    *,
    database: str | SqlConfig,
    log_dir: str | None = None,
    lag_threshold_seconds: float = 0.0,
    max_drift_files: int = 0,
    storage_options: Mapping[str, object] | None = None,
    client: Any = None,
    progress: Progress = no_progress,
) -> DiffReport:
    """Compare a table's catalog with its log at the highest version that both have.

    `table`: uuid, name or `namespace.name`; `database`: SQLite path, URL or SqlConfig; `log_dir`:
    the table or its `_delta_log` (by default where it was imported from); `lag_threshold_seconds`:
    how long the heads may have been apart; `max_drift_files`: how many files may differ;
    `client`: a `distributed.Client` whose workers read the log (None: this process does).

    Differences are no error: they are in the report, whose `exit_code` is 0 (parity), 2 (drift)
    or 3 (only lag). Raises DeltaLakeError when a side can't be read: TABLE_NOT_FOUND, NOT_FOUND,
    CORRUPT_COMMIT, CORRUPT_CHECKPOINT, MISSING_COMMIT, INVALID_LOG, … The outcome is recorded in
    `dl_parity_runs`, unless the catalog can't be written.
    """
    # Not `< 0`: no number is less than nan, and no lag greater.
    if not lag_threshold_seconds >= 0 or max_drift_files < 0:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            "the lag threshold and the number of files that may differ have to be numbers of at "
            "least 0",
        )
    with Catalog(database) as catalog:
        row = queries.find_table(catalog, table)
        if log_dir is None:
            store = StoreSpec(row.log_location, dict(storage_options or {}))  # type: ignore[arg-type]
        else:
            store = log_store(log_dir, storage_options)
        executor = executor_of(client, store.secrets(), again="repeat the diff")
        report = diff_row(
            Sides(catalog, row, store, executor, progress),
            lag_threshold_seconds=lag_threshold_seconds,
            max_drift_files=max_drift_files,
        )
        _record(catalog, report)
        _tell(report)
    return report


def diff_row(
    sides: Sides, *, lag_threshold_seconds: float = 0.0, max_drift_files: int = 0
) -> DiffReport:
    """`diff_table` of a table that was found; whoever asks records the outcome."""
    started = time.perf_counter()
    row = sides.table
    diff = _Diff(sides)
    with enough_memory(
        f"{row.full_name} was compared with its log",
        "give the process more, or compare on a cluster's workers",
    ):
        diff.run()
    return DiffReport(
        table_id=row.table_id,
        name=row.full_name,
        log_location=redact(sides.store.url),
        compared_version=diff.compared_version,
        catalog_version=row.head_version,
        log_version=diff.listing.head,
        num_files=diff.outcome.num_files if diff.outcome else 0,
        lag_seconds=diff.lag_seconds,
        lag_threshold_seconds=lag_threshold_seconds,
        max_drift_files=max_drift_files,
        files=diff.files,
        differences=diff.outcome.differences if diff.outcome else (),
        rewritten_commits=diff.rewritten,
        missing_commits=diff.missing,
        notes=tuple(diff.notes),
        seconds=time.perf_counter() - started,
    )


def _tell(report: DiffReport) -> None:
    """What the log says of a diff."""
    verdicts = {0: "parity", 2: "drift", 3: "only lag"}
    logs.note(
        _log,
        logging.INFO if report.exit_code == 0 else logging.WARNING,
        f"diff: {verdicts[report.exit_code]}",
        table=report.name,
        table_id=report.table_id,
        version=report.compared_version,
        step="diff",
        duration_s=round(report.seconds, 6),
    )


@dataclass
class _Diff:
    """A diff on its way; afterwards its fields are the findings."""

    sides: Sides
    outcome: Outcome | None = None
    files: FileLists = field(default_factory=FileLists)
    rewritten: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    lag_seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store: ObjectStore = open_store(self.sides.store)
        self.listing: LogListing = read_listing(self.store)
        self.known = commits.known_commits(self.sides.catalog, self.sides.table)
        self._unreadable: set[str] = set()

    @property
    def compared_version(self) -> int | None:
        return None if self.outcome is None else self.outcome.plan.version

    def run(self) -> None:
        table = self.sides.table
        # A catalog whose table is written through the log has seen all its versions there, but for
        # one that gave the table back to the log and died, or found no room, before it was put.
        published = table.authority == "log" and not self._waits()
        self.missing = commits.missing(
            self.known, self.listing, table.head_version, published=published
        )
        self.outcome = self._compare()
        if self.outcome is not None and not self.outcome.agrees:
            self._try_history(self.outcome)
            self.files = file_lists(self.sides, self.outcome)
        self.rewritten = self._rewritten()
        if not (published and self.listing.head < table.head_version):
            self._measure_lag()

    def _waits(self) -> bool:
        """Whether the catalog has versions yet that its log lacks, to be put there."""
        table, beyond = self.sides.table, self.listing.head
        found = self.sides.catalog.reader.rows(
            "SELECT COUNT(*), MIN(version) FROM dl_outbox WHERE table_key = ? AND version > ?",
            (table.table_key, beyond),
        )
        return tuple(map(int, found[0] if found[0][0] else (0, 0))) == (
            table.head_version - beyond,
            beyond + 1,
        )

    def _compare(self) -> Outcome | None:
        """Compare from the newest checkpoint that can be read; None if what is lost prevents it."""
        wanted = min(self.sides.table.head_version, self.listing.head)

        def attempt(unreadable: set[str]) -> Outcome | None:
            try:
                plan, gap = plan_latest(self.store, self.listing, wanted, unreadable)
                if gap is not None and gap.version not in self.missing:
                    raise gap
                check_version(self.sides.catalog, self.sides.table, plan.version)
                return compare(self.sides, plan)
            except DeltaLakeError as error:
                if error.kind not in _NOTHING_TO_COMPARE or not self.missing:
                    raise
                self.notes.append(f"nothing could be compared: {error.message}")
                return None

        return without_damaged(
            attempt,
            self._unreadable,
            lambda e: self.notes.append(f"{e.message}; what is older was read instead"),
        )

    def _try_history(self, found: Outcome) -> None:
        """A checkpoint that contradicts the commits since before the import is no drift.

        A full history was replayed from the commits; so it is compared with them. A checkpoint
        that was written or changed after the import gets no such benefit.
        """
        base, table = found.plan.base, self.sides.table
        if base is None or table.mode != "full-history":
            return
        if base.fingerprint != import_checkpoint(self.sides.catalog, table):
            return
        try:
            plan = plan_history(self.store, self.listing, found.plan.version, self._unreadable)
            if plan.base == base:
                return
            again = compare(self.sides, plan)
        except DeltaLakeError as error:
            # The commits alone don't make the version, so they can't excuse the drift.
            self.notes.append(f"the commits before the checkpoint can't be replayed: {error}")
            return
        if again.agrees:
            self.outcome = again
            self.notes.append(
                f"the checkpoint of version {base.version} contradicts the commits, and did so "
                "when the history was imported; the catalog agrees with the commits. Other "
                "readers may see the checkpoint's state"
            )

    def _rewritten(self) -> tuple[int, ...]:
        """Commits that aren't what was imported: by content if read, else by size and time."""
        read = {} if self.outcome is None else self.outcome.digests
        found = {v for v, d in read.items() if v in self.known and self.known[v].digest != d}
        rest = tuple(c for c in self.listing.commits if c.version in self.known)
        rest = commits.unread(rest, read)
        found.update(commits.rewritten(self.known, rest, self.store, thorough=commits.few(rest)))
        return tuple(sorted(found))

    def _measure_lag(self) -> None:
        table, listing = self.sides.table, self.listing
        state = catalog_state(self.sides.catalog, table, table.head_version)
        metadata = {} if state is None else state.metadata
        lag = measure_lag(self.sides.catalog, table, metadata, listing, self.store)
        self.lag_seconds = lag.seconds
        apart = abs(listing.head - table.head_version)
        if apart:
            ahead, behind = (
                ("log", "catalog")
                if listing.head > table.head_version
                else (
                    "catalog",
                    "log",
                )
            )
            self.notes.append(
                f"the {behind} lacks {apart} version{'s' if apart > 1 else ''} that the {ahead} "
                f"has, the first (version {lag.version}) since {lag.seconds:,.1f} s"
            )


def _record(catalog: Catalog, report: DiffReport) -> None:
    """A row in `dl_parity_runs`; a catalog that may only be read goes without."""
    try:
        with catalog.write() as connection:
            connection.execute(
                parity_runs.insert().values(
                    table_id=report.table_id,
                    compared_version=report.compared_version,
                    catalog_version=report.catalog_version,
                    log_version=report.log_version,
                    parity=report.parity,
                    exit_code=report.exit_code,
                    lag_seconds=report.lag_seconds,
                    file_drift=report.file_drift,
                    finished_at=now_ms(),
                )
            )
    except DeltaLakeError:
        # The diff itself has succeeded, and it changes nothing: its answer counts.
        return
