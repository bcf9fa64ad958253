"""Figures of a run: Markdown for people, JSON for machines (`benchmarks/results/latest.*`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


class Kind(Enum):
    """How a figure comes of its two measurements, and which side of the target is good."""

    COST = "ours ÷ theirs, at most"
    GAIN = "theirs ÷ ours, at least"
    LIMIT = "ours alone, at most"


@dataclass(frozen=True)
class Figure:
    """One row of the report: our measurement, what it is held against, and the target.

    `ours` and `theirs` are in `unit`; the spreads are the distance between the fastest and the
    slowest run (0 for one run).
    """

    section: str
    name: str
    kind: Kind
    target: float
    ours: float
    theirs: float | None = None
    against: str = ""
    unit: str = "s"
    ours_spread: float = 0.0
    theirs_spread: float = 0.0
    note: str = ""

    def __post_init__(self) -> None:
        if (self.theirs is None) != (self.kind is Kind.LIMIT):
            raise ValueError(f"{self.name}: a ratio has two sides, a limit has one")

    @property
    def value(self) -> float:
        """The figure itself: a ratio, or `ours` for a limit."""
        if self.theirs is None:
            return self.ours
        if self.kind is Kind.COST:
            return self.ours / self.theirs
        return self.theirs / self.ours

    @property
    def met(self) -> bool:
        if self.kind is Kind.GAIN:
            return self.value >= self.target
        return self.value <= self.target

    def to_json(self) -> dict[str, Any]:
        return {
            "section": self.section,
            "name": self.name,
            "ours": self.ours,
            "ours_spread": self.ours_spread,
            "theirs": self.theirs,
            "theirs_spread": self.theirs_spread,
            "against": self.against,
            "unit": self.unit,
            "kind": self.kind.name.lower(),
            "ratio": self.value if self.theirs is not None else None,
            "target": self.target,
            "met": self.met,
            "note": self.note,
        }


@dataclass(frozen=True)
class Breakdown:
    """What the time of a measurement went into: (stage, seconds) in order."""

    name: str
    stages: tuple[tuple[str, float], ...]
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "seconds": dict(self.stages), "note": self.note}


Entry = Figure | Breakdown
"""What a part of a run yields."""


@dataclass(frozen=True)
class Skipped:
    """A part that could not run, with the reason."""

    section: str
    reason: str


def write(
    facts: Mapping[str, str],
    entries: Sequence[Entry],
    skipped: Sequence[Skipped],
    directory: Path = RESULTS,
) -> tuple[Path, Path]:
    """Write `latest.md` and `latest.json`; returns both paths."""
    directory.mkdir(parents=True, exist_ok=True)
    as_json = {
        "machine": dict(facts),
        "figures": [e.to_json() for e in entries if isinstance(e, Figure)],
        "time_spent": [e.to_json() for e in entries if isinstance(e, Breakdown)],
        "skipped": [{"section": s.section, "reason": s.reason} for s in skipped],
    }
    json_path, markdown_path = directory / "latest.json", directory / "latest.md"
    json_path.write_text(json.dumps(as_json, indent=2, ensure_ascii=False) + "\n")
    markdown_path.write_text(markdown(facts, entries, skipped))
    return markdown_path, json_path


def markdown(
    facts: Mapping[str, str], entries: Sequence[Entry], skipped: Sequence[Skipped] = ()
) -> str:
    """The report as text."""
    figures = [e for e in entries if isinstance(e, Figure)]
    breakdowns = [e for e in entries if isinstance(e, Breakdown)]
    lines = [
        "# Benchmarks",
        "",
        "Every ratio compares two measurements of the same run on the same machine; absolute times "
        "of different runs do not compare.",
        "",
        ", ".join(f"{name} {value}" for name, value in facts.items()),
    ]
    sections = list(dict.fromkeys(figure.section for figure in figures))
    for section in sections:
        lines += [
            "",
            f"## {section}",
            "",
            "| figure | ours | against | ratio | target | met |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_row(figure) for figure in figures if figure.section == section]
        notes = [f"- {f.name}: {f.note}" for f in figures if f.section == section and f.note]
        lines += ["", *notes] if notes else []
    if breakdowns:
        lines += ["", "## What the time is spent on"]
        for breakdown in breakdowns:
            lines += ["", *_shares(breakdown)]
    if skipped:
        lines += ["", "## Not run", "", *(f"- {s.section}: {s.reason}" for s in skipped)]
    return "\n".join(lines) + "\n"


def _shares(breakdown: Breakdown) -> list[str]:
    total = sum(seconds for _, seconds in breakdown.stages)
    return [
        f"{breakdown.name}: {_number(total)} s",
        "",
        "| stage | seconds | share |",
        "|---|---|---|",
        *(f"| {name} | {s:.2f} | {s / total:.0%} |" for name, s in breakdown.stages),
        *(["", breakdown.note] if breakdown.note else []),
    ]


def _row(figure: Figure) -> str:
    ours = _amount(figure.ours, figure.ours_spread, figure.unit)
    sign = "≥" if figure.kind is Kind.GAIN else "≤"
    if figure.theirs is None:
        against, ratio, target = "", "", f"{sign} {figure.target:g} {figure.unit}"
    else:
        theirs = _amount(figure.theirs, figure.theirs_spread, figure.unit)
        against = f"{figure.against}: {theirs}"
        ratio, target = _number(figure.value), f"{sign} {figure.target:g}"
    met = "yes" if figure.met else "**no**"
    return f"| {figure.name} | {ours} | {against} | {ratio} | {target} | {met} |"


def _amount(value: float, spread: float, unit: str) -> str:
    if unit == "s" and value < 1:
        value, spread, unit = value * 1000, spread * 1000, "ms"
    around = f" ± {_number(spread / 2)}" if spread else ""
    return f"{_number(value)}{around} {unit}"


def _number(value: float) -> str:
    """Three significant digits, without exponents."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
