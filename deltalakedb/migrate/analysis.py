"""What moving a table would take, and what it would refuse, before anything is written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from deltalakedb.config import SqlConfig
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing.request import import_request
from deltalakedb.log.metadata import Metadata
from deltalakedb.log.protocol import Protocol, check_known, check_writable, unreadable_features
from deltalakedb.log.reader import plan_ranges, read_listing, read_range
from deltalakedb.log.segment import LogListing, Segment, full_segment, latest_segment
from deltalakedb.migrate.rates import Rates, known_rates, measured_rates
from deltalakedb.migrate.who_writes import WhoWrites, recent_writers
from deltalakedb.redact import redact
from deltalakedb.replay.state import RangeState
from deltalakedb.storage.open import open_store
from deltalakedb.storage.store import ObjectStore
from deltalakedb.table.operations.base import check_enforceable
from deltalakedb.table.operations.fence import is_fenced, mark_of


@dataclass(frozen=True)
class Refusal:
    """What won't be possible (`import`, `read` or `write` through SQL), and why."""

    what: str
    why: str


@dataclass(frozen=True)
class SourceAnalysis:
    """A table before it is moved.

    `total_versions`: commits that the log has; `version`: its newest. `total_files`,
    `total_bytes`: of the newest snapshot. `log_bytes`: what an import reads. `features`: of its
    protocol. `refusals`: what won't be possible. `writers`: who has to be switched.
    `fenced_by`: the catalog that ratifies the table already. `estimated_seconds`: import, proofs
    and handover, by `rates`; `estimated_range`: what it will be between.
    """

    location: str
    log_location: str
    version: int
    total_versions: int
    total_files: int
    total_bytes: int
    log_bytes: int
    actions: int
    partition_columns: tuple[str, ...]
    min_reader_version: int
    min_writer_version: int
    features: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    writers: tuple[WhoWrites, ...]
    fenced_by: str | None
    estimated_seconds: float
    rates: Rates
    seconds: float = field(compare=False, default=0.0)

    @property
    def total_size_mb(self) -> float:
        """Of the newest snapshot's data files, in MiB."""
        return self.total_bytes / (1 << 20)

    @property
    def estimated_range(self) -> tuple[float, float]:
        """Seconds between which it will be, as far as the rates are even."""
        spread = self.rates.spread
        return self.estimated_seconds / spread, self.estimated_seconds * spread

    @property
    def estimated_time_minutes(self) -> float:
        """`estimated_seconds` in minutes, to a hundredth, and not less than one."""
        return max(round(self.estimated_seconds / 60, 2), 0.01)

    def to_json(self) -> dict[str, Any]:
        """The machine-readable form."""
        return {**asdict(self), "estimated_range": list(self.estimated_range)}

    def __str__(self) -> str:
        least, most = self.estimated_range
        lines = [
            f"{self.location}",
            f"  versions:  {self.total_versions:,} (newest {self.version})",
            f"  files:     {self.total_files:,}, {self.total_bytes:,} bytes",
            f"  log:       {self.log_bytes:,} bytes to read",
            f"  protocol:  {self.min_reader_version}/{self.min_writer_version} "
            + (", ".join(self.features) or "no features"),
            f"  estimate:  {self.estimated_seconds:.1f} s (from {least:.1f} to {most:.1f} s)",
        ]
        lines += [f"  refused:   {each.what}: {each.why}" for each in self.refusals]
        if self.fenced_by:
            lines.append(f"  fenced by: catalog {self.fenced_by}")
        for who in self.writers:
            names = [n for n in (who.user, who.job, who.notebook) if n]
            last = "" if who.last_write is None else f", last {_time(who.last_write)}"
            lines.append(
                f"  writer:    {who.engine} {' '.join(names)}".rstrip()
                + f" ({who.commits} commits, newest {who.last_version}{last})"
            )
        return "\n".join(lines)


