"""What became of each table of a job: exit code, JSON summary, JUnit XML, metrics."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from deltalakedb.display.text import count_text
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

DONE, FAILED, DRIFT, LAG, TRY_AGAIN, CONFIGURATION = 0, 1, 2, 3, 75, 78

_CONFIGURATION = frozenset(
    {DeltaLakeErrorKind.CONFIGURATION_ERROR, DeltaLakeErrorKind.INVALID_ARGUMENT}
)
_TEMPORARY = frozenset(
    {
        DeltaLakeErrorKind.CLUSTER_ERROR,
        DeltaLakeErrorKind.CONCURRENCY_ERROR,
        DeltaLakeErrorKind.DATABASE_LOCKED,
        DeltaLakeErrorKind.TIMEOUT_ERROR,
    }
)


@dataclass(frozen=True)
class TableOutcome:
    """One table: `status` for people, its exit code, seconds, and what else the job says of it."""

    table: str
    status: str
    code: int = DONE
    seconds: float = 0.0
    error: str | None = None
    error_kind: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def of_error(table: str, error: DeltaLakeError, seconds: float) -> TableOutcome:
    """The outcome of a table whose work raised `error`."""
    return TableOutcome(table, "failed", code_of(error), seconds, error.message, error.kind.value)


def code_of(error: DeltaLakeError) -> int:
    """78 for what the caller has to correct, 75 for what may go better next time, else 1."""
    if error.kind in _CONFIGURATION:
        return CONFIGURATION
    return TRY_AGAIN if error.retryable or error.kind in _TEMPORARY else FAILED


@dataclass
class Summary:
    """A whole run.

    `left`: tables that the deadline left untouched, which are stale, not green; `left_facts`: by
    table, what is known of some of them from before; `ended` and `ended_by`: the exit code and the
    reason of a run that didn't come to its own end, whatever its tables say.
    """

    job: str
    started: float = field(default_factory=time.time)
    outcomes: list[TableOutcome] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    left_facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    ended: int | None = None
    ended_by: str | None = None

    def end(self, code: int, why: str) -> None:
        """Note that the run ended before its time: it is no success, nor is it complete."""
        self.ended, self.ended_by = code, why

    @property
    def code(self) -> int:
        """The worst that happened: failures before drift before lag before what was left."""
        if self.ended is not None:
            return self.ended
        codes = {outcome.code for outcome in self.outcomes}
        for code in (CONFIGURATION, FAILED, DRIFT, TRY_AGAIN, LAG):
            if code in codes:
                return code
        return TRY_AGAIN if self.left else DONE

    @property
    def told(self) -> str:
        """How many tables have ended how, and how many were left."""
        statuses = Counter(outcome.status for outcome in self.outcomes)
        said = [f"{number:,} {status}" for status, number in sorted(statuses.items())]
        said += [f"{len(self.left):,} left"] if self.left else []
        total = len(self.outcomes) + len(self.left)
        return f"{count_text(total, 'table')}{': ' if said else ''}{', '.join(said)}"

    def to_json(self) -> str:
        """One object: job, start and seconds, exit code, error, tables, and what was left."""
        return json.dumps(
            {
                "job": self.job,
                "started": self.started,
                "seconds": round(time.time() - self.started, 3),
                "exit_code": self.code,
                "error": self.ended_by,
                "tables": [asdict(outcome) for outcome in self.outcomes],
                "left": self.left,
            },
            indent=2,
            default=str,
        )

    def write_junit(self, path: Path) -> None:
        """A test case a table: what CI systems show."""
        bad = [o for o in self.outcomes if o.code != DONE]
        suite = ElementTree.Element(
            "testsuite",
            name=self.job,
            tests=str(len(self.outcomes) + len(self.left) + (self.ended is not None)),
            failures=str(len(bad)),
            errors=str(int(self.ended is not None)),
            skipped=str(len(self.left)),
            time=f"{time.time() - self.started:.3f}",
        )
        for outcome in self.outcomes:
            case = _case(suite, self.job, outcome.table, outcome.seconds)
            if outcome.code != DONE:
                failure = ElementTree.SubElement(case, "failure", message=outcome.status)
                failure.text = _printable(outcome.error or json.dumps(outcome.facts, default=str))
        for table in self.left:
            ElementTree.SubElement(
                _case(suite, self.job, table, 0.0), "skipped", message="the run ended first"
            )
        if self.ended is not None:
            case = _case(suite, self.job, "the whole run", time.time() - self.started)
            error = ElementTree.SubElement(case, "error", message=f"exit code {self.ended}")
            error.text = _printable(self.ended_by or "")
        ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)

    def failed(self) -> Iterable[TableOutcome]:
        """What needs a person, worst first."""
        return sorted((o for o in self.outcomes if o.code != DONE), key=lambda o: -o.code)


def _case(suite: ElementTree.Element, job: str, table: str, seconds: float) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite, "testcase", classname=job, name=_printable(table), time=f"{seconds:.3f}"
    )


def _printable(text: str) -> str:
    """`text` without what XML 1.0 can't hold."""
    return "".join(c if c in "\t\n" or (c >= " " and c < "\ufffe") else "\ufffd" for c in text)
