"""Statements of this process that may be under way, for who has to end it.

A thread that waits in a driver's C code for an answer hears of nothing else. What is cancelled here
ends there with the driver's error.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from deltalakedb import fork

C = TypeVar("C")
Cancel = Callable[[Any], object]


class _Connections:
    """Connections of this process, each with what cancels its statement."""

    def __init__(self) -> None:
        self._cancels: weakref.WeakKeyDictionary[Any, Cancel] = weakref.WeakKeyDictionary()
        self._lock = fork.Lock()
        fork.watch(self)

    def add(self, connection: Any, cancel: Cancel) -> None:
        with self._lock:
            self._cancels[connection] = cancel

    def all(self) -> list[tuple[Any, Cancel]]:
        with self._lock:
            return list(self._cancels.items())

    def before_fork(self) -> None:
        """Nothing: the parent's statements go on."""

    def after_fork(self) -> None:
        self._cancels = weakref.WeakKeyDictionary()


_connections = _Connections()


def cancellable(connection: C, cancel: Callable[[C], object]) -> C:
    """Remember a connection as long as it lives.

    `cancel` stops what it does at the moment. It is called from another thread, and may take as
    long as it likes, but not hold the interpreter's lock while it waits.
    """
    _connections.add(connection, cancel)
    return connection


def cancel_all() -> None:
    """Cancel what all connections do; returns when the databases have been told."""
    threads = [
        threading.Thread(target=_cancel, args=(cancel, connection), daemon=True)
        for connection, cancel in _connections.all()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _cancel(cancel: Cancel, connection: Any) -> None:
    # What can't be cancelled goes on.
    with suppress(Exception):
        cancel(connection)
