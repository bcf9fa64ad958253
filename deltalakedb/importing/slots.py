"""Pruning slots over all parts of a load: what their keys are like, and which get an index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deltalakedb.catalog.loads.heap import INDEXES
from deltalakedb.importing.tasks import SlotRange

_CLUSTERED_SHARE = 0.02
_INDEXED_SLOTS = 2


def join_slots(slots: Sequence[SlotRange], number: int) -> SlotRange:
    """A slot's range over several parts."""
    known = [s for s in slots if s.greatest or s.least or s.width]
    missing = sum(s.missing for s in slots)
    if not known:
        return SlotRange(0, 0, 0, missing)
    return SlotRange(
        min(s.least for s in known),
        max(s.greatest for s in known),
        max(s.width for s in known),
        missing,
    )


def clustered(slots: Sequence[SlotRange], adds: int) -> tuple[int, ...]:
    """Slots whose files are narrow beside the whole: there a btree on `lo` finds a point."""
    shares: list[tuple[float, int]] = []
    for number, slot in enumerate(slots):
        extent = slot.greatest - slot.least
        if extent > 0 and slot.missing * 10 <= max(adds, 1):
            share = slot.width / extent
            if share <= _CLUSTERED_SHARE:
                shares.append((share, number))
    return tuple(number for _, number in sorted(shares)[:_INDEXED_SLOTS])


def indexes(slots: Iterable[int]) -> list[tuple[str, ...]]:
    """The columns of a load's indexes; `slots`: those that are indexed."""
    return [*INDEXES, *((f"lo{s}",) for s in slots)]
