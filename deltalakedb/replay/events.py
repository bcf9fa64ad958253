"""Which event ends which life: the one rule of replay, over arrays.

PROTOCOL.md, "Action Reconciliation": the newest action for a logical file wins. Of a file's
events in order of version, an `add` starts a life that the next event ends: a `remove`, or an
`add` of the same file, which replaces it. The order inside a commit means nothing; a commit
that removes and adds the same logical file leaves it live.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

CLOSE, OPEN, ENDED = 0, 1, 2
"""Kinds of events: a remove; an add whose end isn't known; an add whose end is known."""


@dataclass(frozen=True)
class Events:
    """Events of logical files, one array element an event.

    `key`, `key2`: the 128-bit file key; `version`; `kind` as above; `part`, `row`: where the
    event's row stands (which range, which row of its `files` or `closings`); `at`: the
    deletionTimestamp in ms of a CLOSE, else `NO_TIME`.
    """

    key: Ints
    key2: Ints
    version: Ints
    kind: npt.NDArray[np.int8]
    part: npt.NDArray[np.int32]
    row: Ints
    at: Ints

    def __len__(self) -> int:
        return len(self.key)

    def take(self, index: npt.NDArray[np.intp] | slice) -> Events:
        return Events(*[getattr(self, name)[index] for name in _FIELDS])

    @classmethod
    def concat(cls, many: list[Events]) -> Events:
        return cls(*[np.concatenate([getattr(e, name) for e in many]) for name in _FIELDS])

    def buckets(self, count: int) -> list[Events]:
        """Split by the high bits of the key into `count` (a power of two) pieces."""
        if count == 1:
            return [self]
        shift = 64 - (count.bit_length() - 1)
        which = (self.key.view(np.uint64) >> np.uint64(shift)).astype(np.int64)
        order = np.argsort(which, kind="stable")
        edges = np.searchsorted(which[order], np.arange(count + 1))
        return [self.take(order[edges[b] : edges[b + 1]]) for b in range(count)]


_FIELDS = ("key", "key2", "version", "kind", "part", "row", "at")
NO_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Endings:
    """What the later ranges say about one range's rows.

    `rows` of its `files` end at `versions` (deletionTimestamp `at`, `NO_TIME` if none);
    `consumed` rows of its `closings` have found the life that they end.
    """

    rows: Ints
    versions: Ints
    at: Ints
    consumed: Ints

    @classmethod
    def concat(cls, many: list[Endings]) -> Endings:
        return cls(
            *[
                np.concatenate([getattr(e, n) for e in many])
                for n in ("rows", "versions", "at", "consumed")
            ]
        )

    @classmethod
    def none(cls) -> Endings:
        return cls(*[np.empty(0, dtype=np.int64)] * 4)


def resolve(events: Events, parts: list[int]) -> dict[int, Endings]:
    """The endings that follow from `events`, by part; every part of `parts` has an entry."""
    found = {part: Endings.none() for part in parts}
    candidates = _repeated(events.key)
    if not len(candidates):
        return found
    sub = events.take(candidates)
    # Stable, so that of two adds of one file in one commit the later line stays.
    order = np.lexsort((np.minimum(sub.kind, 1), sub.version, sub.key2, sub.key))
    sub = sub.take(order)
    same = (sub.key[1:] == sub.key[:-1]) & (sub.key2[1:] == sub.key2[:-1])
    ended = np.flatnonzero(same & (sub.kind[:-1] == OPEN))
    if not len(ended):
        return found
    by = ended + 1
    closes = sub.kind[by] == CLOSE
    at = np.where(closes, sub.at[by], NO_TIME)
    consumed = by[closes]
    for part in parts:
        mine = np.flatnonzero(sub.part[ended] == part)
        used = consumed[sub.part[consumed] == part]
        if len(mine) or len(used):
            found[part] = Endings(
                rows=sub.row[ended[mine]],
                versions=sub.version[by[mine]],
                at=at[mine],
                consumed=sub.row[used],
            )
    return found


def _repeated(key: Ints) -> npt.NDArray[np.intp]:
    """Positions of events whose key occurs more than once, in their original order."""
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    equal = ordered[1:] == ordered[:-1]
    if not equal.any():
        return np.empty(0, dtype=np.intp)
    twice = np.zeros(len(key), dtype=bool)
    twice[1:] |= equal
    twice[:-1] |= equal
    return np.sort(order[twice])
