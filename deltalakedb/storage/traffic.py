"""What a piece of work asks of object stores over a network: requests, and bytes that came."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Traffic:
    """Requests made, and bytes of objects that they brought.

    Requests that the library repeats by itself count once; a listing counts one for each thousand
    of objects. Local files count nothing.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.read_bytes = 0
        self._lock = threading.Lock()

    def add(self, requests: int, read_bytes: int) -> None:
        """Count more of both; from any thread."""
        with self._lock:
            self.requests += requests
            self.read_bytes += read_bytes


_counted: ContextVar[Traffic | None] = ContextVar("traffic", default=None)


@contextmanager
def counted() -> Iterator[Traffic]:
    """What is asked in this block (and by the store's threads for it), but not in one inside."""
    traffic = Traffic()
    token = _counted.set(traffic)
    try:
        yield traffic
    finally:
        _counted.reset(token)


def count(requests: int, read_bytes: int = 0) -> None:
    """Tell whoever counts of requests that were made."""
    traffic = _counted.get()
    if traffic is not None:
        traffic.add(requests, read_bytes)
