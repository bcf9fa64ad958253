"""Connections to PostgreSQL over libpq, without SQLAlchemy.

Nothing is set on a session: behind a pool in transaction mode it is lent to others afterwards.
"""

from __future__ import annotations

import os
import socket
from typing import Any

import psycopg2

from deltalakedb.catalog.dialects.statements import cancellable
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.uri import renewed

CONNECT_SECONDS = 10
_CANCEL_SECONDS = 2


def libpq_uri(url: DatabaseUrl) -> str:
    """A database URL as libpq reads it, so psycopg2 and ADBC alike.

    Connecting gives up after a while, if neither URL nor environment says when.
    """
    now = renewed(url)
    options = now.driver_options
    if "PGCONNECT_TIMEOUT" not in os.environ:
        options = {"connect_timeout": str(CONNECT_SECONDS), **options}
    return now.render("postgresql", options)


def connect(url: DatabaseUrl) -> Any:
    """A psycopg2 connection to a database URL."""
    uri = libpq_uri(url)
    connection = psycopg2.connect(uri)
    session = (connection.info.backend_pid, _port(connection.fileno()))
    # Its own `cancel` holds the interpreter's lock while it waits for the server.
    return cancellable(connection, lambda _: _cancel(uri, session))


def _port(descriptor: int) -> int:
    """Our end's port as the server knows it; -1 where there is none."""
    with socket.socket(fileno=os.dup(descriptor)) as ours:
        name = ours.getsockname()
    return int(name[1]) if isinstance(name, tuple) else -1


def _cancel(uri: str, session: tuple[int, int]) -> None:
    """Cancel what a session does, if it is ours: a pool tells process numbers of its own."""
    other = psycopg2.connect(uri, connect_timeout=_CANCEL_SECONDS)
    try:
        with other.cursor() as cursor:
            cursor.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
                "WHERE pid = %s AND client_port = %s",
                session,
            )
    finally:
        other.close()


def is_nul(error: Exception) -> bool:
    """Whether it is psycopg2's refusal of a text with a NUL, which isn't one of its errors."""
    return isinstance(error, ValueError) and "NUL (0x00)" in str(error)
