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

C = TypeVar("C")

_lock = threading.Lock()
_cancels: weakref.WeakKeyDictionary[Any, Callable[[Any], object]] = weakref.WeakKeyDictionary()


def cancellable(connection: C, cancel: Callable[[C], object]) -> C:
    """Remember a connection as long as it lives.

    `cancel` stops what it does at the moment. It is called from another thread, and may take as
    long as it likes, but not hold the interpreter's lock while it waits.
    """
    with _lock:
        _cancels[connection] = cancel
    return connection


def cancel_all() -> None:
    """Cancel what all connections do; returns when the databases have been told."""
    with _lock:
        open_now = list(_cancels.items())
    threads = [
        threading.Thread(target=_cancel, args=(cancel, connection), daemon=True)
        for connection, cancel in open_now
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _cancel(cancel: Callable[[Any], object], connection: Any) -> None:
    # What can't be cancelled goes on.
    with suppress(Exception):
        cancel(connection)
