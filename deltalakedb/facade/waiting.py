"""Snapshots that are waited for at the same moment: one question to a database answers them all."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from deltalakedb import fork
from deltalakedb.error import DeltaLakeError

if TYPE_CHECKING:
    from deltalakedb.snapshot.snapshot import Snapshot
    from deltalakedb.uri import TableUri

_MOST = 1_000
"""Tables of one question: databases have a limit for its parameters."""


@dataclass
class _Request:
    uri: str
    answer: asyncio.Future[Snapshot]


@dataclass
class _Queue:
    """What an event loop waits for and no thread has taken; one is to come if `is_announced`."""

    requests: list[_Request] = field(default_factory=list)
    is_announced: bool = False


class SnapshotLoader:
    """Newest versions for event loops, found out in threads.

    A thread takes all that waits when its turn comes, so that a call's answer is never older
    than the call. Errors go to the calls that they belong to; those of a database to all of its.
    """

    def __init__(self, submit: Callable[[Callable[[], None]], object]) -> None:
        """`submit` has a call run in a thread, or raises RuntimeError."""
        self._submit = submit
        self._lock = fork.Lock()
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = WeakKeyDictionary()
        fork.watch(self)

    def load(self, uri: str) -> asyncio.Future[Snapshot]:
        """The newest version of a table; called in the event loop that is to wait for it."""
        loop = asyncio.get_running_loop()
        request = _Request(uri, loop.create_future())
        with self._lock:
            queue = self._queues.setdefault(loop, _Queue())
            queue.requests.append(request)
            announced, queue.is_announced = queue.is_announced, True
        if not announced:
            # After the other calls that the loop is about to make.
            loop.call_soon(self._announce, loop, queue)
        return request.answer

    def before_fork(self) -> None:
        """Nothing: the parent's threads go on."""

    def after_fork(self) -> None:
        self._queues = WeakKeyDictionary()

    def _announce(self, loop: asyncio.AbstractEventLoop, queue: _Queue) -> None:
        try:
            self._submit(partial(self._take, loop, queue))
        except RuntimeError as error:  # the threads are closed
            _deliver([(request, error) for request in self._waiting(queue)])

    def _waiting(self, queue: _Queue) -> list[_Request]:
        with self._lock:
            found, queue.requests, queue.is_announced = queue.requests, [], False
        return [request for request in found if not request.answer.done()]

    def _take(self, loop: asyncio.AbstractEventLoop, queue: _Queue) -> None:
        """In a thread: answer what waits now; other databases than the first by other threads."""
        requests = self._waiting(queue)
        try:
            first, *others = _parts(loop, requests) or [[]]
        except BaseException as error:  # noqa: BLE001 - whoever waits has to be told
            _send(loop, [(request, error) for request in requests])
            return
        for other in others:
            try:
                self._submit(partial(_ask, loop, other))
            except RuntimeError:  # closed meanwhile: what was taken is still answered
                _ask(loop, other)
        _ask(loop, first)


def _parts(
    loop: asyncio.AbstractEventLoop, requests: Iterable[_Request]
) -> list[list[tuple[_Request, TableUri]]]:
    """Requests by their databases, in pieces that one question can be for."""
    from deltalakedb.uri import parse_table_uri

    by_database: dict[str, list[tuple[_Request, TableUri]]] = {}
    wrong: list[tuple[_Request, Snapshot | BaseException]] = []
    for request in requests:
        try:
            table = parse_table_uri(request.uri)
            by_database.setdefault(table.database_secret.reference, []).append((request, table))
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            wrong.append((request, error))
    if wrong:
        _send(loop, wrong)
    return [
        some[at : at + _MOST] for some in by_database.values() for at in range(0, len(some), _MOST)
    ]


def _ask(loop: asyncio.AbstractEventLoop, asked: Sequence[tuple[_Request, TableUri]]) -> None:
    from deltalakedb.table.connect import each_snapshot

    if not asked:
        return
    found: Sequence[Snapshot | BaseException]
    try:
        found = each_snapshot([table for _, table in asked])
    except BaseException as error:  # noqa: BLE001 - whoever waits has to be told
        # Each its own, as raising one writes into it.
        own = isinstance(error, DeltaLakeError)
        found = [copy.copy(error) if own else error for _ in asked]
    _send(loop, [(request, each) for (request, _), each in zip(asked, found, strict=True)])


def _send(
    loop: asyncio.AbstractEventLoop, answers: list[tuple[_Request, Snapshot | BaseException]]
) -> None:
    with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
        loop.call_soon_threadsafe(_deliver, answers)


def _deliver(answers: list[tuple[_Request, Snapshot | BaseException]]) -> None:
    for request, answer in answers:
        if request.answer.done():  # cancelled meanwhile
            continue
        if isinstance(answer, BaseException):
            request.answer.set_exception(answer)
        else:
            request.answer.set_result(answer)
