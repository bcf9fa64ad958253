"""What one task reads of a log: its commits and checkpoints in ranges of about a second's work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from deltalakedb.log.segment import CommitEntry

RANGE_BYTES = 32 << 20
"""Bytes of JSON (or of uncompressed Parquet) a range: about a second of one core."""
RANGE_COMMITS = 10_000

T = TypeVar("T")


@dataclass(frozen=True)
class CheckpointUnit:
    """Some row groups of one Parquet file of a checkpoint, or one JSON file (`groups` None).

    `rows`: first row and number of rows, where it is a part of one large row group.
    """

    name: str
    groups: tuple[int, ...] | None
    size: int
    rows: tuple[int, int] | None = None


@dataclass(frozen=True)
class RangeSpec:
    """What one task reads: picklable, a second of work, a bounded memory.

    A range is either of commits (first..last, contiguous) or of checkpoint units (all at `first`)
    or of commits kept as history only. `run` says which run of the segment it belongs to.
    `slice`: (number, how many) of one commit that is too large for a range.
    """

    index: int
    run: int
    first: int
    last: int
    commits: tuple[CommitEntry, ...] = ()
    units: tuple[CheckpointUnit, ...] = ()
    checkpoint: str = ""
    history_only: bool = False
    slice: tuple[int, int] | None = None

    @property
    def size(self) -> int:
        size = sum(c.size for c in self.commits) + sum(u.size for u in self.units)
        return size if self.slice is None else size // self.slice[1]

    @property
    def shared(self) -> tuple[str, tuple[int, ...] | None] | None:
        """The row group or the commit of which this range is one part of several.

        They are best read together.
        """
        if self.slice is not None:
            return self.commits[0].name, None
        [unit] = self.units if len(self.units) == 1 else [None]
        return None if unit is None or unit.rows is None else (unit.name, unit.groups)


def slices_of(commit: CommitEntry, size: int = RANGE_BYTES) -> int:
    """In how many slices of about `size` bytes a commit is read."""
    return max(1, commit.size // size)


def runs_of_commits(
    commits: tuple[CommitEntry, ...], size: int, most: int
) -> Iterator[tuple[tuple[CommitEntry, ...], int]]:
    """Groups of at most `most` commits for a range, each with its number of slices.

    That is more than one for a single commit that is too large for a range.
    """
    start = 0
    for place, commit in enumerate(commits):
        if (count := slices_of(commit, size)) > 1:
            for group in grouped(commits[start:place], weight, size, most):
                yield group, 1
            yield (commit,), count
            start = place + 1
    for group in grouped(commits[start:], weight, size, most):
        yield group, 1


def weight(commit: CommitEntry) -> int:
    """Bytes, and what opening a file costs."""
    return commit.size + 512


def grouped(
    items: tuple[T, ...], weight: Callable[[T], int], size: int, most: int = 1 << 30
) -> Iterator[tuple[T, ...]]:
    """Neighbours together until they weigh `size` or are `most`."""
    group: list[T] = []
    total = 0
    for item in items:
        group.append(item)
        total += weight(item)
        if total >= size or len(group) >= most:
            yield tuple(group)
            group, total = [], 0
    if group:
        yield tuple(group)
