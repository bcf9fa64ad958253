"""A catalog's database, and the pool of connections to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from deltalakedb.config.checks import (
    check_fields,
    checks_of,
    invalid,
    kind_of,
    seconds,
    truth,
    whole,
)
from deltalakedb.config.sections import Settings
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.redact import HIDDEN, redact
from deltalakedb.secret import Secret
from deltalakedb.uri import parse_database


@dataclass(frozen=True, repr=False)
class SqlConfig:
    """A catalog's database and the pool of connections to it.

    `connection_string` is given as text (a SQLite path or a URL, see `uri.parse_database`),
    as a Secret, or as a function that returns the text and is asked anew for each connection
    (for passwords that change); it is held as a Secret. `pool_timeout` and `pool_recycle` are
    seconds (-1: never recycle); `max_overflow` -1 is without limit; `echo` logs the SQL. The pool
    serves `SqlConnection`, `import_table` and `diff_table`; tables that are only read share one
    connection a process. `settings`: the other sections of the configuration that it comes from.
    """

    connection_string: str | Secret | Callable[[], str]
    pool_size: Annotated[int, whole(1)] = 5
    max_overflow: Annotated[int, whole(-1)] = 10
    pool_timeout: Annotated[float, seconds] = 30.0
    pool_recycle: Annotated[int, whole(-1)] = 3600
    echo: Annotated[bool, truth] = False
    settings: Settings | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        given = self.connection_string
        if not callable(given) and not isinstance(given, str | Secret):
            # Not shown: what a mapping holds may be a password.
            raise invalid(
                f"a database is a SQLite path or a URL, as text, not {kind_of(given)}; of a "
                "configuration's section `ConfigFactory.create_sql_config(config['database'])` "
                "makes what is taken here"
            )
        secret = Secret.from_callable(given) if callable(given) else Secret.of(given)
        object.__setattr__(self, "connection_string", secret)
        if secret.available:
            parse_database(secret)
        check_fields(self)

    @property
    def secret(self) -> Secret:
        """The connection string, to be delivered to workers."""
        secret = self.connection_string
        assert isinstance(secret, Secret)
        return secret

    @property
    def url(self) -> DatabaseUrl:
        """The database that the connection string names now."""
        return parse_database(self.secret)

    def reveal_url(self) -> str:
        """The SQLAlchemy URL with its password."""
        return self.url.reveal()

    def pool_options(self) -> dict[str, Any]:
        """The pool's fields, as SQLAlchemy's `create_engine` takes them."""
        return {name: getattr(self, name) for name in checks_of(SqlConfig)}

    def __repr__(self) -> str:
        return _show(self, connection_string=_shown_database(self.secret))


def database_url(database: str | Secret | SqlConfig | DatabaseUrl) -> DatabaseUrl:
    """The database of a SQLite path, a URL or a SqlConfig."""
    if isinstance(database, DatabaseUrl):
        return database
    return database.url if isinstance(database, SqlConfig) else parse_database(database)


def _shown_database(secret: Secret) -> str:
    return redact(secret.reveal()) if secret.available else HIDDEN


def _show(config: Any, **shown: object) -> str:
    values = {
        f.name: shown.get(f.name, getattr(config, f.name))
        for f in dataclasses.fields(config)
        if f.compare
    }
    return f"{type(config).__name__}({', '.join(f'{k}={v!r}' for k, v in values.items())})"
