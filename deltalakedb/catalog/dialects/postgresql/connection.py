"""Connections to PostgreSQL over psycopg2, without SQLAlchemy."""

from __future__ import annotations

import os
import re
from typing import Any

import psycopg2

from deltalakedb.catalog.dialects.statements import cancellable

CONNECT_SECONDS = 10
_CANCEL_SECONDS = 2


def libpq_uri(url: str) -> str:
    """A database URL as libpq reads it; connecting gives up after a while, if it doesn't say."""
    uri = re.sub(r"^postgresql\+\w+:", "postgresql:", url)
    if "connect_timeout=" in uri.partition("?")[2] or "PGCONNECT_TIMEOUT" in os.environ:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}connect_timeout={CONNECT_SECONDS}"


def connect(url: str) -> Any:
    """A psycopg2 connection to a database URL."""
    uri = libpq_uri(url)
    connection = psycopg2.connect(uri)
    process = connection.info.backend_pid
    # Its own `cancel` holds the interpreter's lock while it waits for the server.
    return cancellable(connection, lambda _: _cancel(uri, process))


def _cancel(uri: str, process: int) -> None:
    other = psycopg2.connect(uri, connect_timeout=_CANCEL_SECONDS)
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_cancel_backend(%s)", (process,))
    finally:
        other.close()
