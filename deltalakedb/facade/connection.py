"""`SqlConnection`: plain SQL on a catalog's database, over the pool that a SqlConfig describes."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from deltalakedb.catalog.dialects import dialect_of
from deltalakedb.config import SqlConfig

if TYPE_CHECKING:
    import sqlalchemy as sa


class SqlConnection:
    """Runs SQL on the database of `config`; connections come from its pool when they are needed.

    For looking at the catalog, and to see that a database answers. May be used from several
    threads, and as a context manager.
    """

    def __init__(self, config: SqlConfig) -> None:
        if config.settings is not None:
            config.settings.begin()
        self._dialect = dialect_of(config.url)
        with self._dialect.errors():
            self._engine = self._dialect.engine(**config.pool_options())

    @property
    def engine(self) -> sa.Engine:
        """SQLAlchemy's engine, for `pandas.read_sql` and the like; `close` disposes of it."""
        return self._engine

    def execute(
        self, sql: str, parameters: Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """The rows of one statement, which is a transaction of its own; none if it has no rows.

        With `parameters`, `:name` in the text stands for one; without, the text goes as it is.
        Raises AUTHENTICATION_ERROR, TIMEOUT_ERROR, DATABASE_LOCKED, DATABASE_ERROR.
        """
        from sqlalchemy import text

        with self._dialect.errors(), self._engine.begin() as connection:
            if parameters:
                result = connection.execute(text(sql), dict(parameters))
            else:
                plain = connection.execution_options(no_parameters=True)
                result = plain.exec_driver_sql(sql)
            return [tuple(row) for row in result] if result.returns_rows else []

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> SqlConnection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"SqlConnection({self._dialect.described!r})"
