"""The log's side of a diff: which of it is read for a version, and what it says then."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from deltalakedb.catalog.records import TableState
from deltalakedb.catalog.rows import domain_row, metadata_row, protocol_row, txn_row
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind, MissingCommitError
from deltalakedb.executor.executor import Executor
from deltalakedb.log.commit import StateChange
from deltalakedb.log.ranges import RangeSpec
from deltalakedb.log.reader import plan_ranges
from deltalakedb.log.segment import (
    CheckpointEntry,
    LogListing,
    Segment,
    full_segment,
    latest_segment,
)
from deltalakedb.parity.log_part import LogPart, read_part
from deltalakedb.replay.intervals import StateInterval, at_version, state_intervals
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import ObjectStore

_METADATA = ("name", "description", "format_provider", "created_time", "schema_string")


@dataclass(frozen=True)
class Plan:
    """What is read to build `version`: `base` and the commits after it, as ranges."""

    version: int
    base: CheckpointEntry | None
    ranges: tuple[RangeSpec, ...]

    @property
    def size(self) -> int:
        """Bytes to read, before they are compressed."""
        return sum(r.size for r in self.ranges)


def cut(listing: LogListing, version: int) -> LogListing:
    """The listing as it would be if `version` were the newest."""
    return LogListing(
        tuple(c for c in listing.commits if c.version <= version),
        tuple(c for c in listing.checkpoints if c.version <= version),
    )


def plan_latest(
    store: ObjectStore, listing: LogListing, version: int, excluded: set[str]
) -> tuple[Plan, MissingCommitError | None]:
    """How to build `version`, or the newest version before it that the log still has.

    The second is the error that says what is missing if it isn't `version`. `excluded`:
    fingerprints of checkpoints that were found unreadable. Raises MISSING_COMMIT (fact
    `version`: the first missing one) when there is no version to build, CORRUPT_CHECKPOINT.
    """
    missing: MissingCommitError | None = None
    wanted = version
    while True:
        part = cut(listing, version)
        if not part.commits and not part.checkpoints:
            raise missing or _cleaned_up(wanted)
        try:
            segment = latest_segment(part, excluded)
        except MissingCommitError as error:
            missing = missing or error
            first = error.version
            if first == 0 and listing.head > wanted:
                raise _cleaned_up(wanted) from None
            version = first - 1
            continue
        return _plan(store, segment), missing


def _cleaned_up(version: int) -> MissingCommitError:
    """The log goes on after `version`, and no longer has what that was made of."""
    return MissingCommitError(
        f"version {version}, the catalog's newest, can't be built from the log any more: its "
        "commits are cleaned up; bring the catalog up to date with `dl import` (with --rebuild "
        "if that finds commits missing), then compare again",
        version=0,
    )


def plan_history(store: ObjectStore, listing: LogListing, version: int, excluded: set[str]) -> Plan:
    """How a full-history import built `version`: from the oldest base that leads to it."""
    return _plan(store, full_segment(cut(listing, version), excluded))


def _plan(store: ObjectStore, segment: Segment) -> Plan:
    run = segment.runs[-1]
    ranges = plan_ranges(store, replace(segment, runs=(run,), history_only=()))
    return Plan(run.last, run.base, tuple(ranges))


def read_parts(
    store: StoreSpec, ranges: Sequence[RangeSpec], executor: Executor
) -> Iterator[LogPart]:
    """The ranges, read, in any order; a cluster's workers begin with all of them at once."""
    handles = [executor.submit(read_part, store, part) for part in ranges]
    try:
        for position, part in executor.completed(handles):
            yield part
            executor.release([handles[position]])
    except BaseException:
        # The comparison ends here, or begins again without what couldn't be read.
        executor.cancel()
        raise


@dataclass
class StateReader:
    """Collects what the ranges of a plan say besides files; they may come in any order."""

    changes: dict[int, tuple[StateChange, ...]] = field(default_factory=dict)
    digests: dict[int, str] = field(default_factory=dict)

    def add(self, part: LogPart) -> None:
        self.changes[part.index] = part.state
        self.digests.update(part.digests)

    def state(self, version: int) -> TableState:
        """What holds at `version`. Raises INVALID_LOG without metaData or protocol."""
        changes = [change for index in sorted(self.changes) for change in self.changes[index]]
        held = at_version(state_intervals(changes), version)
        metadata = metadata_row(_only(held, "metaData", version))
        protocol = protocol_row(_only(held, "protocol", version))
        return TableState(
            version=version,
            metadata={
                "id": metadata["metadata_id"],
                **{n: metadata[n] for n in _METADATA},
                **{n: json.loads(metadata[n]) for n in ("partition_columns", "configuration")},
            },
            protocol={
                **{n: protocol[n] for n in ("min_reader_version", "min_writer_version")},
                **{n: _features(protocol[n]) for n in ("reader_features", "writer_features")},
            },
            txns={
                i.key: {n: txn_row(i)[n] for n in ("version", "last_updated")}
                for i in held
                if i.action == "txn"
            },
            domains={
                i.key: domain_row(i)["configuration"] for i in held if i.action == "domainMetadata"
            },
        )


def _features(text: str | None) -> list[str] | None:
    return None if text is None else list(json.loads(text))


def _only(held: Sequence[StateInterval], action: str, version: int) -> StateInterval:
    for interval in held:
        if interval.action == action:
            return interval
    raise DeltaLakeError(
        DeltaLakeErrorKind.INVALID_LOG,
        f"the log has no {action} action at version {version}: it isn't complete; restore the "
        "missing commits or checkpoint from a backup",
        version=version,
    )
