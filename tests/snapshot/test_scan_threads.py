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
    others = set(threading.enumerate())

    def scanning() -> list[threading.Thread]:
        found = [t for t in threading.enumerate() if t.name.startswith("deltalakedb-scan")]
        return [t for t in found if t not in others]

    started: list[int] = []
    produced: list[int] = []

    def job(number: int) -> Iterator[int]:
        started.append(number)
        for _ in range(100):
            produced.append(number)
            yield number

    results = in_order((partial(job, i) for i in range(50)), 3)
    assert next(results) == 0
    # Two results wait in each queue and one more is in the hand of each thread.
    until(lambda: [produced.count(number) >= 3 for number in started] == [True] * 3)
    time.sleep(0.1)
    assert sorted(started) == [0, 1, 2]
    assert all(produced.count(number) <= 5 for number in started)
    results.close()
    until(lambda: not scanning())
    assert sorted(started) == [0, 1, 2]
    assert all(produced.count(number) <= 5 for number in started)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
