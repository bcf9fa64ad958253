"""What a cleanup may remove from `_delta_log`, and which versions may get a checkpoint. Pure.

PROTOCOL.md, "Metadata Cleanup" and "Checkpoint Protection". The oldest version that can be built
afterwards is that of a checkpoint which stands already: nothing is made for a cleanup, and nothing
at or after that checkpoint goes. That is also what tables with `checkpointProtection` ask for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from deltalakedb.log.paths import (
    CheckpointFile,
    ChecksumFile,
    CommitFile,
    CompactedFile,
    SidecarFile,
    StagedCommitFile,
    parse_log_name,
)
from deltalakedb.log.protocol import Protocol
from deltalakedb.log.table_properties import DAY_MS

PROTECTED_BEFORE = "delta.requireCheckpointProtectionBeforeVersion"
_SIDECAR_GRACE_MS = DAY_MS


class LogObject(NamedTuple):
    """A file of `_delta_log`: its name there, and when it was modified (ms since 1970)."""

    name: str
    modified_ms: int


@dataclass(frozen=True)
class Cleanup:
    """What goes. `version` is the oldest one that stays buildable; None when nothing goes."""

    version: int | None
    names: tuple[str, ...]
    """In the order to delete them: commits, oldest first, before the checkpoints that cover them.
    Broken off anywhere, what is left is a log whose newest versions can be built."""


def cutoff(now: int, retention: int) -> int:
    """The moment before which log entries are expired, cut down to midnight UTC (ms since 1970)."""
    return (now - retention) // DAY_MS * DAY_MS


def log_cleanup(
    listing: Iterable[LogObject],
    *,
    before: int,
    now: int,
    referenced_sidecars: Collection[str] | None,
    keep_from: int | None = None,
    commit_times: Mapping[int, int] | None = None,
) -> Cleanup:
    """What of a log's listing may be removed.

    `before`: see `cutoff`. Kept are the newest complete checkpoint whose version was committed
    before it, that version's commit, and everything after. `keep_from`: the oldest version that
    somebody still needs to build; no later checkpoint is taken instead. `commit_times` (ms by
    version) stand above modification times, as in-commit timestamps do; without them a version is
    as old as the youngest file of it or of a version before.

    `referenced_sidecars`: names (in `_sidecars`) that a checkpoint which stays refers to; with None
    no sidecar goes. Others go when they are a day old, for one may be written just now.
    """
    files = [(parse_log_name(o.name), o) for o in listing]
    times = _commit_times(
        {f.version: o.modified_ms for f, o in files if isinstance(f, CommitFile)},
        commit_times or {},
    )
    checkpoints: dict[int, list[CheckpointFile]] = {}
    for found, _ in files:
        if isinstance(found, CheckpointFile):
            checkpoints.setdefault(found.version, []).append(found)
    newest = max(times, default=-1) if keep_from is None else keep_from
    expired = [
        version
        for version, parts in checkpoints.items()
        if version in times and times[version] < before and version <= newest and _complete(parts)
    ]
    if not expired:
        return Cleanup(None, ())
    oldest = max(expired)
    going = [(f, o.name) for f, o in files if _before(f, oldest)]
    going.sort(key=lambda pair: (_rank(pair[0]), _version(pair[0]), pair[1]))
    names = [name for _, name in going]
    if referenced_sidecars is not None:
        kept = set(referenced_sidecars)
        names += sorted(
            o.name
            for f, o in files
            if isinstance(f, SidecarFile)
            and o.name.removeprefix("_sidecars/") not in kept
            and o.modified_ms < now - _SIDECAR_GRACE_MS
        )
    return Cleanup(oldest, tuple(names)) if names else Cleanup(None, ())


def _commit_times(files: Mapping[int, int], known: Mapping[int, int]) -> dict[int, int]:
    """Milliseconds by version, never falling: clocks of writers differ."""
    found: dict[int, int] = {}
    latest = 0
    for version in sorted(files):
        latest = max(latest, known.get(version, files[version]))
        found[version] = latest
    return found


def _complete(parts: list[CheckpointFile]) -> bool:
    """Whether one of the checkpoints of a version has all its parts."""
    if any(each.parts is None for each in parts):
        return True
    counts: dict[int, set[int]] = {}
    for each in parts:
        assert each.parts is not None
        assert each.part is not None
        counts.setdefault(each.parts, set()).add(each.part)
    return any(len(found) == number for number, found in counts.items())


def _before(found: object, oldest: int) -> bool:
    if isinstance(found, (CommitFile, CheckpointFile, ChecksumFile, CompactedFile)):
        return found.version < oldest
    return isinstance(found, StagedCommitFile) and found.version < oldest


_ORDER: tuple[type, ...] = (
    StagedCommitFile,
    CommitFile,
    CompactedFile,
    ChecksumFile,
    CheckpointFile,
)


def _rank(found: object) -> int:
    return _ORDER.index(type(found))


def _version(found: object) -> int:
    version: int = getattr(found, "version", 0)
    return version


def first_checkpoint_version(protocol: Protocol, configuration: Mapping[str, str | None]) -> int:
    """The oldest version that may get a new checkpoint.

    A table with `checkpointProtection` has older protocols in its past, which only those who know
    them may turn into a checkpoint.
    """
    if not protocol.supports_writer_feature("checkpointProtection"):
        return 0
    text = configuration.get(PROTECTED_BEFORE) or ""
    return int(text) if text.strip().isdigit() else 0
