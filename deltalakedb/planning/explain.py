"""A plan told to people: what each step left, by which key or index, in how many ms."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from deltalakedb.display.markup import bar, card, code, grid
from deltalakedb.display.text import size_text
from deltalakedb.planning.request import Step


@dataclass(frozen=True, repr=False)
class Explanation:
    """How a plan found its files; sizes in bytes."""

    table: str
    version: int
    predicate: str
    num_files: int
    total_bytes: int
    planned_files: int
    planned_bytes: int
    steps: tuple[Step, ...]
    pruned_by: str = ""
    """What planning understood of the predicate, as SQL; empty: nothing."""
    left_to_rows: tuple[str, ...] = ()
    """Conjuncts that the engine decides on the rows, as SQL."""

    @property
    def milliseconds(self) -> float:
        return sum(step.milliseconds for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """The machine-readable form of `dl plan`."""
        return {**asdict(self), "milliseconds": self.milliseconds}

    def parts(self) -> list[str]:
        """Which part pruned and which is left to the rows, where not all of it could prune."""
        if not self.left_to_rows:
            return []
        left = " AND ".join(self.left_to_rows)
        return [f"pruned by {self.pruned_by or 'nothing'}", f"left to the rows: {left}"]

    def _headline(self) -> str:
        share = f"{self.planned_files:,} of {self.num_files:,} files"
        return f"{self.table} version {self.version}: {share} in {self.milliseconds:.1f} ms"

    def __str__(self) -> str:
        lines = [self._headline()]
        if self.predicate:
            lines.append(f"  where {self.predicate}")
        lines += [f"  {line}" for line in self.parts()]
        for step in self.steps:
            left = "" if step.files is None else f"{step.files:,} files"
            lines.append(f"  {step.name:<11}{left:>16}  {step.milliseconds:8.2f} ms  {step.detail}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        most = max([self.num_files, *(s.files or 0 for s in self.steps)]) or 1
        start = ("all files", f"{self.num_files:,}", bar(1.0 if self.num_files else 0), "", "")
        rows = [
            (
                s.name,
                "" if s.files is None else f"{s.files:,}",
                bar((s.files or 0) / most),
                f"{s.milliseconds:.2f} ms",
                s.detail,
            )
            for s in self.steps
        ]
        sizes = f"{size_text(self.planned_bytes)} of {size_text(self.total_bytes)} to read"
        return card(
            f"{self.table} version {self.version}",
            f"{self.planned_files:,} of {self.num_files:,} files "
            f"in {self.milliseconds:.1f} ms, {sizes}",
            *([code(self.predicate)] if self.predicate else []),
            *(code(line) for line in self.parts()),
            grid(("step", "files left", "", "time", "how"), [start, *rows], right=(1, 3)),
        )
