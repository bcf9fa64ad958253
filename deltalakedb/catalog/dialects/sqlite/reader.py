"""Reading from SQLite through `sqlite3` alone."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from typing import Any

from deltalakedb.catalog.dialects.reader import Reader
from deltalakedb.catalog.dialects.sqlite.busy import SLICE_SECONDS, busy_seconds, patiently
from deltalakedb.catalog.dialects.sqlite.inside import inside

_MAPPED_BYTES = 1 << 34


class SqliteReader(Reader):
    """Questions to a SQLite file, over one connection that only reads."""

    _opened: tuple[int, int] | None = None

    _kept_for_fork = False

    def is_current(self) -> bool:
        """A file that was deleted or replaced goes on being read by who has it open."""
        return self._connection is None or self._opened == _identity(self._path)

    @property
    def _path(self) -> str:
        return self.url.name

    def _connect(self) -> sqlite3.Connection:
        path = self._path
        self._opened = _identity(path)
        if self._opened is None:
            raise self._no_catalog()
        # A thread may do so while another forks that doesn't know of this reader yet.
        with inside:
            connection = sqlite3.connect(
                path, timeout=SLICE_SECONDS, isolation_level=None, check_same_thread=False
            )
            connection.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
        return connection

    def before_fork(self) -> None:
        # What SQLite knows of a file's locks is the process's: a child that inherits it believes
        # that it holds locks which the system has not given it, whatever it opens anew.
        # The lock is kept until the fork is made: nobody is inside SQLite then, whose own locks
        # would stay taken in the child for ever.
        self._kept_for_fork = self._lock.acquire(busy_seconds(self.url))
        if self._kept_for_fork:
            self._drop()

    def forked(self) -> None:
        """In the parent, once it has forked."""
        if self._kept_for_fork:
            self._kept_for_fork = False
            self._lock.release()

    def _query(
        self, connection: Any, statement: str, params: Sequence[Any]
    ) -> list[tuple[Any, ...]]:
        # In WAL mode readers wait for recovery alone, and for a program that wants no other.
        def ask() -> list[tuple[Any, ...]]:
            with inside:
                return list(connection.execute(statement, tuple(params)).fetchall())

        return patiently(busy_seconds(self.url), ask)

    def _is_driver_error(self, error: Exception) -> bool:
        return isinstance(error, sqlite3.Error)

    def _is_lost(self, error: Exception) -> bool:
        return False

    def _is_missing_table(self, error: Exception) -> bool:
        return "no such table: dl_tables" in str(error) or "dl_schema_version" in str(error)


def _identity(path: str) -> tuple[int, int] | None:
    """Which file has the name now; None for none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
