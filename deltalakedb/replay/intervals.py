"""Small state over versions: which metadata, protocol, transaction or domain held when.

And commit times. Pure. PROTOCOL.md, "Action Reconciliation", "In-Commit Timestamps".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deltalakedb.log.commit import StateChange
from deltalakedb.log.rows import LIVE


@dataclass(frozen=True)
class StateInterval:
    """`body` (the action) of `key` holds in [added_version, removed_version)."""

    action: str
    key: str
    body: dict[str, Any]
    added_version: int
    removed_version: int


def state_intervals(
    changes: Iterable[StateChange], caps: Sequence[int] = ()
) -> list[StateInterval]:
    """Intervals of all small actions; the latest action of a key wins, whatever its content.

    A domain with `removed: true` ends its domain and starts nothing. `caps`: last versions of
    runs that are followed by a gap; what is open there ends after them.
    """
    done: list[StateInterval] = []
    current: dict[tuple[str, str], StateInterval] = {}
    pending_caps = sorted(caps)
    for change in sorted(changes, key=lambda c: c.version):
        while pending_caps and change.version > pending_caps[0]:
            end = pending_caps.pop(0) + 1
            done.extend(replace(i, removed_version=end) for i in current.values())
            current.clear()
        key = (change.action, change.key)
        before = current.pop(key, None)
        if before is not None and before.added_version < change.version:
            done.append(replace(before, removed_version=change.version))
        if change.action == "domainMetadata" and change.body.get("removed"):
            continue
        current[key] = StateInterval(*key, change.body, change.version, LIVE)
    end = pending_caps[0] + 1 if pending_caps else LIVE
    done.extend(replace(i, removed_version=end) for i in current.values())
    return done


def at_version(intervals: Iterable[StateInterval], version: int) -> list[StateInterval]:
    """The intervals that hold at `version`."""
    return [i for i in intervals if i.added_version <= version < i.removed_version]


def commit_times(
    commits: Iterable[tuple[int, int | None, int | None]],
    metadata: Sequence[StateInterval],
    before: int | None = None,
) -> list[int]:
    """The time of each commit in ms, for (version, file time, in-commit time) in order.

    The in-commit timestamp counts from the version on at which the table enables it; before,
    the file's time made strictly monotone. `before` is the time of the commit that precedes.
    """
    times: list[int] = []
    last = before
    spans = [
        (i.added_version, i.removed_version)
        for i in metadata
        if i.action == "metaData" and _in_commit_timestamps(i.body)
    ]
    for version, file_time, in_commit in commits:
        enabled = any(a <= version < r for a, r in spans)
        if enabled and in_commit is not None:
            last = in_commit
        else:
            time = file_time or 0
            last = time if last is None or time > last else last + 1
        times.append(last)
    return times


def _in_commit_timestamps(metadata: dict[str, Any]) -> bool:
    configuration = metadata.get("configuration") or {}
    value = configuration.get("delta.enableInCommitTimestamps")
    return isinstance(value, str) and value.lower() == "true"
