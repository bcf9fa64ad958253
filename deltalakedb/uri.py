"""Addresses: of tables (`deltasql://…`), of databases, of table locations; without secrets shown.

A password may hold any character. Percent-encoded ones are decoded once; a raw `@` or `:` is
taken as part of the password.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.redact import HIDDEN, SCHEME, redact, redact_url, userinfo_end
from deltalakedb.secret import Secret

_DIALECTS = {
    "postgresql": ("postgresql", "psycopg2"),
    "postgres": ("postgresql", "psycopg2"),
    "pg": ("postgresql", "psycopg2"),
    "mysql": ("mysql", "pymysql"),
    "mariadb": ("mariadb", "pymysql"),
    "sqlite": ("sqlite", ""),
}
_ASYNC_DRIVERS = frozenset({"asyncpg", "aiosqlite", "aiomysql", "asyncmy"})
_SQLITE_SUFFIXES = ("sqlite", "sqlite3", "db", "db3")
_TABLE_FORM = (
    "Write deltasql://postgresql://user:password@host:5432/database.table, "
    "or deltasql://sqlite:////path/meta.sqlite?table=namespace.table"
)
_DATABASE_FORM = (
    "Write a SQLite path such as /var/lib/meta.sqlite, or "
    "postgresql://user:password@host:5432/database, mysql://… or mariadb://…"
)


@dataclass(frozen=True, repr=False)
class TableUri:
    """A table of a catalog. Shown without the password, pickled without it (see `secret`)."""

    database_secret: Secret
    namespace: str | None
    table: str

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of the catalog, with its password."""
        return self.database_secret.reveal()

    @property
    def name(self) -> str:
        """`table` or `namespace.table`, for people."""
        return self.table if self.namespace is None else f"{self.namespace}.{self.table}"

    def reveal(self) -> str:
        """The address with its password; `parse_table_uri` reads it back to an equal one."""
        return _format_table_uri(self.database, self.namespace, self.table)

    def __repr__(self) -> str:
        database = redact(self.database) if self.database_secret.available else HIDDEN
        return _format_table_uri(database, self.namespace, self.table)


def parse_table_uri(text: str) -> TableUri:
    """The table that a `deltasql://` address names.

    Forms: `deltasql://<database URL>.<[namespace.]table>`, where the database's name ends at
    its first dot, or `deltasql://<database URL>?table=[namespace.]table`, where a dot inside
    a name is written `%2E`. In the first form on SQLite the file's name ends at its suffix
    (`.sqlite`, `.db`, …), or where a file of that name exists. Other query parameters stay
    with the database URL. INVALID_ARGUMENT for anything else.
    """
    if not text.startswith("deltasql://"):
        raise _invalid(f"{redact_url(text)!r} is not a table address. {_TABLE_FORM}.")
    inner = text[len("deltasql://") :]
    scheme = SCHEME.match(inner)
    if scheme is None:
        raise _invalid(f"{redact_url(text)!r} holds no database URL. {_TABLE_FORM}.")
    rest = inner[scheme.end() :]
    # Dots and question marks of a password are no separators: look behind it only.
    behind = userinfo_end(rest) + 1
    path, _, query = rest[behind:].partition("?")
    tables, others = _take_table(query)
    if len(tables) > 1:
        raise _invalid(f"{redact_url(text)!r} names two tables. {_TABLE_FORM}.")
    if tables:
        pieces = tables[0].split(".")
    elif scheme.group(1).lower().partition("+")[0] == "sqlite":
        path, pieces = _split_sqlite(path)
    else:
        directory, slash, name = path.rpartition("/")
        database, *pieces = name.split(".")
        path = directory + slash + database
    if len(pieces) not in (1, 2) or not all(pieces):
        raise _invalid(
            f"{redact_url(text)!r} does not name one table (dots: "
            f"{'.'.join(pieces) or 'no table'}). {_TABLE_FORM}; "
            "a dot inside a name is written %2E after ?table=."
        )
    *namespace, table = (unquote(piece) for piece in pieces)
    database_url = scheme.group(0) + rest[:behind] + path + ("?" + others if others else "")
    return TableUri(
        Secret(parse_database(database_url)), namespace[0] if namespace else None, table
    )


