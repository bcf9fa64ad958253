"""A night in a sentence."""

from __future__ import annotations

from collections.abc import Mapping

_TOLD = {
    "drift": ("differs from its log", "differ from their logs"),
    "failed": ("couldn't be looked at", "couldn't be looked at"),
    "lag": ("lags behind", "lag behind"),
    "stale": ("was not looked at", "were not looked at"),
}
_GOOD = ("says what its log says", "say what their logs say")


def verdict_of(counts: Mapping[str, int]) -> str:
    """What came of a night, by how many tables have ended how; the worst is to come first."""
    total, good = sum(counts.values()), counts.get("verified", 0)
    if not total:
        return "There was no table to look at."
    if good == total:
        return f"All {total:,} tables {_GOOD[1]}." if total > 1 else f"The one table {_GOOD[0]}."
    parts = [_said(n, _TOLD[status]) for status, n in counts.items() if status in _TOLD]
    of = f"Of {total:,} tables, " if total > 1 else "Of one table, "
    return f"{of}{', '.join(parts)}; {_said(good, _GOOD)}."


def _said(count: int, forms: tuple[str, str]) -> str:
    return f"{count:,} {forms[count != 1]}"
