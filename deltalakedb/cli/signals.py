"""Ctrl-C and SIGTERM: a command ends within two seconds of them, wherever it waits.

Python's own handlers run between two bytecodes of the main thread. Whoever waits in a driver's C
code for a database that is silent, or for a lock, has none. So a thread listens as well: it asks
the databases to give up what is under way, and where nothing helps it ends the process itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

TERMINATED = 128 + signal.SIGTERM
INTERRUPTED = 128 + signal.SIGINT
_NOTICED_SECONDS = 0.2
"""How long the main thread may take to notice a signal before it counts as stuck."""
_ORDERLY_SECONDS = 1.4
"""From the signal on; what hasn't ended by then is cut off."""
_LAST_SECONDS = 0.3
"""For the last steps of a process that is cut off."""


class Terminated(SystemExit):
    """SIGTERM came."""

    def __init__(self) -> None:
        super().__init__(TERMINATED)


_last_steps: list[Callable[[], object]] = []
_came = threading.Event()
_noticed = threading.Event()


@contextmanager
def if_cut_off(step: Callable[[], object]) -> Iterator[None]:
    """Inside the block `step` is done, in another thread, when the process is cut off."""
    _last_steps.append(step)
    try:
        yield
    finally:
        _last_steps.remove(step)


def came() -> bool:
    """Whether a signal has begun the end of this process."""
    return _came.is_set()


def listen() -> None:
    """From now on signals end this process; for its main thread, once."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.detach(), warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        # What runs in the background of a script has SIGINT ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise)
    threading.Thread(target=_watch, args=(ours,), daemon=True, name="dl-signals").start()


def _raise(number: int, _frame: FrameType | None) -> None:
    _noticed.set()
    # The second one doesn't disturb the end that the first one began.
    if not _came.is_set():
        _came.set()
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _watch(listening: socket.socket) -> NoReturn:
    number = 0
    while number not in (signal.SIGINT, signal.SIGTERM):
        [number] = listening.recv(1)
    end = time.monotonic() + _ORDERLY_SECONDS
    if not _noticed.wait(_NOTICED_SECONDS):
        _beside(_cancel_statements)
    time.sleep(max(0.0, end - time.monotonic()))
    _cut_off(number)


def _cut_off(number: int) -> NoReturn:
    """The end of a process whose main thread doesn't come to it."""
    _kill_children()
    steps = [_beside(step) for step in (_cancel_statements, *_last_steps)]
    until = time.monotonic() + _LAST_SECONDS
    for step in steps:
        step.join(max(0.0, until - time.monotonic()))
    line = "Interrupted" if number == signal.SIGINT else "Terminated"
    with suppress(OSError):
        # A bar that was being drawn has hidden the cursor.
        os.write(2, f"{_SHOW_CURSOR if os.isatty(2) else ''}{line}\n".encode())
    os._exit(128 + number)


_SHOW_CURSOR = "\r\x1b[K\x1b[?25h"


def _beside(step: Callable[[], object]) -> threading.Thread:
    """A step that may itself wait for somebody silent."""

    def run() -> None:
        with suppress(Exception):
            step()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def _cancel_statements() -> None:
    # Whoever has no connection hasn't imported it.
    if "deltalakedb.catalog.dialects.statements" in sys.modules:
        from deltalakedb.catalog.dialects.statements import cancel_all

        cancel_all()


def _kill_children() -> None:
    for child in multiprocessing.active_children():
        with suppress(Exception):
            child.kill()
