"""Threads that are inside SQLite, which a fork waits for.

SQLite's own locks, the one of its memory above all, would stay taken for ever in a child that is
forked while another thread holds them.
"""

from __future__ import annotations

import threading

from deltalakedb import fork

_LONGEST_SECONDS = 5.0
"""How long a fork waits: a statement that takes longer than that isn't waited for."""


class Inside:
    """`with inside:` around a call of SQLite; not nested. Forks wait, and are waited for."""

    forks_last = True
    """Who waits for a reader's thread before that, waits for one that can still go in."""

    def __init__(self) -> None:
        self._begin()
        fork.watch(self)

    def _begin(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._count = 0
        self._forking: int | None = None

    def __enter__(self) -> None:
        with self._changed:
            while self._forking not in (None, threading.get_ident()):
                self._changed.wait()
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            if self._forking is not None:
                self._changed.notify_all()

    def before_fork(self) -> None:
        """Let nobody in, and wait until all are out."""
        with self._changed:
            while not self._changed.wait_for(lambda: self._forking is None, _LONGEST_SECONDS):
                pass  # another thread forks at this moment
            self._forking = threading.get_ident()
            self._changed.wait_for(lambda: self._count == 0, _LONGEST_SECONDS)

    def forked(self) -> None:
        """In the parent, once it has forked."""
        with self._changed:
            self._forking = None
            self._changed.notify_all()

    def after_fork(self) -> None:
        """Nobody else is in the child."""
        self._begin()


inside = Inside()
