"""Whether a commit still holds after what others committed since it read. Pure.

Delta's rules (its ConflictChecker, in its order), but where a catalog knows more it refuses less:
what a winner added is held against a predicate by partition and statistics, not by partition
alone; files that only moved rows are no phantoms; a vector that both changed can be united; a
metadata change that can't matter doesn't.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deltalakedb.commit.staged import Isolation
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.identity import HIGH_WATER_MARK
from deltalakedb.log.protocol import FENCE_FEATURE
from deltalakedb.predicate.tree import Expr

Places = npt.NDArray[np.int64]
"""Rows of a file by their places in it, ascending."""

UPGRADES_WITHOUT_CONFLICT = frozenset(
    {
        "appendOnly",
        "catalogManaged",
        "changeDataFeed",
        "columnMapping",
        "deletionVectors",
        "domainMetadata",
        "inCommitTimestamp",
        "rowTracking",
        "timestampNtz",
        "typeWidening",
        "v2Checkpoint",
        "vacuumProtocolCheck",
    }
)
"""Features that a winner may have added: files written before are right with them (Spark's
`failConcurrentTransactionsAtUpgrade = false`)."""

_HARMLESS_PROPERTIES = frozenset(
    {
        "delta.checkpointInterval",
        "delta.checkpointPolicy",
        "delta.checkpointRetentionDuration",
        "delta.checkpoint.writeStatsAsJson",
        "delta.checkpoint.writeStatsAsStruct",
        "delta.deletedFileRetentionDuration",
        "delta.enableExpiredLogCleanup",
        "delta.logRetentionDuration",
        "delta.setTransactionRetentionDuration",
    }
)
_HARMLESS_NOTES = frozenset({"comment", HIGH_WATER_MARK})
"""Of a column. Identity columns' numbers are reserved apart, whoever commits first."""
_MERGED_DOMAINS = frozenset({"delta.rowTracking"})


@dataclass(frozen=True)
class ChangedFile:
    """A file that a winner added or removed.

    `vector_only`: the same commit removed and added the path, so that only its vector changed.
    """

    path: str
    partition_values: str
    stats: str | None = None
    dv_id: str | None = None
    data_change: bool | None = True
    vector_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Winner:
    """What a commit after the version that we read has done."""

    version: int
    blind_append: bool = False
    adds: tuple[ChangedFile, ...] = ()
    removes: tuple[ChangedFile, ...] = ()
    protocol: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] | None = None
    domains: frozenset[str] = frozenset()
    operation: str | None = None


def tracks_rows(winner: Winner) -> bool:
    """Whether files that come after it have to say which ids their rows have."""
    return "rowTracking" in ((winner.protocol or {}).get("writerFeatures") or ())


@dataclass(frozen=True, kw_only=True)
class Ours:
    """What our commit has read and does, as far as others may be in its way.

    `removes`: raw path to whether it only changes the path's vector. `base_…`: bodies of the
    actions that held at the version that was read.
    """

    table: str
    read_version: int
    blind_append: bool
    changes_data: bool
    predicates: tuple[Expr, ...] = ()
    paths: frozenset[str] = frozenset()
    whole_table: bool = False
    removes: Mapping[str, bool]
    domains: frozenset[str] = frozenset()
    has_protocol: bool = False
    has_metadata: bool = False
    base_protocol: Mapping[str, Any]
    base_metadata: Mapping[str, Any]


MayMatch = Callable[[Expr, ChangedFile], bool]
"""Whether a file may hold a row that a predicate selects."""


