"""How far an import, a diff or a write is: a bar a stage on a terminal, else a line now and then.

Both keep still while it takes no longer than a moment.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import click

if TYPE_CHECKING:
    from rich.console import Group

BAR_AFTER_SECONDS = 1.0
LINE_EVERY_SECONDS = 10.0
REFRESH_SECONDS = 0.12
_WIDE = 100


@dataclass(frozen=True)
class _Kind:
    """A stage of `import_table` or `diff_table`, and what its calls count.

    `counts`: whether the actions are news. `ahead`: whether they are those of the whole stage,
    known before it begins. `rows`: how many there will be isn't known.
    """

    title: str
    unit: str = "part"
    counts: bool = True
    ahead: bool = False
    rows: bool = False


_KINDS = {
    "parse": _Kind("reading the log"),
    "load": _Kind("loading rows", ahead=True),
    "index": _Kind("building indexes", counts=False),
    "log": _Kind("reading the log"),
    "catalog": _Kind("reading the catalog", unit="file"),
    "write": _Kind("writing", unit="row", rows=True),
    "compare": _Kind("comparing", counts=False),
}


class Display(Protocol):
    """Takes the calls of `import_table` and `diff_table` (stage, parts done, parts, actions)."""

    def __call__(self, stage: str, done: int, total: int, actions: int) -> None: ...

    def phase(self, title: str) -> None:
        """What goes on outside the stages."""


@dataclass
class _Stage:
    """Where a stage is, and when it began (`time.monotonic`). A phase has no `kind`."""

    title: str
    started: float
    kind: _Kind | None = None
    done: int = 0
    total: int = 0
    actions: int = 0
    finished: float | None = None

    @property
    def open_ended(self) -> bool:
        return self.kind is not None and self.kind.rows

    @property
    def elapsed(self) -> float:
        return (self.finished or time.monotonic()) - self.started

    def facts(self) -> tuple[str, str, str, str]:
        """Parts, time left or passed, actions and their rate, for people; empty where none."""
        kind, elapsed = self.kind, self.elapsed
        if kind is None:
            return "", _duration(elapsed), "", ""
        if kind.rows:
            rate = f"{self.done / elapsed:,.0f}/s" if elapsed >= 0.05 else ""
            return f"{self.done:,} rows", _duration(elapsed), "", rate
        parts = f"{self.done:,}/{self.total:,} {kind.unit}{'' if self.total == 1 else 's'}"
        clock = _duration(elapsed)
        if 0 < self.done < self.total and elapsed >= 0.5:
            clock = f"{_duration(elapsed / self.done * (self.total - self.done))} left"
        actions = self.actions * self.done // max(self.total, 1) if kind.ahead else self.actions
        if not kind.counts or not actions:
            return parts, clock, "", ""
        rate = f"{actions / elapsed:,.0f}/s" if elapsed >= 0.05 else ""
        return parts, clock, f"{actions:,} actions" if kind.unit == "part" else "", rate


class _Stages:
    """The stages so far, and what goes on now; what both displays show."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[str, _Stage] = {}
        self._now: _Stage | None = None

    def __call__(self, stage: str, done: int, total: int, actions: int) -> None:
        with self._lock:
            now = time.monotonic()
            found = self._stages.get(stage)
            if found is None or done < found.done:
                kind = _KINDS.get(stage, _Kind(stage))
                found = self._stages[stage] = _Stage(kind.title, now, kind)
            found.done, found.total, found.actions = done, total, actions
            found.finished = now if done >= total and not found.open_ended else None
            self._now = found

    def phase(self, title: str) -> None:
        with self._lock:
            self._now = _Stage(title, time.monotonic())

    def seen(self) -> tuple[list[_Stage], _Stage | None]:
        with self._lock:
            return list(self._stages.values()), self._now


@contextmanager
def display_progress() -> Iterator[Display]:
    """A display on standard error that comes when it takes long, and goes with the block."""
    stages = _Stages()
    stop = threading.Event()
    show = _bars if sys.stderr.isatty() else _lines
    thread = threading.Thread(target=show, args=(stages, stop), name="dl-progress", daemon=True)
    thread.start()
    try:
        yield stages
    finally:
        stop.set()
        thread.join()


def _lines(stages: _Stages, stop: threading.Event) -> None:
    """Plain lines, for logs; only what has parts is news there, and only once."""
    told = ""
    while not stop.wait(LINE_EVERY_SECONDS):
        _, now = stages.seen()
        if now is None or now.kind is None:
            continue
        line = f"{now.title}: {', '.join(f for f in now.facts() if f)}"
        if line != told:
            click.echo(line, err=True)
            told = line


def _bars(stages: _Stages, stop: threading.Event) -> None:
    if stop.wait(BAR_AFTER_SECONDS):
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    with Live(console=console, transient=True, auto_refresh=False) as live:
        while True:
            live.update(_picture(*stages.seen(), console.width), refresh=True)
            if stop.wait(REFRESH_SECONDS):
                return


def _picture(seen: list[_Stage], now: _Stage | None, width: int) -> Group:
    """A bar for each stage; while something else goes on, a line that moves."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.spinner import Spinner
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    # What doesn't fit is left out rather than broken into lines.
    facts = 4 if width >= _WIDE else 2
    room = width - (75 if width >= _WIDE else 52)
    for _ in range(2 + facts):
        table.add_column(no_wrap=True)
    for stage in seen:
        bar = ProgressBar(
            total=stage.total or 1,
            completed=stage.done if stage.total else 1,
            width=max(8, min(30, room)),
            pulse=stage.open_ended or stage.done == 0 < stage.total,
        )
        table.add_row(stage.title, bar, *stage.facts()[:facts])
    if now is None or now.kind is not None:
        return Group(table)
    spinner = Spinner("dots", f"{now.title} ({_duration(now.elapsed)})")
    # A new one each time would stand still, so it is told when it began.
    spinner.start_time = 0.0
    return Group(table, spinner)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"