def parse_database(text: str) -> str:
    """A SQLite path or a database URL as SQLAlchemy URL: with a driver, SQLite paths absolute.

    `postgres`, `pg` and `postgresql` get psycopg2, `mysql` and `mariadb` get pymysql, unless
    a driver is named. `sqlite:////a/b` is absolute and `sqlite:///b` relative as in
    SQLAlchemy; only where the relative file's directory does not exist, `sqlite:///a/b` is
    taken as `/a/b`. The result holds the password: keep it in a `Secret`. INVALID_ARGUMENT
    for an unknown or incomplete form.
    """
    match = SCHEME.match(text)
    if match is None:
        return _parse_sqlite_path(text)
    scheme, rest = match.group(1).lower(), text[match.end() :]
    if scheme == "file":
        return _sqlite_url(normalise_location(text), "")
    name, _, driver = scheme.partition("+")
    if name not in _DIALECTS:
        raise _invalid(f"{redact_url(text)!r} is no database that is known. {_DATABASE_FORM}.")
    if driver in _ASYNC_DRIVERS:
        raise _invalid(
            f"{redact_url(text)!r} names the asynchronous driver {driver!r}. Leave '+{driver}' out."
        )
    dialect, default_driver = _DIALECTS[name]
    if dialect == "sqlite":
        return _parse_sqlite_url(text, rest)
    user, host, path, query = _split_server(text, rest)
    if len(path) < 2:
        raise _invalid(f"{redact_url(text)!r} names no database after the host. {_DATABASE_FORM}.")
    return f"{dialect}+{driver or default_driver}://{user}{host}{path}{query}"


def normalise_location(text: str) -> str:
    """The one spelling of a table's location, by which it is unique in a catalog.

    A local path becomes absolute, without `..`, repeated or trailing slashes (links are not
    followed); `~/` at its start is the home directory (many shells leave it in `--log-dir=~/x`),
    all else is literal, so `%20` stays. A `file:` URL becomes its path, percent-decoded
    once. `s3a://` and `s3n://` become `s3://`; keys are literal but for trailing slashes.
    Other schemes keep their text. INVALID_ARGUMENT for an empty text or a file URL of
    another machine.
    """
    if not text or "\0" in text:
        raise _invalid("A location is empty or holds a NUL. Give a path, file:// or s3:// URL.")
    if text[:6].lower() == "file:/":
        rest = text[5:]
        if rest.startswith("//"):
            host, slash, path = rest[2:].partition("/")
            if host not in ("", "localhost"):
                raise _invalid(
                    f"{redact_url(text)!r} is on the machine {host!r}. Write file:///path for a "
                    "path of this one."
                )
            rest = slash + path
        return _absolute(unquote(rest) or "/")
    match = SCHEME.match(text)
    if match is None:
        return _absolute(os.path.expanduser(text) if text.split("/", 1)[0] == "~" else text)
    scheme = match.group(1).lower()
    if scheme in ("s3a", "s3n"):
        scheme = "s3"
    return f"{scheme}://{text[match.end() :].rstrip('/')}"


def _split_server(text: str, rest: str) -> tuple[str, str, str, str]:
    """("user:password@" encoded, "host:port", "/database", "?query") of a server's URL."""
    end = userinfo_end(rest)
    user = ""
    if end >= 0:
        name, colon, password = rest[:end].partition(":")
        user = _encode(name) + (":" + _encode(password) if colon else "") + "@"
    match = re.fullmatch(r"(\[[^\]]*\]|[^:/?]*)(:\d*)?(/[^?]*)?(\?.*)?", rest[end + 1 :], re.S)
    if match is None:
        raise _invalid(
            f"{redact_url(text)!r} has no valid host and port. Percent-encode special characters "
            f"of the password ('/' as %2F, '?' as %3F). {_DATABASE_FORM}."
        )
    host, port, path, query = (group or "" for group in match.groups())
    return user, host + (port if len(port) > 1 else ""), path, query


