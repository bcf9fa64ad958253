"""Addresses: of tables (`deltasql://…`), of databases, of table locations; without secrets shown.

A password may hold any character. Percent-encoded ones are decoded once; a raw `@` or `:` is
taken as part of the password.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from urllib.parse import quote, unquote

from deltalakedb.database_url import DRIVERS, DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.record import record
from deltalakedb.redact import HIDDEN, SCHEME, redact_url, userinfo_end
from deltalakedb.secret import Secret

_DIALECTS = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "pg": "postgresql",
    "mysql": "mysql",
    "mariadb": "mariadb",
    "sqlite": "sqlite",
}
_SQLITE_SUFFIXES = ("sqlite", "sqlite3", "db", "db3")
_TABLE_FORM = (
    "Write deltasql://postgresql://user:password@host:5432/database.table, "
    "or deltasql://sqlite:////path/meta.sqlite?table=namespace.table"
)
_DATABASE_FORM = (
    "Write a SQLite path such as /var/lib/meta.sqlite, or "
    "postgresql://user:password@host:5432/database, mysql://… or mariadb://…"
)


@record(frozen=True, repr=False)
class TableUri:
    """A table of a catalog. Shown without the password, pickled without it (see `secret`)."""

    database_secret: Secret
    namespace: str | None
    table: str

    @property
    def database(self) -> DatabaseUrl:
        """The catalog's database."""
        return parse_database(self.database_secret)

    @property
    def name(self) -> str:
        """`table` or `namespace.table`, for people."""
        return self.table if self.namespace is None else f"{self.namespace}.{self.table}"

    def reveal(self) -> str:
        """The address with its password; `parse_table_uri` reads it back to an equal one."""
        return _format_table_uri(self.database.reveal(), self.namespace, self.table)

    def __repr__(self) -> str:
        database = repr(self.database) if self.database_secret.available else HIDDEN
        return _format_table_uri(database, self.namespace, self.table)


def _text(given: object, what: str) -> str:
    """What a caller gave for an address or place: a text, or a path of `pathlib`."""
    if isinstance(given, os.PathLike):
        given = os.fspath(given)
    if not isinstance(given, str):
        raise _invalid(f"{what} can't be a {type(given).__name__}; give a text, or a pathlib.Path")
    return given


def parse_table_uri(text: str) -> TableUri:
    """The table that a `deltasql://` address names.

    Forms: `deltasql://<database URL>.<[namespace.]table>`, where the database's name ends at
    its first dot, or `deltasql://<database URL>?table=[namespace.]table`, where a dot inside
    a name is written `%2E`. In the first form on SQLite the file's name ends at its suffix
    (`.sqlite`, `.db`, …), or where a file of that name exists. Other query parameters stay
    with the database URL. INVALID_ARGUMENT for anything else.
    """
    text = _text(text, "a table's address")
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
    return TableUri(parse_database(database_url).secret, namespace[0] if namespace else None, table)


def parse_database(database: str | os.PathLike[str] | Secret) -> DatabaseUrl:
    """A SQLite path or a database URL, taken apart; SQLite paths become absolute.

    `postgres`, `pg` and `postgresql` are the same, and may have several hosts (`h1:1,h2:2`).
    A driver need not be named, and only the one that is used can be. `sqlite:////a/b` is
    absolute and `sqlite:///b` relative as in SQLAlchemy; only where the relative file's
    directory does not exist, `sqlite:///a/b` is taken as `/a/b`. A Secret whose value may
    change (`Secret.renewable`) stays the URL's source. INVALID_ARGUMENT for an unknown or
    incomplete form, driver or option.
    """
    if isinstance(database, Secret):
        parsed = _parse_database(database.reveal())
        return replace(parsed, source=database if database.renewable else None)
    return _parse_database(_text(database, "a database"))


def renewed(url: DatabaseUrl) -> DatabaseUrl:
    """The URL as its source says now: a password may have been changed meanwhile."""
    return url if url.source is None else parse_database(url.source)


def _parse_database(text: str) -> DatabaseUrl:
    match = SCHEME.match(text)
    if match is None:
        return _parse_sqlite_path(text)
    scheme, rest = match.group(1).lower(), text[match.end() :]
    if scheme == "file":
        return DatabaseUrl("sqlite", normalise_location(text))
    name, _, driver = scheme.partition("+")
    if name not in _DIALECTS:
        raise _invalid(f"{redact_url(text)!r} is no database that is known. {_DATABASE_FORM}.")
    dialect = _DIALECTS[name]
    if driver and driver != DRIVERS[dialect]:
        raise _invalid(
            f"{redact_url(text)!r} names the driver {driver!r}; {dialect} is used over "
            f"{DRIVERS[dialect]}. Leave '+{driver}' out."
        )
    if dialect == "sqlite":
        return _parse_sqlite_url(text, rest)
    return _parse_server_url(text, dialect, rest)


