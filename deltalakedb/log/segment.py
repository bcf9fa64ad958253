"""What lies in a `_delta_log`, and which of it has to be read to build which versions.

Pure: works on names and sizes. PROTOCOL.md, "Delta Log Entries", "Checkpoints", "Metadata Cleanup".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind, MissingCommitError
from deltalakedb.log.paths import CheckpointFile, CommitFile, parse_log_name


@dataclass(frozen=True, order=True)
class CommitEntry:
    """A published commit file: `modified_ms` is the store's time, `size` bytes."""

    version: int
    name: str
    size: int
    modified_ms: int


@dataclass(frozen=True)
class CheckpointEntry:
    """A complete checkpoint: all its parts (one, or all of a multi-part one), in order."""

    version: int
    names: tuple[str, ...]
    size: int
    modified_ms: int

    @property
    def fingerprint(self) -> str:
        return f"{self.names[0]}:{len(self.names)}:{self.size}:{self.modified_ms}"


@dataclass(frozen=True)
class LogListing:
    """One listing of a log: commits in order of version, complete checkpoints newest first."""

    commits: tuple[CommitEntry, ...]
    checkpoints: tuple[CheckpointEntry, ...]

    @property
    def head(self) -> int:
        """The greatest version that the log has."""
        newest = [c.version for c in self.commits[-1:]] + [c.version for c in self.checkpoints[:1]]
        return max(newest)


@dataclass(frozen=True)
class Run:
    """A contiguous stretch of versions that can be built: a base and the commits after it.

    `base` None: the commits start at version 0. `commits` are those to replay, `first` and `last`
    the first and last version that can be read.
    """

    base: CheckpointEntry | None
    commits: tuple[CommitEntry, ...]
    first: int
    last: int


@dataclass(frozen=True)
class Segment:
    """What to read: the runs (oldest first, disjoint) and commits kept as history only."""

    runs: tuple[Run, ...]
    history_only: tuple[CommitEntry, ...]

    @property
    def head(self) -> int:
        return self.runs[-1].last

    @property
    def known_since(self) -> int:
        return self.runs[0].first


def list_log(entries: Iterable[tuple[str, int, int]], where: str) -> LogListing:
    """`entries`: (name, size in bytes, modified in ms) of one `_delta_log` listing.

    Compacted files, checksums, staged commits and strangers are left out; a zero-byte checkpoint
    part is no part. Raises EMPTY_LOG when there is no commit and no complete checkpoint.
    """
    commits: dict[int, CommitEntry] = {}
    parts: dict[tuple[int, str], dict[int, tuple[str, int, int]]] = defaultdict(dict)
    expected: dict[tuple[int, str], int] = {}
    for name, size, modified in entries:
        parsed = parse_log_name(name)
        if isinstance(parsed, CommitFile):
            commits[parsed.version] = CommitEntry(parsed.version, name, size, modified)
        elif isinstance(parsed, CheckpointFile) and size > 0:
            multi = parsed.parts is not None
            group = (parsed.version, f"parts:{parsed.parts}" if multi else name)
            expected[group] = parsed.parts or 1
            parts[group][parsed.part or 1] = (name, size, modified)
    complete = [
        CheckpointEntry(
            version=group[0],
            names=tuple(found[k][0] for k in sorted(found)),
            size=sum(f[1] for f in found.values()),
            modified_ms=max(f[2] for f in found.values()),
        )
        for group, found in parts.items()
        if len(found) == expected[group]
    ]
    if not commits and not complete:
        raise DeltaLakeError(
            DeltaLakeErrorKind.EMPTY_LOG,
            f"{where} holds no commit and no complete checkpoint; point to the _delta_log of a "
            "Delta table",
            location=where,
        )
    # A V2 (uuid-named) checkpoint is preferred to a classic one of its version: it sorts later.
    complete.sort(key=lambda c: (c.version, len(c.names[0]), c.names[0]), reverse=True)
    return LogListing(tuple(commits[v] for v in sorted(commits)), tuple(complete))


def latest_segment(listing: LogListing, excluded: Collection[str] = ()) -> Segment:
    """The newest complete checkpoint and the commits after it (`--mode fast`, parity).

    `excluded` holds fingerprints of checkpoints found unreadable. Raises MISSING_COMMIT with the
    first version that is missing.
    """
    base = next((c for c in listing.checkpoints if c.fingerprint not in excluded), None)
    start = 0 if base is None else base.version + 1
    commits = tuple(c for c in listing.commits if c.version >= start)
    _require_contiguous(commits, start, listing, excluded)
    first = start if base is None else base.version
    last = commits[-1].version if commits else first
    if last < listing.head:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CORRUPT_CHECKPOINT,
            f"the checkpoint of version {listing.head} can't be read, and the commits end at "
            f"version {last}; restore the checkpoint or the commits from a backup",
            version=listing.head,
        )
    history = tuple(c for c in listing.commits if base is not None and c.version == base.version)
    return Segment((Run(base, commits, first, last),), history)


def full_segment(listing: LogListing, excluded: Collection[str] = ()) -> Segment:
    """Every version that can still be built (`--mode full-history`).

    Each contiguous chain of commits is replayed from version 0, or from the oldest usable
    checkpoint at its start or inside it; a checkpoint beside no chain is a version of its own.
    Raises MISSING_COMMIT when the head itself can't be built.
    """
    usable = sorted(
        (c for c in listing.checkpoints if c.fingerprint not in excluded),
        key=lambda c: c.version,
    )
    runs: list[Run] = []
    history: list[CommitEntry] = []
    for chain in _chains(listing.commits):
        low, high = chain[0].version, chain[-1].version
        if low == 0:
            runs.append(Run(None, chain, 0, high))
        else:
            base = next((c for c in usable if low - 1 <= c.version <= high), None)
            if base is None:
                history.extend(chain)
                continue
            history.extend(c for c in chain if c.version <= base.version)
            commits = tuple(c for c in chain if c.version > base.version)
            runs.append(Run(base, commits, base.version, high))
    for checkpoint in usable:
        inside = any(r.first <= checkpoint.version <= r.last for r in runs)
        if not inside:
            runs.append(Run(checkpoint, (), checkpoint.version, checkpoint.version))
    runs.sort(key=lambda r: r.first)
    if not runs or runs[-1].last < listing.head:
        latest_segment(listing, excluded)  # names the first missing commit
    return Segment(tuple(runs), tuple(history))


def _chains(commits: tuple[CommitEntry, ...]) -> list[tuple[CommitEntry, ...]]:
    chains: list[list[CommitEntry]] = []
    for commit in commits:
        if chains and chains[-1][-1].version + 1 == commit.version:
            chains[-1].append(commit)
        else:
            chains.append([commit])
    return [tuple(chain) for chain in chains]


def _require_contiguous(
    commits: tuple[CommitEntry, ...], start: int, listing: LogListing, excluded: Collection[str]
) -> None:
    want = start
    for commit in commits:
        if commit.version != want:
            break
        want += 1
    else:
        if commits or start > 0:
            return
    unreadable = any(c.fingerprint in excluded for c in listing.checkpoints)
    why = (
        "no older checkpoint can be read either"
        if unreadable
        else "no checkpoint covers the versions before it"
        if want == 0
        else "the commits are not contiguous"
    )
    raise MissingCommitError(
        f"commit {want} is missing: version {listing.head} can't be built, {why}; restore "
        f"{want:020d}.json from a backup",
        version=want,
        head=listing.head,
    )