def check(
    ours: Ours, winners: Iterable[Winner], isolation: Isolation, may_match: MayMatch
) -> frozenset[str]:
    """Paths whose vectors have to be united; CONCURRENCY_ERROR, by rule, where nothing helps.

    The error's facts name `rule`, `version` and, where one is to blame, `path`.
    """
    level: Isolation = isolation if ours.changes_data else "SnapshotIsolation"
    clashes: set[str] = set()
    is_scattered = ours.whole_table
    protocol, metadata = ours.base_protocol, ours.base_metadata
    for winner in winners:
        if winner.protocol is not None:
            _check_protocol(ours, winner, protocol)
            protocol = winner.protocol
        if winner.metadata is not None:
            _check_metadata(ours, winner, metadata)
            metadata = winner.metadata
        shared = (ours.domains & winner.domains) - _MERGED_DOMAINS
        if shared:
            raise _conflict(
                ours, winner, "domain_metadata", f"both set the domain {sorted(shared)[0]}"
            )
        _check_adds(ours, winner, level, may_match)
        clashes |= _check_removes(ours, winner, level, everywhere=is_scattered)
        # Rows that were read there lie in others' files now, and nobody knows in which.
        is_scattered |= any(f.data_change is False and f.path in ours.paths for f in winner.removes)
    return frozenset(clashes)


def _check_protocol(ours: Ours, winner: Winner, before: Mapping[str, Any]) -> None:
    if ours.has_protocol or ours.has_metadata:
        raise _conflict(
            ours, winner, "protocol_changed", "the table's protocol was changed by both"
        )
    assert winner.protocol is not None
    for side in ("readerFeatures", "writerFeatures"):
        had, has = set(before.get(side) or ()), set(winner.protocol.get(side) or ())
        # The fence keeps others out; to a commit of ours it makes no difference.
        dropped = had - has - {FENCE_FEATURE}
        added = has - had - UPGRADES_WITHOUT_CONFLICT - {FENCE_FEATURE}
        # A table that is raised from a version to features lists what the version implied.
        legacy = {"appendOnly", "invariants", "checkConstraints", "generatedColumns"}
        legacy |= {"changeDataFeed", "columnMapping", "identityColumns"}
        if before.get(side) is None:
            added -= legacy
        # And back, when the fence is taken down.
        if FENCE_FEATURE in had:
            dropped -= {"domainMetadata"} | (legacy if winner.protocol.get(side) is None else set())
        if dropped or added:
            names = ", ".join(sorted(dropped or added))
            verb = "dropped" if dropped else "enabled"
            raise _conflict(ours, winner, "protocol_changed", f"the feature {names} was {verb}")


def _check_metadata(ours: Ours, winner: Winner, before: Mapping[str, Any]) -> None:
    assert winner.metadata is not None
    if ours.has_metadata or ours.has_protocol:
        raise _conflict(
            ours, winner, "metadata_changed", "schema or properties were changed by both"
        )
    what = harmful_change(before, winner.metadata)
    if what is not None:
        raise _conflict(ours, winner, "metadata_changed", what)


