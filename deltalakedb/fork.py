"""What belongs to one process, and what a forked one does about it.

Sockets, locks and SQLite's files are inherited by a fork, but are of use to one process only: two
that read one socket get each other's answers. Nothing here asks who forked, or how.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind


class Forked(Protocol):
    """Holds something that belongs to one process."""

    def before_fork(self) -> None:
        """In the parent, before it forks: close what a child could not even ignore.

        What this holds back until the fork is made, a method `forked` lets go in the parent.
        """

    def after_fork(self) -> None:
        """In the child, alone in it: forget what is the parent's, without closing it."""


_watched: weakref.WeakSet[Any] = weakref.WeakSet()


def watch(owner: Forked) -> None:
    """Tell `owner` of every fork, as long as it lives."""
    _watched.add(owner)


class Lock:
    """A lock for `with`, free in a forked process: the thread that held it isn't there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        watch(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def acquire(self, timeout: float) -> bool:
        """Whether the lock was free within `timeout` seconds."""
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        self._lock.release()

    def before_fork(self) -> None:
        """Nothing: whoever holds it goes on."""

    def after_fork(self) -> None:
        self._lock = threading.Lock()


def leave(resource: object) -> None:
    """Keep `resource` for the life of the process, never finalised.

    Closing an inherited connection says goodbye on the parent's socket, and so does the driver
    when it is collected.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(resource))


@contextmanager
def closing_own(resource: Any, close: str = "close") -> Iterator[Any]:
    """`resource`, closed at the end by its method `close`, unless a fork has come in between."""
    process = os.getpid()
    try:
        yield resource
    finally:
        if os.getpid() == process:
            getattr(resource, close)()
        else:
            leave(resource)


def check_process(process: int, what: str) -> None:
    """Raises INVALID_ARGUMENT in another process than `process`, in which `what` was begun."""
    if os.getpid() != process:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{what} was begun in process {process} and can't go on in its fork {os.getpid()}; "
            "begin it anew here",
        )


def _owners() -> list[Any]:
    while True:
        try:
            return list(_watched)
        except RuntimeError:  # another thread has made one, or dropped one, meanwhile
            continue


def _before_fork() -> None:
    # First who waits for threads, which may still need what others then hold back; last who lets
    # no thread go on.
    for owner in sorted(_owners(), key=_turn):
        owner.before_fork()


def _turn(owner: Any) -> tuple[bool, bool]:
    return not getattr(owner, "forks_first", False), getattr(owner, "forks_last", False)


def _after_fork_in_parent() -> None:
    for owner in _owners():
        if hasattr(owner, "forked"):
            owner.forked()


def _after_fork() -> None:
    for owner in _owners():
        owner.after_fork()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork
)
