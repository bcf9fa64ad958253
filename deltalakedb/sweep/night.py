"""One table on one night: its rows, its listing and its small files against what was proven.

Pure but for the reads that something new asks for; whatever looks wrong is compared in full.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from deltalakedb import tracing
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.records import TableRow
from deltalakedb.display.text import count_text
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.executor.executor import Executor, executor_of
from deltalakedb.log.reader import plan_ranges
from deltalakedb.log.segment import CheckpointEntry, Run, Segment
from deltalakedb.parity.catalog_side import catalog_state
from deltalakedb.parity.comparison import Sides, compare
from deltalakedb.parity.lag import measure_lag
from deltalakedb.parity.log_side import Plan
from deltalakedb.parity.run import diff_row, no_progress
from deltalakedb.storage.open import open_store
from deltalakedb.sweep import (
    checkpoints,
    counts,
    last_checkpoint,
    lives,
    logs,
    provenance,
    standing,
    statistics,
)
from deltalakedb.sweep.carry import carried
from deltalakedb.sweep.digest import FileSums, Sum
from deltalakedb.sweep.drift import of_report, rows_changed
from deltalakedb.sweep.findings import KINDS, LAG, Finding
from deltalakedb.sweep.logs import Log
from deltalakedb.sweep.proofs import Proof

SMALL_LOG = 4 << 20
"""Bytes of a log up to which a table that has moved is compared whole."""
_ORDER = {kind: place for place, kind in enumerate(KINDS)}
_UNREADABLE = {
    DeltaLakeErrorKind.NOT_FOUND: "log-gone",
    DeltaLakeErrorKind.EMPTY_LOG: "log-gone",
    DeltaLakeErrorKind.NOT_A_DELTA_TABLE: "log-gone",
    DeltaLakeErrorKind.MISSING_COMMIT: "commit-lost",
    DeltaLakeErrorKind.CORRUPT_COMMIT: "commit-damaged",
    DeltaLakeErrorKind.CORRUPT_CHECKPOINT: "checkpoint-damaged",
}


@dataclass
class TableNight:
    """What a night has found of a table.

    `status`: `verified`, `drift`, `lag`, `stale` (not looked at) or `failed` (the look itself
    failed). `how`: `unchanged` (rows, listing and small files as proven), `carried` (with the
    commits since) or `full`. `not_seen`: what this night did not look at. `seconds`: its share
    of what was listed and read of several tables at once, and the look at it.
    """

    row: TableRow
    status: str = "stale"
    how: str | None = None
    findings: list[Finding] = field(default_factory=list)
    not_seen: tuple[str, ...] = ()
    lag_seconds: float = 0.0
    file_drift: int = 0
    log_version: int | None = None
    seconds: float = 0.0
    proof: Proof | None = None
    error: str | None = None

    @property
    def drifted_before(self) -> bool:
        """Whether drift was found the last time, and nothing has proven since that it is gone."""
        proof = self.proof
        return proof is not None and (proof.drifted or bool(proof.suspects))

    def to_json(self) -> dict[str, Any]:
        """The machine-readable form."""
        proof = self.proof
        return {
            "table_id": self.row.table_id,
            "table": self.row.full_name,
            "status": self.status,
            "how": self.how,
            "findings": [f.to_json() for f in self.findings],
            "command": self.findings[0].command(self.row.full_name) if self.findings else None,
            "not_seen": list(self.not_seen),
            "catalog_version": self.row.head_version,
            "log_version": self.log_version,
            "files": self.row.num_files,
            "bytes": self.row.total_bytes,
            "lag_seconds": round(self.lag_seconds, 3),
            "file_drift": self.file_drift,
            "seconds": round(self.seconds, 3),
            "proven_version": None if proof is None else proof.version,
            "proven_at": None if proof is None else proof.seen_at,
            "proven_in_full_at": None if proof is None else proof.full_at,
            "error": self.error,
            "drifted_before": self.drifted_before,
        }


@dataclass(frozen=True)
class Look:
    """What is known of a table before anything of its own is read.

    `sums`, `seal`, `state`: of the catalog's rows; `moving`: its head moved while they were read;
    `turn`: it is to be compared in full tonight.
    """

    row: TableRow
    log: Log | DeltaLakeError
    proof: Proof | None
    sums: FileSums
    state: Mapping[str, Sum]
    moving: bool
    turn: bool
    seal: Sum | None


@dataclass(frozen=True)
class Night:
    """What all tables of a night have in common."""

    catalog: Catalog
    client: Any
    lag_threshold: float
    night: int

    def _executor(self, log: Log) -> Executor:
        """Whoever reads a log: a cluster's workers have to know its secrets."""
        return executor_of(self.client, log.store.secrets(), again="run the sweep again")

    @tracing.traced("look")
    def look(self, look: Look) -> TableNight:
        """Everything about a table but its data files."""
        began = time.perf_counter()
        found = TableNight(look.row, proof=look.proof)
        try:
            self._look(look, found)
        except DeltaLakeError as error:
            found.status, found.error = "failed", error.message
        found.seconds = time.perf_counter() - began
        return found

    def _look(self, look: Look, found: TableNight) -> None:
        row, log, proof = look.row, look.log, look.proof
        if isinstance(log, DeltaLakeError):
            if log.retryable:
                raise log
            found.findings.append(Finding(_UNREADABLE.get(log.kind, "log-unreadable"), log.message))
            found.status = "drift"
            return
        published = logs.published_version(self.catalog, row)
        if log.listing.head < published:
            # Committed after the listing, or lost.
            log = logs.list_whole(log.store)
        found.log_version = log.listing.head
        same = proof is not None and _place(proof) == (row.live_load, row.epoch, row.head_version)
        if not look.moving:
            found.findings += rows_changed(look.row, look.sums, look.state, look.proof, same)
        if look.turn or proof is None or proof.listing != log.digest:
            found.findings += logs.moved(self.catalog, row, log, published)
            found.findings += last_checkpoint.wrong(self.catalog, row, log, proof)
            found.findings += lives.times_changed(self.catalog, row, log)
        checkpoint = log.checkpoint(row.head_version)
        mark = (
            None
            if checkpoint is None
            else checkpoints.checkpoint_mark(open_store(log.store), checkpoint)
        )
        found.findings += self._small_files(look, log, checkpoint, mark)
        found.findings += counts.stuck(self.catalog, row)
        full = look.turn or look.moving or proof is None or bool(found.findings)
        # The checkpoint that was there has other bytes now: its statistics too are read.
        full = full or _replaced(proof, mark)
        if not full and not same:
            full = not self._carry(look, log, found)
        if full:
            self._compare(look, log, found)
            if not look.moving:
                first: dict[str, Finding] = {}
                for finding in self._rows_in_full(look, log):
                    first.setdefault(finding.kind, finding)
                for finding in first.values():
                    _note(found, finding)
        else:
            found.how = found.how or "unchanged"
        self._lag(look, log, found)
        self._conclude(look, log, found, mark)

    def _small_files(
        self, look: Look, log: Log, checkpoint: CheckpointEntry | None, mark: str | None
    ) -> Iterator[Finding]:
        row, proof = look.row, look.proof
        # What has neither another size nor another time is read anew in its turn.
        turn = look.turn
        if checkpoint is not None and (turn or logs.is_new(proof, mark, "checkpoint")):
            yield from self._checkpoint(row, log, checkpoint)
        name = log.checksum(row.known_since, row.head_version)
        if name is not None and (turn or logs.is_new(proof, log.mark(name), "checksum")):
            yield from logs.checksum_differs(self.catalog, row, log, name, look.sums)

    def _checkpoint(
        self, row: TableRow, log: Log, checkpoint: CheckpointEntry
    ) -> Iterator[Finding]:
        """The newest checkpoint, which other readers begin with, against the catalog."""
        if checkpoint.version < row.known_since:
            return
        at = checkpoint.version
        run = Run(checkpoint, (), at, at)
        try:
            ranges = plan_ranges(open_store(log.store), Segment((run,), ()))
            sides = Sides(self.catalog, row, log.store, self._executor(log), no_progress)
            outcome = compare(sides, Plan(at, checkpoint, tuple(ranges)))
            listed = checkpoints.adds_listed(open_store(log.store), checkpoint)
        except DeltaLakeError as error:
            if error.kind is not DeltaLakeErrorKind.CORRUPT_CHECKPOINT:
                raise
            yield Finding("checkpoint-damaged", error.message)
            return
        if not outcome.agrees:
            what = [count_text(outcome.drift.total, "file")] if outcome.drift.total else []
            what += [f"{d.kind} {d.name}" for d in outcome.differences[:5]]
            yield Finding(
                "checkpoint-wrong", f"the checkpoint of version {at} differs in {', '.join(what)}"
            )
        elif listed is not None and listed > outcome.num_files:
            yield Finding(
                "checkpoint-wrong",
                f"the checkpoint of version {at} lists {count_text(listed, 'file')}, some of which "
                f"twice: there are {outcome.num_files}",
            )

    def _carry(self, look: Look, log: Log, found: TableNight) -> bool:
        """Whether the proof could be carried on to the head; small tables are compared whole."""
        row, proof = look.row, look.proof
        assert proof is not None
        if (row.live_load, row.epoch) != (proof.load, proof.epoch) or log.bytes <= SMALL_LOG:
            return False
        held = ("dl_metadata", "dl_protocols")
        if any(look.state[name] != proof.state[name] for name in held):
            return False
        done = carried(
            self.catalog,
            row,
            proof,
            look.sums,
            look.state,
            log.listing,
            log.store,
            self._executor(log),
        )
        if not done:
            return False
        found.how = "carried"
        return True

    def _compare(self, look: Look, log: Log, found: TableNight) -> None:
        found.how = "full"
        try:
            row = queries.find_table(self.catalog, look.row.table_id)
            sides = Sides(self.catalog, row, log.store, self._executor(log), no_progress)
            report = diff_row(sides, lag_threshold_seconds=self.lag_threshold)
        except DeltaLakeError as error:
            kind = _UNREADABLE.get(error.kind)
            if error.retryable or kind is None:
                raise
            _note(found, Finding(kind, error.message))
            return
        found.log_version = report.log_version
        found.file_drift = report.file_drift
        for finding in of_report(report):
            _note(found, finding)

    def _rows_in_full(self, look: Look, log: Log) -> Iterator[Finding]:
        """What a comparison of files leaves out: the rest of their rows, history, counts."""
        row = look.row
        yield from counts.history_wrong(self.catalog, row)
        yield from standing.findings(self.catalog, row)
        try:
            yield from provenance.findings(self.catalog, row, log, self.night)
            yield from statistics.findings(self.catalog, row, log, self._executor(log))
        except DeltaLakeError as error:
            # What can't be read has been told of.
            if error.retryable or error.kind not in _UNREADABLE:
                raise

    def _lag(self, look: Look, log: Log, found: TableNight) -> None:
        row = look.row
        if log.listing.head == row.head_version:
            return
        ahead = log.listing.head > row.head_version
        if ahead and row.authority != "log":
            return
        state = catalog_state(self.catalog, row, row.head_version)
        metadata = {} if state is None else state.metadata
        try:
            lag = measure_lag(self.catalog, row, metadata, log.listing, open_store(log.store))
        except DeltaLakeError as error:
            kind = _UNREADABLE.get(error.kind)
            if error.retryable or kind is None:
                raise
            _note(found, Finding(kind, error.message))
            return
        found.lag_seconds = lag.seconds
        if lag.seconds > self.lag_threshold:
            behind = abs(log.listing.head - row.head_version)
            found.findings.append(
                Finding(
                    "log-ahead" if ahead else "unpublished",
                    f"{count_text(behind, 'version')} since {lag.seconds:,.0f} s",
                )
            )

    def _conclude(self, look: Look, log: Log, found: TableNight, mark: str | None) -> None:
        kinds = {f.kind for f in found.findings}
        # What is lost now before what was: a person reads the first.
        found.findings.sort(key=lambda finding: _ORDER[finding.kind])
        found.status = "drift" if kinds - LAG else "lag" if kinds else "verified"
        now = time.time_ns() // 1_000_000
        before = look.proof
        if kinds - LAG:
            if before is not None and found.how == "full":
                # It has had its turn; what was proven once stays what the rows are held against.
                found.proof = replace(before, full_at=now, full_night=self.night, drifted=True)
            return
        full_at, full_night = now, self.night
        if found.how != "full" and before is not None:
            full_at, full_night = before.full_at, before.full_night
        if look.moving:
            # Its rows were read while it moved: what they add up to says nothing.
            if before is not None:
                found.proof = replace(before, full_at=full_at, full_night=full_night, seen_at=now)
            return
        name = log.checksum(look.row.known_since, look.row.head_version)
        found.proof = Proof(
            version=look.row.head_version,
            since=look.row.known_since,
            load=look.row.live_load,
            epoch=look.row.epoch,
            files=look.sums.files,
            rows=look.sums.rows,
            state=look.state,
            listing=log.digest,
            checkpoint=mark,
            checksum=log.mark(name),
            full_at=full_at,
            seen_at=now,
            authority=look.row.authority,
            skipping=look.row.skipping,
            full_night=full_night,
            said=standing.said_of(look.row),
            pointed=last_checkpoint.NAME in log.objects,
            contents={} if before is None else before.contents,
            total_bytes=look.sums.total_bytes,
            seal=look.seal,
        )


def _place(proof: Proof) -> tuple[int, int, int]:
    return proof.load, proof.epoch, proof.version


def _mark(log: Log, checkpoint: CheckpointEntry) -> str:
    return checkpoints.checkpoint_mark(open_store(log.store), checkpoint)


def _replaced(proof: Proof | None, mark: str | None) -> bool:
    """Whether the newest checkpoint has the name of the one before, and isn't it."""
    if proof is None or mark is None or proof.checkpoint in (None, mark):
        return False
    return str(proof.checkpoint).split(":")[0] == mark.split(":")[0]


def _note(found: TableNight, finding: Finding) -> None:
    """What a comparison in full says of a kind stands in the place of what was said before."""
    found.findings = [f for f in found.findings if f.kind != finding.kind]
    found.findings.insert(0, finding)