def normalise_location(text: str | os.PathLike[str]) -> str:
    """The one spelling of a table's location, by which it is unique in a catalog.

    A local path becomes absolute, without `..`, repeated or trailing slashes (links are not
    followed); `~/` at its start is the home directory (many shells leave it in `--log-dir=~/x`),
    all else is literal, so `%20` stays. A `file:` URL becomes its path, percent-decoded
    once. `s3a://` and `s3n://` become `s3://`; keys are literal but for trailing slashes.
    Other schemes keep their text. INVALID_ARGUMENT for an empty text or a file URL of
    another machine.
    """
    text = _text(text, "a location")
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


def _parse_server_url(text: str, dialect: str, rest: str) -> DatabaseUrl:
    end = userinfo_end(rest)
    user, password = None, None
    if end >= 0:
        name, colon, word = rest[:end].partition(":")
        user = _decode(name)
        password = Secret(_decode(word)) if colon else None
    match = _SERVER.fullmatch(rest[end + 1 :])
    if match is None:
        raise _invalid(
            f"{redact_url(text)!r} has no valid host and port. Percent-encode special characters "
            f"of the password ('/' as %2F, '?' as %3F). {_DATABASE_FORM}."
        )
    hosts, path, query = (group or "" for group in match.groups())
    if len(path) < 2:
        raise _invalid(f"{redact_url(text)!r} names no database after the host. {_DATABASE_FORM}.")
    options = []
    for option, value in _options(query):
        # libpq takes them there as well, and nothing else is to look in two places.
        if dialect == "postgresql" and option == "user":
            user = value
        elif dialect == "postgresql" and option == "password":
            password = Secret(value)
        else:
            options.append((option, value))
    return DatabaseUrl(dialect, _decode(path[1:]), user, password, _hosts(hosts), tuple(options))


_HOST = r"(?:\[[^\]]*\]|[^:/?,]*)(?::\d*)?"
_SERVER = re.compile(rf"({_HOST}(?:,{_HOST})*)(/[^?]*)?(\?.*)?", re.S)


def _hosts(text: str) -> tuple[tuple[str, int | None], ...]:
    found = []
    for piece in text.split(",") if text else []:
        host, _, port = piece.rpartition(":") if re.search(r":\d*$", piece) else (piece, "", "")
        found.append((unquote(host), int(port) if port else None))
    return tuple(found)


def _options(query: str) -> list[tuple[str, str]]:
    """The decoded parameters of `?name=value&…`."""
    pairs = (piece.partition("=") for piece in query.removeprefix("?").split("&") if piece)
    return [(_decode(name), _decode(value)) for name, _, value in pairs]


def _decode(text: str) -> str:
    return unquote(text, errors="surrogateescape")


def _parse_sqlite_path(text: str) -> DatabaseUrl:
    if not text or "\0" in text:
        raise _invalid(f"No database is given. {_DATABASE_FORM}.")
    if text == ":memory:":
        return DatabaseUrl("sqlite", "")
    if text.partition(":")[0].partition("+")[0].lower() in _DIALECTS and ":" in text:
        # The text itself stays out: what is no URL cannot be redacted.
        raise _invalid(f"'//' is missing after {text.partition(':')[0]!r}:. {_DATABASE_FORM}.")
    return DatabaseUrl("sqlite", _absolute(os.path.expanduser(text)))


def _parse_sqlite_url(text: str, rest: str) -> DatabaseUrl:
    path, _, query = rest.partition("?")
    if path in ("", "/", "/:memory:"):
        return DatabaseUrl("sqlite", "", options=tuple(_options(query)))
    if not path.startswith("/"):
        raise _invalid(
            f"{redact_url(text)!r} has a host, which SQLite does not know. "
            "Write sqlite:////absolute/path or the path alone."
        )
    if path.startswith("/file:"):
        raise _invalid(
            f"{redact_url(text)!r} is SQLite's URI form. Write sqlite:////absolute/path or the "
            "path alone."
        )
    name = _sqlite_file(unquote(path[1:]))
    return DatabaseUrl("sqlite", name, options=tuple(_options(query)))


def _sqlite_file(path: str) -> str:
    """The absolute path that `sqlite:///` + `path` means."""
    relative = _absolute(path)
    absolute = _absolute("/" + path)
    if "/" in path and not os.path.isdir(os.path.dirname(relative)):
        # SQLite could not even create the relative file; people who write three slashes
        # before var/lib/meta.sqlite mean /var/lib.
        return absolute
    return relative


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


def table_uri(database: str, reference: str) -> str:
    """The address of a table by `name` or `namespace.name` in a database as users write it."""
    namespace, _, name = reference.rpartition(".")
    return _format_table_uri(parse_database(database).reveal(), namespace or None, name)


def _format_table_uri(database: str, namespace: str | None, table: str) -> str:
    names = [table] if namespace is None else [namespace, table]
    # quote() leaves dots alone; inside a name they would read as separators.
    value = ".".join(quote(name, safe="").replace(".", "%2E") for name in names)
    return f"deltasql://{database}{'&' if '?' in database else '?'}table={value}"


def _invalid(message: str) -> DeltaLakeError:
    return DeltaLakeError(DeltaLakeErrorKind.INVALID_ARGUMENT, message)
