"""Reading ahead in threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from deltalakedb.scan.threads import in_order


def numbers(start: int, count: int) -> Iterator[int]:
    yield from range(start, start + count)


@pytest.mark.parametrize("workers", [1, 2, 7, 40])
def test_results_come_in_order(workers: int) -> None:
    jobs = [partial(numbers, 10 * i, i % 11) for i in range(30)]
    wanted = [x for job in jobs for x in job()]
    assert list(in_order(iter(jobs), workers)) == wanted
    assert list(in_order([], workers)) == []


def test_jobs_start_in_time_and_wait_when_they_are_ahead() -> None:
    started: list[int] = []
    produced: list[int] = []

    def job(number: int) -> Iterator[int]:
        started.append(number)
        for _ in range(100):
            produced.append(number)
            yield number

    results = in_order((partial(job, i) for i in range(50)), 3)
    assert next(results) == 0
    time.sleep(0.3)
    assert sorted(started) == [0, 1, 2]
    # Two results wait in each queue and one more is in the hand of each thread.
    assert all(produced.count(number) <= 5 for number in started)
    results.close()
    time.sleep(0.3)
    before = len(produced)
    time.sleep(0.2)
    assert len(produced) == before
    assert not [t for t in threading.enumerate() if t.name.startswith("deltalakedb-scan")]


def test_an_error_comes_at_its_place() -> None:
    def fails() -> Iterator[int]:
        yield 7
        raise ValueError("broken")

    jobs: list[Callable[[], Iterator[int]]] = [
        partial(numbers, 0, 2),
        fails,
        partial(numbers, 5, 1),
    ]
    results = in_order(jobs, 3)
    assert [next(results) for _ in range(3)] == [0, 1, 7]
    with pytest.raises(ValueError, match="broken"):
        next(results)
