"""A fork waits for threads that are inside SQLite, and lets no other in until it is made."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

from deltalakedb import fork
from deltalakedb.catalog.dialects.sqlite.inside import Inside


def test_a_fork_waits_for_who_is_inside_and_the_next_for_the_fork() -> None:
    gate, order = Inside(), []
    entered, leave = threading.Event(), threading.Event()

    def first() -> None:
        with gate:
            entered.set()
            leave.wait(60)
            order.append("first")

    def second() -> None:
        with gate:
            order.append("second")

    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(first)
        assert entered.wait(60)
        threading.Timer(0.05, leave.set).start()
        gate.before_fork()
        order.append("fork")
        with gate:  # the thread that forks closes what it holds
            pass
        two = threads.submit(second)
        gate.forked()
        one.result(60)
        two.result(60)
    assert order == ["first", "fork", "second"]


def test_a_child_finds_nobody_inside() -> None:
    gate = Inside()
    process = os.fork()
    if process == 0:
        with gate:
            os._exit(gate._count - 1)
    assert os.waitpid(process, 0)[1] == 0
    with gate:
        assert gate._count == 1


def test_owners_come_and_go_while_they_are_told_of_a_fork() -> None:
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            fork.Lock()

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(come_and_go)
        for _ in range(2000):
            fork._owners()
        stop.set()
        running.result(60)
