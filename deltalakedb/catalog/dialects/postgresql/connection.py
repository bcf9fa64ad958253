"""Connections to PostgreSQL over libpq, without SQLAlchemy.

Nothing is set on a session: behind a pool in transaction mode it is lent to others afterwards.
"""

from __future__ import annotations

from typing import Any

import psycopg2

from deltalakedb.database_url import DatabaseUrl
from deltalakedb.uri import renewed


def libpq_uri(url: DatabaseUrl) -> str:
    """A database URL as libpq reads it, so psycopg2 and ADBC alike."""
    now = renewed(url)
    return now.render("postgresql", now.driver_options)


def connect(url: DatabaseUrl) -> Any:
    """A psycopg2 connection to a database URL."""
    return psycopg2.connect(libpq_uri(url))
