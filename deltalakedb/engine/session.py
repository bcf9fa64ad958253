"""DuckDB's connections: one a thread, never a parent process's."""

from __future__ import annotations

import os
import threading

import duckdb

from deltalakedb import fork

_own = threading.local()


def connection() -> duckdb.DuckDBPyConnection:
    """This thread's connection to a database in memory, which reaches no file and no network.

    It computes in the calling thread, so that rows keep their order and a fork leaves no thread
    behind.
    """
    held = getattr(_own, "held", None)
    if held is not None and held[0] == os.getpid():
        found: duckdb.DuckDBPyConnection = held[1]
        return found
    if held is not None:
        fork.leave(held[1])
    found = duckdb.connect(
        ":memory:",
        config={
            "threads": 1,
            "enable_external_access": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    found.execute("SET TimeZone = 'UTC'")
    _own.held = (os.getpid(), found)
    return found
