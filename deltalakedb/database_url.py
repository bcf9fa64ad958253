"""A database's address as a value: taken apart once, and put together by each driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import cached_property
from typing import NoReturn
from urllib.parse import quote

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.record import record
from deltalakedb.redact import redact
from deltalakedb.secret import Secret

DRIVERS = {"postgresql": "psycopg2", "mysql": "pymysql", "mariadb": "pymysql", "sqlite": "pysqlite"}
"""The driver that reads and writes each database; loads of PostgreSQL go over ADBC."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPTIONS: Mapping[str, frozenset[str]] = {
    "postgresql": _names(
        "host hostaddr port passfile service options application_name fallback_application_name "
        "connect_timeout tcp_user_timeout keepalives keepalives_idle keepalives_interval "
        "keepalives_count target_session_attrs load_balance_hosts channel_binding require_auth "
        "sslmode sslnegotiation sslcert sslkey sslpassword sslcertmode sslrootcert sslcrl "
        "sslcrldir sslsni sslcompression ssl_min_protocol_version ssl_max_protocol_version "
        "gssencmode krbsrvname client_encoding charset"
    ),
    "mysql": _names(
        "connect_timeout read_timeout write_timeout unix_socket bind_address program_name "
        "ssl_ca ssl_cert ssl_key ssl_key_password ssl_verify_cert ssl_verify_identity "
        "ssl_disabled max_allowed_packet read_default_file read_default_group charset"
    ),
    "sqlite": _names("timeout"),
}
"""What may stand behind the question mark: libpq's names, pymysql's, ours for SQLite."""

_ENCODINGS = frozenset({"client_encoding", "charset"})
_UTF8 = frozenset({"utf8", "utf-8", "utf8mb4", "unicode"})


@record(frozen=True, repr=False)
class DatabaseUrl:
    """Where a catalog's database is, and as whom it is reached.

    `dialect`: postgresql, mysql, mariadb or sqlite. `hosts`: of a server, several for libpq's
    failover, none where an option or the driver's default names it; a port is None when it isn't
    given. `name`: of the database; SQLite's absolute path, "" in memory. `options`: decoded, in
    order. `source`: the secret that was parsed, when its value may be another one later.
    """

    dialect: str
    name: str
    user: str | None = None
    password: Secret | None = None
    hosts: tuple[tuple[str, int | None], ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    source: Secret | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        known = OPTIONS["mysql" if self.dialect == "mariadb" else self.dialect]
        for option, value in self.options:
            if option not in known:
                self._refuse(option, known)
            if option in _ENCODINGS and value.lower() not in _UTF8:
                raise _invalid(
                    f"{self}: {option}={value} can't be chosen. Text is UTF-8; leave it out."
                )
        if len(self.hosts) > 1 and self.dialect != "postgresql":
            raise _invalid(
                f"{self} names {len(self.hosts)} hosts, of which its driver takes one. Several "
                "are for PostgreSQL."
            )

    def _refuse(self, option: str, known: frozenset[str]) -> NoReturn:
        import difflib

        near = difflib.get_close_matches(option, known, 1)
        hint = f"write {near[0]}=" if near else f"known are {', '.join(sorted(known))}"
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{self} has the option {option!r}, which {self.dialect} doesn't know; {hint}",
            option=option,
        )

    @cached_property
    def driver_options(self) -> dict[str, str]:
        """`options` as the driver is to have them: without the encoding, which is ours."""
        return {name: value for name, value in self.options if name not in _ENCODINGS}

    @property
    def secret(self) -> Secret:
        """The whole URL, to be delivered to workers."""
        return self.source if self.source is not None else Secret(self.reveal())

    def reveal(self) -> str:
        """The SQLAlchemy URL with its password; `uri.parse_database` reads it back."""
        driver = "" if self.dialect == "sqlite" else f"+{DRIVERS[self.dialect]}"
        return self.render(f"{self.dialect}{driver}", dict(self.options))

    def render(self, scheme: str, options: Mapping[str, str]) -> str:
        """The URL with another scheme and other options, with its password."""
        query = "&".join(f"{name}={quote(value, safe='/:,.')}" for name, value in options.items())
        query = query and "?" + query
        if self.dialect == "sqlite":
            path = self.name.replace("%", "%25").replace("?", "%3F")
            return f"{scheme}://{'/' + path if path else ''}{query}"
        user = "" if self.user is None else _encode(self.user)
        if self.password is not None:
            user += ":" + _encode(self.password.reveal())
        given = self.user is not None or self.password is not None
        hosts = ",".join(h if p is None else f"{h}:{p}" for h, p in self.hosts)
        name = quote(self.name, safe="", errors="surrogateescape")
        return f"{scheme}://{user}{'@' if given else ''}{hosts}/{name}{query}"

    def __repr__(self) -> str:
        return redact(self.reveal())

    def __reduce__(self) -> NoReturn:
        raise TypeError("a DatabaseUrl holds a password, so it isn't pickled; hand on its secret")


def _encode(text: str) -> str:
    return quote(text, safe="", errors="surrogateescape")


def _invalid(message: str) -> DeltaLakeError:
    return DeltaLakeError(DeltaLakeErrorKind.INVALID_ARGUMENT, message)
