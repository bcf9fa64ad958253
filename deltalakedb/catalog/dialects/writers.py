"""Which writer a database has, and those that are kept between transactions."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from deltalakedb import fork
from deltalakedb.error import DeltaLakeError

if TYPE_CHECKING:
    from deltalakedb.catalog.dialects.writer import Writer
    from deltalakedb.database_url import DatabaseUrl


_MOST_KEPT = 32
_LONGEST_SECONDS = 300.0


class _Idle:
    """Writers of this process that are kept for the next transaction.

    Not more than a few and not for long: each holds a connection of its database.
    """

    def __init__(self) -> None:
        self._kept: dict[DatabaseUrl, list[Writer]] = {}
        self._since: dict[Writer, float] = {}
        """All of them, the one that waits longest first."""
        self._opening: dict[DatabaseUrl, threading.Thread] = {}
        self._lock = fork.Lock()
        fork.watch(self)

    def open_ahead(self, url: DatabaseUrl) -> None:
        with self._lock:
            if url in self._kept or url in self._opening:
                return
            thread = threading.Thread(target=self._open, args=(url,), name="dl-connect")
            thread.daemon = True
            self._opening[url] = thread
            thread.start()

    def _open(self, url: DatabaseUrl) -> None:
        writer = None
        # Whoever takes one tries again, and gets the error.
        with suppress(DeltaLakeError):
            writer = writer_of(url)
        with self._lock:
            is_wanted = self._opening.get(url) is threading.current_thread()
            if is_wanted:
                del self._opening[url]
        if writer is not None:
            if is_wanted:
                self.keep(writer)
            else:
                writer.close()

    def take(self, url: DatabaseUrl) -> Writer | None:
        opening = self._opening.get(url)
        if opening is not None:
            opening.join()
        with self._lock:
            kept = self._kept.get(url)
            if not kept:
                return None
            writer = kept.pop()
            del self._since[writer]
            return writer

    def keep(self, writer: Writer) -> None:
        with self._lock:
            now = time.monotonic()
            self._kept.setdefault(writer.url, []).append(writer)
            self._since[writer] = now
            many = len(self._since) - _MOST_KEPT
            old = [
                each
                for at, (each, since) in enumerate(self._since.items())
                if at < many or since < now - _LONGEST_SECONDS
            ]
            for each in old:
                self._leave_out(each)
        for each in old:
            each.close()

    def _leave_out(self, writer: Writer) -> None:
        del self._since[writer]
        kept = self._kept[writer.url]
        kept.remove(writer)
        if not kept:
            del self._kept[writer.url]

    def drop(self, url: DatabaseUrl) -> list[Writer]:
        with self._lock:
            self._opening.pop(url, None)
            dropped = self._kept.pop(url, [])
            for writer in dropped:
                del self._since[writer]
            return dropped

    def close_files(self) -> None:
        for url in [url for url in self._kept if url.dialect == "sqlite"]:
            close_writers(url)

    def before_fork(self) -> None:
        # What SQLite knows of a file's locks is the process's: a child must not inherit it.
        self.close_files()

    def after_fork(self) -> None:
        for kept in self._kept.values():
            for writer in kept:
                fork.leave(writer)
        self._kept, self._since, self._opening = {}, {}, {}


_idle = _Idle()
# SQLite moves what was committed into the database's file when its last connection is closed, not
# when its process ends: until then a copy of that file alone would lack it.
atexit.register(_idle.close_files)


@contextmanager
def writing(url: DatabaseUrl) -> Iterator[Writer]:
    """A writer of this process's own; kept afterwards, unless its connection broke."""
    process = os.getpid()
    writer = _idle.take(url) or writer_of(url)
    try:
        yield writer
    except BaseException:
        if not writer.closed and os.getpid() == process:
            writer.rollback()
        raise
    finally:
        if not writer.closed and os.getpid() == process:
            _idle.keep(writer)


def open_ahead(url: DatabaseUrl) -> None:
    """Have a connection made for the next transaction, where none is kept, beside other work.

    A server takes some milliseconds for a new session. A file is opened in no time.
    """
    if url.dialect != "sqlite":
        _idle.open_ahead(url)


def close_writers(url: DatabaseUrl) -> None:
    """Close the idle connections of this process to a database."""
    for writer in _idle.drop(url):
        writer.close()


def writer_of(url: DatabaseUrl, connection: Any = None) -> Writer:
    """A new writer for a database.

    With `connection` it writes within the transaction that is open there.
    """
    if url.dialect == "sqlite":
        from deltalakedb.catalog.dialects.sqlite.writer import SqliteWriter

        return SqliteWriter(url, connection)
    if url.dialect == "postgresql":
        from deltalakedb.catalog.dialects.postgresql.writer import PostgresWriter

        return PostgresWriter(url, connection)
    from deltalakedb.catalog.dialects.mysql.writer import MySqlWriter

    return MySqlWriter(url, connection)
