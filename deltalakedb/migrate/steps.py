"""Named points of a move, for whoever wants to be told or to stop it there.

A hook is a command: it runs at its point with the table's facts in its environment, and one that
fails stops the step, which leaves the table writable.
"""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deltalakedb import logs
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

_log = logging.getLogger(__name__)
On = Callable[[str, Mapping[str, object]], None]
"""Called at each named point, with facts of the table; an exception stops the step."""

MOVE_POINTS = (
    "planned",
    "importing",
    "imported",
    "following",
    "caught-up",
    "proved",
    "ready",
    "cutting",
    "before-freeze",
    "fence-put",
    "fenced",
    "recorded",
    "probation",
    "settled",
    "verified",
    "success",
)
"""In the order in which a cutover reaches them."""
ROLLBACK_POINTS = (
    "rolling-back",
    "drained",
    "pointed",
    "before-unfence",
    "unfenced",
    "publishing",
    "published",
    "returned",
    "rolled-back",
)
"""In the order in which a rollback reaches them."""
HOOKS = {
    "on-plan": "planned",
    "on-ready": "ready",
    "before-freeze": "before-freeze",
    "on-fenced": "fenced",
    "on-success": "success",
    "on-failure": "failure",
    "on-rollback": "rolled-back",
}
"""The hooks that commands may be given for, and the points at which they run."""
_HOOK_SECONDS = 600.0


def nothing(point: str, facts: Mapping[str, object]) -> None:
    """What those do who don't look."""


def note_point(point: str, facts: Mapping[str, object], table_id: str | None) -> None:
    """Log that a table has come to a point."""
    logs.note(
        _log,
        logging.INFO,
        f"migration: {point}",
        step=point,
        table=facts["table"],
        table_id=table_id,
        version=facts.get("version"),
    )


def note_failure(error: DeltaLakeError, table: str, table_id: str | None, step: str) -> None:
    """Log that a step has failed, and why."""
    logs.note(
        _log,
        logging.ERROR,
        f"migration failed: {error.message}",
        step=step,
        table=table,
        table_id=table_id,
        error_kind=error.kind.value,
    )


@dataclass(frozen=True)
class Hooks:
    """Commands by hook (`HOOKS`), run by the shell with DL_POINT, DL_TABLE, DL_LOCATION, ….

    Raises INVALID_ARGUMENT for another hook's name; INTERRUPTED when a command fails.
    """

    commands: Mapping[str, str] = field(default_factory=dict)
    seconds: float = _HOOK_SECONDS

    def __post_init__(self) -> None:
        unknown = sorted(set(self.commands) - HOOKS.keys())
        if unknown:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"no hook {unknown[0]!r}; there are {', '.join(HOOKS)}",
            )

    def __call__(self, point: str, facts: Mapping[str, object]) -> None:
        for hook, command in self.commands.items():
            if HOOKS[hook] == point:
                self._run(hook, command, point, facts)

    def _run(self, hook: str, command: str, point: str, facts: Mapping[str, object]) -> None:
        said = {f"DL_{name.upper()}": str(value) for name, value in facts.items()}
        try:
            done = subprocess.run(
                command,
                shell=True,
                env={**os.environ, **said, "DL_POINT": point},
                timeout=self.seconds,
                check=False,
            )
            how = f"ended with {done.returncode}"
        except subprocess.TimeoutExpired:
            how = f"took more than {self.seconds:g} s"
            done = None
        if done is None or done.returncode:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INTERRUPTED,
                f"the hook {hook} {how}, so this stops here; see to what it asks for, then run the "
                "same command again",
                hook=hook,
            )


def both(first: On, second: On) -> On:
    """One after the other."""

    def told(point: str, facts: Mapping[str, object]) -> None:
        first(point, facts)
        second(point, facts)

    return told


@dataclass(frozen=True)
class Pace:
    """How much of a table's log and of the database a move may take.

    `rounds_per_second`: looks at the log at most, each a request or two. `busy_ms`: while a
    trivial question takes the database longer than that, nothing is read (None: it isn't asked).
    `pause_file`: while this file is there, nothing is done. A cutover that has begun goes on.
    """

    rounds_per_second: float = 4.0
    busy_ms: float | None = None
    pause_file: str | None = None

    def __post_init__(self) -> None:
        if not self.rounds_per_second > 0:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT, "the rounds per second have to be above 0"
            )

    def waits_for(self, ask: Callable[[], object], paused: Callable[[], bool]) -> str | None:
        """What a move has to wait for now; None to go on."""
        if self.pause_file is not None and Path(self.pause_file).exists():
            return f"the pause file {self.pause_file} to be removed"
        if paused():
            return "`dl migrate resume`"
        if self.busy_ms is not None:
            began = time.perf_counter()
            ask()
            took = (time.perf_counter() - began) * 1000
            if took > self.busy_ms:
                return f"the database, which takes {took:.0f} ms for a trivial question"
        return None

    @property
    def seconds(self) -> float:
        """Between two looks."""
        return 1 / self.rounds_per_second
