"""Pruning slots over the rows of a load: what their keys are like, and which get an index."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from deltalakedb.log.keys import NEG_INF, POS_INF

INDEXES = (("path_key",), ("partition_id", "removed_version"))
"""Of every table of a load's own."""
_CLUSTERED_SHARE = 0.02


@dataclass(frozen=True)
class SlotRange:
    """A slot's finite keys in some rows: least lo, greatest hi, greatest width, rows without."""

    least: int
    greatest: int
    width: int
    missing: int


def slot_ranges(files: pa.Table, count: int) -> tuple[SlotRange, ...]:
    """Of the first `count` slots of rows of `dl_files`."""
    return tuple(_of_columns(*_keys(files, slot)) for slot in range(count))


def _keys(files: pa.Table, slot: int) -> list[np.ndarray[Any, np.dtype[Any]]]:
    # A row without statistics (a tombstone) has none of them.
    return [files.column(f"{end}{slot}").fill_null(NEG_INF).to_numpy() for end in ("lo", "hi")]


def _of_columns(
    lows: np.ndarray[Any, np.dtype[Any]], highs: np.ndarray[Any, np.dtype[Any]]
) -> SlotRange:
    low, high = lows.astype(np.float64), highs.astype(np.float64)
    known = (low > float(NEG_INF)) & (high < float(POS_INF)) & (low <= high)
    missing = int(len(low) - np.count_nonzero(known))
    if missing == len(low):
        return SlotRange(0, 0, 0, missing)
    exact_low, exact_high = lows[known], highs[known]
    # Unsigned, as a width may exceed 2^63.
    widths = exact_high.astype(np.uint64) - exact_low.astype(np.uint64)
    return SlotRange(int(exact_low.min()), int(exact_high.max()), int(widths.max()), missing)


def slot_range_of_few(lows: Sequence[int | None], highs: Sequence[int | None]) -> SlotRange:
    """The same of few rows, by their keys."""
    known = [
        (lo, hi)
        for lo, hi in zip(lows, highs, strict=True)
        if lo is not None and hi is not None and NEG_INF < lo <= hi < POS_INF
    ]
    missing = len(lows) - len(known)
    if not known:
        return SlotRange(0, 0, 0, missing)
    return SlotRange(
        min(lo for lo, _ in known),
        max(hi for _, hi in known),
        max(hi - lo for lo, hi in known),
        missing,
    )


def join_slots(slots: Sequence[SlotRange]) -> SlotRange:
    """A slot's range over several sets of rows."""
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


@lru_cache(1_000)
def _planned(described: str) -> tuple[tuple[int, int], ...]:
    """Width and missing of each slot."""
    return tuple((slot["width"], slot["missing"]) for slot in json.loads(described))


def wider_slots(described: str, added: Sequence[SlotRange]) -> str | None:
    """`dl_tables.skipping` for a load that gets more rows; None if it holds.

    It holds where plans would be the same: `least` and `greatest`, which move with every append of
    growing keys, are brought up to date with the others. Of `missing` it is enough whether there
    are any; a count would change with every commit.
    """
    if all(
        more.width <= width and (missing or not more.missing)
        for (width, missing), more in zip(_planned(described), added, strict=True)
    ):
        return None
    slots = []
    for slot, more in zip(json.loads(described), added, strict=True):
        had = SlotRange(slot["least"], slot["greatest"], slot["width"], 0)
        both = join_slots([had, more])
        missing = max(slot["missing"], 1 if more.missing else 0)
        slots.append(
            {
                **slot,
                "least": both.least,
                "greatest": both.greatest,
                "width": both.width,
                "missing": missing,
            }
        )
    return json.dumps(slots)


def narrow_slots(slots: Sequence[SlotRange], adds: int, most: int) -> tuple[int, ...]:
    """Slots whose files are narrow beside the whole: there a btree on `lo` finds a point.

    Whether the files come in the order of their keys doesn't matter. The `most` narrowest.
    """
    shares: list[tuple[float, int]] = []
    for number, slot in enumerate(slots):
        extent = slot.greatest - slot.least
        if extent > 0 and slot.missing * 10 <= max(adds, 1):
            share = slot.width / extent
            if share <= _CLUSTERED_SHARE:
                shares.append((share, number))
    return tuple(number for _, number in sorted(shares)[:most])


def indexes(slots: Iterable[int]) -> list[tuple[str, ...]]:
    """The columns of a load's indexes; `slots`: those that are indexed."""
    return [*INDEXES, *((f"lo{s}",) for s in slots)]
