"""Running iterators ahead in threads, their results in order and bounded in number."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from deltalakedb import fork

T = TypeVar("T")

_AHEAD = 2
"""Results that wait per job; with `workers` jobs under way this bounds what is in memory."""
_LOOK_UP_SECONDS = 0.1


class _Done:
    """The last thing in a job's queue: how it ended."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Job(Generic[T]):
    def __init__(self, start: Callable[[], Iterator[T]], stopped: threading.Event) -> None:
        self._start = start
        self._stopped = stopped
        self._results: queue.SimpleQueue[T | _Done] = queue.SimpleQueue()
        # What bounds the results, without the lock in Python that a bounded queue takes.
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(_AHEAD):
            self._free.put(None)

    def run(self) -> None:
        try:
            for result in self._start():
                if not self._put(result):
                    return
        except BaseException as error:  # noqa: BLE001 - handed to whoever iterates
            self._results.put(_Done(error))
        else:
            self._results.put(_Done(None))

    def _put(self, result: T) -> bool:
        """False when nobody wants results any more."""
        while not self._stopped.is_set():
            try:
                self._free.get(timeout=_LOOK_UP_SECONDS)
            except queue.Empty:
                continue
            self._results.put(result)
            return True
        return False

    def results(self) -> Iterator[T]:
        while True:
            result = self._results.get()
            if not isinstance(result, _Done):
                self._free.put(None)
                yield result
            elif result.error is None:
                return
            else:
                raise result.error


def in_order(jobs: Iterable[Callable[[], Iterator[T]]], workers: int) -> Iterator[T]:
    """What the jobs yield, job after job, while up to `workers` of them run.

    A job that is far ahead waits. Closing the iterator stops the jobs at their next result.
    With one worker the jobs run in the calling thread.
    """
    if workers <= 1:
        for job in jobs:
            yield from job()
        return
    process = os.getpid()
    stopped = threading.Event()
    waiting = iter(jobs)
    under_way: deque[_Job[T]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="deltalakedb-scan")

    def start_next() -> None:
        start = next(waiting, None)
        if start is not None:
            job = _Job(start, stopped)
            pool.submit(job.run)
            under_way.append(job)

    try:
        for _ in range(workers):
            start_next()
        while under_way:
            for result in under_way.popleft().results():
                yield result
                fork.check_process(process, "an iteration over rows")
            start_next()
    finally:
        if os.getpid() == process:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
