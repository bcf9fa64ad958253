"""Dialects: the only modules that know which database it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.redact import redact

if TYPE_CHECKING:
    from deltalakedb.catalog.dialects.base import Dialect


def dialect_of(url: str) -> Dialect:
    """The dialect of a SQLAlchemy URL. Raises INVALID_ARGUMENT for a database we don't speak."""
    scheme = url.partition(":")[0].partition("+")[0]
    if scheme == "sqlite":
        from deltalakedb.catalog.dialects.sqlite.dialect import SqliteDialect

        return SqliteDialect(url)
    if scheme == "postgresql":
        from deltalakedb.catalog.dialects.postgresql.dialect import PostgresDialect

        return PostgresDialect(url)
    if scheme in ("mysql", "mariadb"):
        from deltalakedb.catalog.dialects.mysql.dialect import MySqlDialect

        return MySqlDialect(url)
    raise DeltaLakeError(
        DeltaLakeErrorKind.INVALID_ARGUMENT,
        f"no dialect for {redact(url)}: use a SQLite path, postgresql://…, mysql://… or mariadb://…",
        scheme=scheme,
    )