def analyze_source(
    log_dir: str,
    *,
    database: str | SqlConfig | None = None,
    table_location: str | None = None,
    mode: str | None = None,
    storage_options: Mapping[str, object] | None = None,
) -> SourceAnalysis:
    """Look at a table and its log; nothing is written, neither there nor in a catalog.

    `database`: a catalog whose past imports tell how fast it is (None, or one without any: measured
    here, on a small table in a temporary SQLite file). Raises DeltaLakeError where the log can't be
    read: NOT_FOUND, EMPTY_LOG, CORRUPT_COMMIT, MISSING_COMMIT, UNSUPPORTED_FEATURE, ….
    """
    began = time.perf_counter()
    request = import_request(
        log_dir,
        table_location=table_location,
        mode=mode,
        table_id=None,
        table_name=None,
        rebuild=False,
        storage_options=storage_options,
        spill_root=None,
    )
    store = open_store(request.store)
    listing = read_listing(store)
    segment = latest_segment(listing)
    asked = time.perf_counter()
    state, log_bytes = _replayed(store, segment)
    read_seconds = time.perf_counter() - asked
    protocol, metadata = _small(state, request.location)
    live = state.live_at(segment.head)
    actions = state.files.num_rows + state.closings.num_rows
    if mode == "full-history":
        # What the head doesn't need isn't read here: it is taken to be of the same kind.
        whole = sum(part.size for part in plan_ranges(store, full_segment(listing)))
        actions = actions * whole // max(log_bytes, 1)
        read_seconds *= whole / max(log_bytes, 1)
        log_bytes = whole
    rates = (None if database is None else known_rates(database)) or measured_rates()
    seconds = rates.seconds(actions, live.num_rows, _versions(listing))
    if store.spec.is_s3:
        # The rates are those of a disk: it is read by the import, and by a proof on either side.
        seconds += _READS * read_seconds
    return SourceAnalysis(
        location=redact(request.location),
        log_location=redact(request.store.url),
        version=listing.head,
        total_versions=_versions(listing),
        total_files=live.num_rows,
        total_bytes=int(sum(v or 0 for v in live.column("size").to_pylist())),
        log_bytes=log_bytes,
        actions=actions,
        partition_columns=tuple(metadata.partition_columns),
        min_reader_version=protocol.min_reader_version,
        min_writer_version=protocol.min_writer_version,
        features=tuple(
            sorted({*(protocol.writer_features or ()), *(protocol.reader_features or ())})
        ),
        refusals=tuple(_refusals(request.location, protocol, metadata)),
        writers=tuple(recent_writers(store)),
        fenced_by=mark_of(metadata).catalog_id if is_fenced(protocol) else None,
        estimated_seconds=seconds,
        rates=rates,
        seconds=time.perf_counter() - began,
    )


def _replayed(store: ObjectStore, segment: Segment) -> tuple[RangeState, int]:
    ranges = plan_ranges(store, segment)
    parts = [RangeState.replay(read_range(store, part), part.first, part.last) for part in ranges]
    state = parts[0]
    for part in parts[1:]:
        state = state.merge(part)
    return state, sum(part.size for part in ranges)


def _small(state: RangeState, location: str) -> tuple[Protocol, Metadata]:
    found = {each.action: each.body for each in state.state if each.action in _NEEDED}
    missing = sorted(_NEEDED - found.keys())
    if missing:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_LOG,
            f"the log of {location} has no {' and no '.join(missing)}; restore it from a backup",
        )
    return Protocol.from_action(found["protocol"]), Metadata.from_action(found["metaData"])


_NEEDED = {"protocol", "metaData"}
_READS = 3


def _versions(listing: LogListing) -> int:
    return len(listing.commits)


def _refusals(location: str, protocol: Protocol, metadata: Metadata) -> list[Refusal]:
    found: list[Refusal] = []

    def tried(what: str, check: Any, *arguments: Any) -> None:
        try:
            check(*arguments)
        except DeltaLakeError as error:
            found.append(Refusal(what, error.message))

    tried("import", check_known, protocol)
    unreadable = unreadable_features(protocol)
    if unreadable:
        names = ", ".join(unreadable)
        found.append(Refusal("read", f"rows can't be read here: table feature {names}"))
    tried("write", check_writable, protocol)
    tried("write", check_enforceable, location, metadata.schema.struct, metadata.configuration)
    return found


def _time(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(milliseconds / 1000))