def harmful_change(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """Why files that were written for one `metaData` may be wrong for another; None if they
    can't be.

    Harmless is what is listed here: name, description, comments, retention, checkpoints, keys
    of the user's own, a nullable column at the end of the schema.
    """
    if before.get("id") != after.get("id"):
        return "it is another table by now"
    if (before.get("partitionColumns") or []) != (after.get("partitionColumns") or []):
        return "the partition columns were changed"
    old, new = before.get("configuration") or {}, after.get("configuration") or {}
    for key in sorted(set(old) | set(new)):
        if old.get(key) != new.get(key) and (
            key.startswith("delta.") and key not in _HARMLESS_PROPERTIES
        ):
            return f"the property {key} was changed"
    return _harmful_schema(before.get("schemaString"), after.get("schemaString"))


def _harmful_schema(before: str | None, after: str | None) -> str | None:
    if before == after:
        return None
    try:
        old, new = (json.loads(text or "")["fields"] for text in (before, after))
        kept = {field["name"]: field for field in new}
        for field in old:
            now = kept.pop(field["name"], None)
            if now is None:
                return f"the column {field['name']} was dropped or renamed"
            if _without_comment(field) != _without_comment(now):
                return f"the column {field['name']} was changed"
        for field in kept.values():
            if not field.get("nullable", True) or any(
                key.startswith("delta.") and not key.startswith("delta.columnMapping.")
                for key in field.get("metadata") or {}
            ):
                return f"the column {field['name']} was added, and needs values"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "the schema was changed"
    return None


def _without_comment(field: Mapping[str, Any]) -> dict[str, Any]:
    rest = {k: v for k, v in (field.get("metadata") or {}).items() if k not in _HARMLESS_NOTES}
    return {**field, "metadata": rest}


def _check_adds(ours: Ours, winner: Winner, level: Isolation, may_match: MayMatch) -> None:
    """A file that a winner added and that holds rows which we looked for is a phantom."""
    if level == "SnapshotIsolation" or not (ours.whole_table or ours.predicates):
        return
    if level == "WriteSerializable" and winner.blind_append and not ours.has_metadata:
        return
    for file in winner.adds:
        # Neither moved rows nor fewer of them are new.
        if file.data_change is False or file.vector_only:
            continue
        if ours.whole_table or any(may_match(p, file) for p in ours.predicates):
            raise _conflict(
                ours,
                winner,
                "concurrent_append",
                f"{file.path} was added and may hold rows that this one looked for",
                path=file.path,
            )


def _check_removes(ours: Ours, winner: Winner, level: Isolation, *, everywhere: bool) -> set[str]:
    """`everywhere`: rows of any file may have been read."""
    clashes = set()
    for file in winner.removes:
        if file.path in ours.removes:
            if file.vector_only and ours.removes[file.path]:
                clashes.add(file.path)
                continue
            raise _conflict(
                ours,
                winner,
                "concurrent_delete_delete",
                f"{file.path} was removed by both",
                path=file.path,
            )
        # Files that are only rearranged take no rows away.
        if file.data_change is False or level == "SnapshotIsolation":
            continue
        if everywhere or file.path in ours.paths:
            raise _conflict(
                ours,
                winner,
                "concurrent_delete_read",
                f"{file.path} was removed, and this one has read it",
                path=file.path,
            )
    return clashes


def unite(base: Places, winner: Places, ours: Places) -> Places:
    """The rows that are deleted after both commits: `W ∪ (C \\ B)`.

    W may hold less than B: a RESTORE brings rows back. Raises ValueError with the number of
    rows that both have deleted.
    """
    own = ours[~within(ours, base)]
    both = int(np.count_nonzero(within(own, winner)))
    if both:
        raise ValueError(both)
    return np.insert(winner, np.searchsorted(winner, own), own)


def within(places: Places, others: Places) -> npt.NDArray[np.bool_]:
    """Which places are among others too; both are ascending."""
    if not len(others):
        return np.zeros(len(places), dtype=np.bool_)
    at = np.minimum(np.searchsorted(others, places), len(others) - 1)
    return np.asarray(others[at] == places)


def rows_conflict(table: str, path: str, version: int, rows: int) -> DeltaLakeError:
    """Both sides have deleted the same rows of a file."""
    return DeltaLakeError(
        DeltaLakeErrorKind.CONCURRENCY_ERROR,
        f"commit {version} of {table} has changed {rows} of the rows of {path} that this commit "
        "changes; run it again",
        rule="concurrent_rows",
        version=version,
        path=path,
        rows=rows,
    )


def _conflict(ours: Ours, winner: Winner, rule: str, what: str, **facts: Any) -> DeltaLakeError:
    operation = f" ({winner.operation})" if winner.operation else ""
    return DeltaLakeError(
        DeltaLakeErrorKind.CONCURRENCY_ERROR,
        f"commit {winner.version}{operation} of {ours.table} is in the way of one that read "
        f"version {ours.read_version}: {what}; run it again",
        rule=rule,
        version=winner.version,
        read_version=ours.read_version,
        **facts,
    )
