"""What earlier nights have found, from `dl_parity_runs`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from deltalakedb.catalog.catalog import Catalog

NIGHTS = 30
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class TableHistory:
    """Of a table: seconds of lag and differing files by night, the oldest first; None: not seen.

    `last`: the exit code of the last look before tonight.
    """

    lag: tuple[float | None, ...]
    drift: tuple[int | None, ...]
    last: int | None


@dataclass(frozen=True)
class History:
    """The nights before and tonight. `drifted`: tables with drift a night, `worst_lag` seconds."""

    nights: tuple[int, ...] = ()
    drifted: tuple[int | None, ...] = ()
    worst_lag: tuple[float | None, ...] = ()
    tables: dict[str, TableHistory] = field(default_factory=dict)


def history(catalog: Catalog, began: int) -> History:
    """The NIGHTS days up to `began` (ms since 1970), the worst of each day; one question."""
    last = began // _DAY_MS
    first = last - NIGHTS + 1
    rows = catalog.reader.rows(
        "SELECT table_id, finished_at, exit_code, lag_seconds, file_drift FROM dl_parity_runs "
        "WHERE finished_at >= ? ORDER BY finished_at",
        (first * _DAY_MS,),
    )
    lag: dict[str, list[float | None]] = {}
    drift: dict[str, list[int | None]] = {}
    before: dict[str, int] = {}
    bad: list[set[str]] = [set() for _ in range(NIGHTS)]
    seen = [False] * NIGHTS
    for table, at, code, seconds, files in rows:
        place = int(at) // _DAY_MS - first
        if not 0 <= place < NIGHTS:
            continue
        seen[place] = True
        lags = lag.setdefault(table, [None] * NIGHTS)
        drifts = drift.setdefault(table, [None] * NIGHTS)
        lags[place] = max(lags[place] or 0.0, float(seconds))
        drifts[place] = max(drifts[place] or 0, int(files), int(code == 2))
        if code == 2:
            bad[place].add(table)
        if int(at) < began:
            before[table] = int(code)
    return History(
        tuple(range(first, last + 1)),
        tuple(len(b) if s else None for b, s in zip(bad, seen, strict=True)),
        tuple(
            max((v for t in lag.values() if (v := t[n]) is not None), default=None)
            for n in range(NIGHTS)
        ),
        {t: TableHistory(tuple(lag[t]), tuple(drift[t]), before.get(t)) for t in lag},
    )


def quiet(values: Sequence[float | int | None]) -> bool:
    """Whether there is nothing to draw."""
    return not any(values)