def _encode(text: str) -> str:
    return quote(unquote(text, errors="surrogateescape"), safe="", errors="surrogateescape")


def _parse_sqlite_path(text: str) -> str:
    if not text or "\0" in text:
        raise _invalid(f"No database is given. {_DATABASE_FORM}.")
    if text == ":memory:":
        return "sqlite://"
    if text.partition(":")[0].partition("+")[0].lower() in _DIALECTS and ":" in text:
        # The text itself stays out: what is no URL cannot be redacted.
        raise _invalid(f"'//' is missing after {text.partition(':')[0]!r}:. {_DATABASE_FORM}.")
    return _sqlite_url(_absolute(os.path.expanduser(text)), "")


def _parse_sqlite_url(text: str, rest: str) -> str:
    path, question, query = rest.partition("?")
    if path in ("", "/", "/:memory:"):
        return "sqlite://" + question + query
    if not path.startswith("/"):
        raise _invalid(
            f"{redact_url(text)!r} has a host, which SQLite does not know. "
            "Write sqlite:////absolute/path or the path alone."
        )
    if path.startswith("/file:"):
        return "sqlite://" + rest
    return _sqlite_url(_sqlite_file(unquote(path[1:])), question + query)


def _sqlite_file(path: str) -> str:
    """The absolute path that `sqlite:///` + `path` means."""
    relative = _absolute(path)
    absolute = _absolute("/" + path)
    if "/" in path and not os.path.isdir(os.path.dirname(relative)):
        # SQLite could not even create the relative file; people who write three slashes
        # before var/lib/meta.sqlite mean /var/lib.
        return absolute
    return relative


def _sqlite_url(path: str, query: str) -> str:
    escaped = path.replace("%", "%25").replace("?", "%3F")
    return f"sqlite:///{escaped}{query}"


def _absolute(path: str) -> str:
    absolute = os.path.abspath(path)
    # POSIX lets exactly two leading slashes mean something else, so abspath keeps them.
    return "/" + absolute.lstrip("/")


def _split_sqlite(path: str) -> tuple[str, list[str]]:
    """`/dir/file.[ns.]table` of a SQLite URL as its file and the table's dotted pieces."""
    directory, slash, name = path.rpartition("/")
    pieces = name.split(".")
    cuts = [cut for cut in (len(pieces) - 1, len(pieces) - 2) if cut >= 1]
    with_suffix = [cut for cut in cuts if cut > 1 and pieces[cut - 1].lower() in _SQLITE_SUFFIXES]
    files = {cut: directory + slash + ".".join(pieces[:cut]) for cut in cuts}
    for cut in [*with_suffix, *cuts]:
        if os.path.isfile(_sqlite_file(unquote(files[cut][1:]))):
            return files[cut], pieces[cut:]
    # `/dir/meta.sqlite` lacks a table, rather than naming the table `sqlite` of `/dir/meta`.
    likely = with_suffix if pieces[-1].lower() in _SQLITE_SUFFIXES else [*with_suffix, *cuts]
    return (files[likely[0]], pieces[likely[0] :]) if likely else (path, [])


def _take_table(query: str) -> tuple[list[str], str]:
    """The values of `table=` in a query, and the query without them (both as written)."""
    tables: list[str] = []
    others: list[str] = []
    for parameter in filter(None, query.split("&")):
        name, equals, value = parameter.partition("=")
        if name == "table" and equals:
            tables.append(value)
        else:
            others.append(parameter)
    return tables, "&".join(others)


def _format_table_uri(database: str, namespace: str | None, table: str) -> str:
    names = [table] if namespace is None else [namespace, table]
    # quote() leaves dots alone; inside a name they would read as separators.
    value = ".".join(quote(name, safe="").replace(".", "%2E") for name in names)
    return f"deltasql://{database}{'&' if '?' in database else '?'}table={value}"


def _invalid(message: str) -> DeltaLakeError:
    return DeltaLakeError(DeltaLakeErrorKind.INVALID_ARGUMENT, message)
