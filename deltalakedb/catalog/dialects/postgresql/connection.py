"""Connections to PostgreSQL over libpq, without SQLAlchemy.

Nothing is set on a session: behind a pool in transaction mode it is lent to others afterwards.
"""

from __future__ import annotations

import os
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
