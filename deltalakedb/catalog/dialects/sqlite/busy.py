"""How long a statement waits for another process's write before it gives up.

SQLite waits in C, where Python's signal handlers don't run: so it is let wait a little at a time,
and whoever presses Ctrl-C is heard.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from deltalakedb.catalog.dialects.sqlite.inside import inside
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

T = TypeVar("T")

SLICE_SECONDS = 0.1
"""How long SQLite itself waits at a time."""
_DEFAULT_SECONDS = 5.0


def busy_seconds(url: DatabaseUrl) -> float:
    """The URL's option `timeout`, else 5. INVALID_ARGUMENT for one that is no number."""
    given = url.driver_options.get("timeout")
    if given is None:
        return _DEFAULT_SECONDS
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"the database URL's option timeout={given} has to be seconds, 0 to 86400",
            option="timeout",
        )
    return seconds


def patiently(seconds: float, ask: Callable[[], T]) -> T:
    """What `ask` gives, asked again while the database is busy, for `seconds`.

    For a connection whose time-out is `SLICE_SECONDS`, and outside of a transaction, whose
    statements are void once one was refused. Raises sqlite3.OperationalError past that time.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise


def begin_immediate(connection: sqlite3.Connection, seconds: float) -> None:
    """BEGIN IMMEDIATE; waits for whoever writes for `seconds`, as the connection does from then on.

    Raises sqlite3.OperationalError past that time.
    """
    _set_timeout(connection, min(seconds, SLICE_SECONDS))
    try:
        patiently(seconds, lambda: _do(connection, "BEGIN IMMEDIATE"))
    finally:
        _set_timeout(connection, seconds)


def _set_timeout(connection: sqlite3.Connection, seconds: float) -> None:
    _do(connection, f"PRAGMA busy_timeout = {int(seconds * 1000)}")


def _do(connection: sqlite3.Connection, sql: str) -> None:
    with inside:
        connection.execute(sql)
