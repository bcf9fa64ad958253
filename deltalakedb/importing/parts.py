"""Loading the parts: where a database takes many at once, by the workers, a few at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deltalakedb.catalog.dialects.base import close_idle
from deltalakedb.error import DeltaLakeError
from deltalakedb.executor.executor import Executor
from deltalakedb.importing import tasks
from deltalakedb.importing.context import Importing
from deltalakedb.importing.tasks import Loaded, LoadSpec, Refused

_AHEAD = 2
_PATIENCE_SECONDS = 60.0
"""How long the database may refuse connections while nothing is loaded."""


@dataclass(frozen=True)
class ToLoad:
    """A part to load. `endings`: a handle on them; `near`: a handle on what lies with its rows."""

    spec: LoadSpec
    endings: Any
    near: Any


def load_parts(importing: Importing, parts: Sequence[ToLoad], actions: int) -> list[Loaded]:
    """Load all parts, in any order; `actions`: theirs together, for the progress."""
    done: list[Loaded] = []
    load = _by_workers if importing.catalog.dialect.parallel_load else _by_this_process
    importing.progress("load", 0, len(parts), actions)
    for loaded in load(importing, parts):
        done.append(loaded)
        importing.progress("load", len(done), len(parts), actions)
    return done


def _by_this_process(importing: Importing, parts: Sequence[ToLoad]) -> Iterator[Loaded]:
    """One writer: it is this process; workers prepare a few parts ahead of it."""
    executor = importing.executor
    handles: list[Any] = []

    def prepared() -> Iterator[Any]:
        for part in parts:
            handles.append(
                executor.submit(tasks.prepare_part, part.spec, part.endings, near=part.near)
            )
            yield handles[-1]

    for position, ready in executor.completed(prepared(), lambda: _AHEAD):
        tasks.put_part(importing.database, importing.run.run_key, ready)
        executor.release([handles[position]])
        yield ready.loaded


def _by_workers(importing: Importing, parts: Sequence[ToLoad]) -> Iterator[Loaded]:
    """Each part over a connection of the worker that has its rows.

    The others wait on the cluster's scheduler or here, not in a worker. When the database has no
    connection to give, fewer are asked for.
    """
    executor = importing.executor
    room = _Room(importing.loaders, keep=executor.slots <= importing.loaders)
    waiting = list(parts)
    while waiting:
        refused: list[ToLoad] = []
        submitted = _submitted(executor, waiting, room)
        for position, outcome in executor.completed(submitted, lambda: room.now):
            if isinstance(outcome, Refused):
                refused.append(waiting[position])
                # Kept connections are what others wait for.
                executor.everywhere(close_idle)
                time.sleep(room.refused(outcome.error))
            else:
                room.loaded()
                yield outcome
        waiting = refused
    if executor.workers:
        executor.everywhere(close_idle)


def _submitted(executor: Executor, parts: Sequence[ToLoad], room: _Room) -> Iterator[Any]:
    for part in parts:
        spec = replace(part.spec, keep_connection=room.keep)
        yield executor.submit(tasks.load_part, spec, part.endings, near=part.near)


class _Room:
    """How many parts are loaded at the same time: fewer after a refusal, more when it goes well.

    `keep`: whether workers keep their connections for the next part.
    """

    def __init__(self, most: int, *, keep: bool) -> None:
        self.now = most
        self.keep = keep
        self._most = most
        self._well = 0
        self._refusals = 0
        self._since = time.monotonic()

    def loaded(self) -> None:
        self._refusals = 0
        self._since = time.monotonic()
        self._well += 1
        if self._well >= 2 * self.now and self.now < self._most:
            self.now += 1
            self._well = 0

    def refused(self, error: DeltaLakeError) -> float:
        """How many seconds to wait before the next; raises the error when it takes too long."""
        if time.monotonic() - self._since > _PATIENCE_SECONDS:
            raise error
        self.now = max(1, self.now - 1)
        self.keep = False
        self._well = 0
        self._refusals += 1
        return float(min(0.05 * 2**self._refusals, 5.0))
