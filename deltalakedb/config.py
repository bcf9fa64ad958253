"""Settings: a YAML file with `${VARIABLES}`, and the typed parts that are made of it."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import warnings
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, cast

from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.redact import HIDDEN, redact
from deltalakedb.secret import Secret
from deltalakedb.uri import parse_database

E = TypeVar("E", bound=Enum)

KNOWN_SECTIONS = frozenset({"database", "migration", "performance", "logging", "monitoring"})
_POOL = ("pool_size", "max_overflow", "pool_timeout", "pool_recycle", "echo")
_PERFORMANCE = frozenset(
    {
        *("enable_caching", "cache_size", "lazy_loading", "chunk_size"),
        *("async_io", "max_concurrent_tasks"),
    }
)
_VARIABLE = re.compile(r"\$(\$)?\{([^}]*)\}")


class EvictionPolicy(Enum):
    """Which entry leaves a full cache: least recently used, least often used, oldest."""

    LRU = "lru"
    LFU = "lfu"
    FIFO = "fifo"


class LoadingStrategy(Enum):
    """How a table's file list is read: at once, when asked for, by pages, as a stream."""

    EAGER = "eager"
    LAZY = "lazy"
    PAGINATED = "paginated"
    STREAMING = "streaming"


@dataclass(frozen=True, repr=False)
class SqlConfig:
    """A catalog's database and the pool of connections to it.

    `connection_string` is given as text (a SQLite path or a URL, see `uri.parse_database`),
    as a Secret, or as a function that returns the text and is asked anew for each connection
    (for passwords that change); it is held as a Secret. `pool_timeout` and `pool_recycle` are
    seconds (-1: never recycle); `max_overflow` -1 is without limit; `echo` logs the SQL. The pool
    serves `SqlConnection`, `import_table` and `diff_table`; tables that are only read share one
    connection a process.
    """

    connection_string: str | Secret | Callable[[], str]
    pool_size: int = 5
    max_overflow: int = 10
    pool_timeout: float = 30.0
    pool_recycle: int = 3600
    echo: bool = False

    def __post_init__(self) -> None:
        given = self.connection_string
        secret = Secret.from_callable(given) if callable(given) else Secret.of(given)
        object.__setattr__(self, "connection_string", secret)
        if secret.available:
            parse_database(secret)
        _require_integer("pool_size", self.pool_size, 1)
        _require_integer("max_overflow", self.max_overflow, -1)
        _require_number("pool_timeout", self.pool_timeout)
        _require_integer("pool_recycle", self.pool_recycle, -1)
        _require_boolean("echo", self.echo)

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
        return {name: getattr(self, name) for name in _POOL}

    def __repr__(self) -> str:
        return _show(self, connection_string=_shown_database(self.secret))


def database_url(database: str | Secret | SqlConfig | DatabaseUrl) -> DatabaseUrl:
    """The database of a SQLite path, a URL or a SqlConfig."""
    if isinstance(database, DatabaseUrl):
        return database
    return database.url if isinstance(database, SqlConfig) else parse_database(database)


@dataclass(frozen=True)
class CacheConfig:
    """Bounds of the local cache of file lists.

    At most `max_size` entries and `max_bytes` bytes in `directory` (None: the user's cache
    directory); an entry older than `ttl_seconds` (None: no limit) is not used.
    """

    max_size: int = 1000
    max_bytes: int = 1 << 30
    eviction_policy: EvictionPolicy = EvictionPolicy.LRU
    ttl_seconds: float | None = None
    directory: str | None = None

    def __post_init__(self) -> None:
        _require_integer("max_size", self.max_size, 1)
        _require_integer("max_bytes", self.max_bytes, 1)
        _set_choice(self, "eviction_policy", EvictionPolicy)
        if self.ttl_seconds is not None:
            _require_number("ttl_seconds", self.ttl_seconds)
        if self.directory is not None:
            if not isinstance(self.directory, (str, os.PathLike)) or not str(self.directory):
                raise _wrong("directory", "a path", self.directory)
            object.__setattr__(self, "directory", os.path.expanduser(self.directory))


@dataclass(frozen=True)
class LazyLoadingConfig:
    """How file lists are read: `chunk_size` files a page, at most `cache_size` pages kept."""

    default_strategy: LoadingStrategy = LoadingStrategy.LAZY
    chunk_size: int = 1000
    cache_size: int = 100

    def __post_init__(self) -> None:
        _set_choice(self, "default_strategy", LoadingStrategy)
        _require_integer("chunk_size", self.chunk_size, 1)
        _require_integer("cache_size", self.cache_size, 0)


class ConfigFactory:
    """Typed settings from sections of a configuration file."""

    @staticmethod
    def create_sql_config(database: Mapping[str, Any]) -> SqlConfig:
        """From the section `database`: `url` (or `connection_string`) and the pool's fields.

        Without a URL the environment's DL_DATABASE counts (that of the workers, on workers).
        CONFIGURATION_ERROR for an unknown key, a value of a wrong kind, or when there is no URL
        at all.
        """
        section = _mapping("database", database)
        names = {field.name for field in dataclasses.fields(SqlConfig)} | {"url"}
        _refuse_unknown("database", section, names)
        if "url" in section and "connection_string" in section:
            raise _invalid(
                "database.url and database.connection_string mean the same. Give one of them."
            )
        values = {key: value for key, value in section.items() if key != "url"}
        url = section.get("url", section.get("connection_string"))
        if url is None and os.environ.get("DL_DATABASE"):
            url = Secret.from_environment("DL_DATABASE")
        if not isinstance(url, (str, Secret)) or not url:
            raise _invalid(
                "The configuration names no database: database.url is missing or no text. Set "
                "it to a SQLite path or a URL such as postgresql://user:password@host/database, "
                "or set DL_DATABASE."
            )
        values["connection_string"] = url
        return SqlConfig(**values)

    @staticmethod
    def create_cache_config(performance: Mapping[str, Any]) -> CacheConfig | None:
        """From the section `performance`: `enable_caching` (None is returned when false) and
        `cache_size`, the number of entries. Its other keys are for other parts.
        """
        section = _performance(performance)
        enabled = section.get("enable_caching", True)
        _require_boolean("performance.enable_caching", enabled)
        if not enabled:
            return None
        if "cache_size" not in section:
            return CacheConfig()
        _require_integer("performance.cache_size", section["cache_size"], 1)
        return CacheConfig(max_size=section["cache_size"])

    @staticmethod
    def create_lazy_loading_config(performance: Mapping[str, Any]) -> LazyLoadingConfig:
        """From the section `performance`: `lazy_loading` (false: EAGER) and `chunk_size`."""
        section = _performance(performance)
        lazy = section.get("lazy_loading", True)
        _require_boolean("performance.lazy_loading", lazy)
        strategy = LoadingStrategy.LAZY if lazy else LoadingStrategy.EAGER
        if "chunk_size" not in section:
            return LazyLoadingConfig(strategy)
        _require_integer("performance.chunk_size", section["chunk_size"], 1)
        return LazyLoadingConfig(strategy, chunk_size=section["chunk_size"])


class Section(dict[str, Any]):
    """A mapping of the configuration that prints without its passwords."""

    def __repr__(self) -> str:
        return redact(dict.__repr__(self))


class ConfigLoader:
    """Reads configuration files."""

    @staticmethod
    def load_yaml_config(path: str | os.PathLike[str]) -> dict[str, Any]:
        """The sections of a YAML file, with `${NAME}` replaced by environment variables.

        `$${NAME}` stands for the text `${NAME}`. Unknown sections are kept and warned of.
        CONFIGURATION_ERROR for a missing or unreadable file, bad YAML (with line and column),
        something else than a mapping of sections, or a variable that is not set.
        """
        shown = os.fspath(path)
        config = _substitute(_read_yaml(shown), shown, "")
        if not isinstance(config, Section):
            raise _invalid(
                f"{shown!r} holds {_kind_of(config)} where sections are expected, such as "
                "'database:' with 'url:' below it."
            )
        unknown = sorted(str(name) for name in config if name not in KNOWN_SECTIONS)
        if unknown:
            warnings.warn(
                f"{shown!r} has sections that nothing reads: {', '.join(unknown)}. "
                f"Known are {', '.join(sorted(KNOWN_SECTIONS))}.",
                stacklevel=2,
            )
        return config


def _read_yaml(path: str) -> object:
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _invalid(f"Configuration file {path!r} does not exist. Check the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(f"Configuration file {path!r} could not be read: {error}.") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        # Not the whole error: it quotes the line, which may hold a password.
        problem = getattr(error, "problem", None) or "unreadable character"
        facts = {"line": mark.line + 1, "column": mark.column + 1} if mark else {}
        raise _invalid(
            f"{path!r}{where}: not valid YAML: {redact(problem)}. Correct that line.", **facts
        ) from None


def _substitute(value: object, path: str, where: str) -> object:
    if isinstance(value, dict):
        return Section(
            {
                key: _substitute(each, path, f"{where}.{key}" if where else str(key))
                for key, each in value.items()
            }
        )
    if isinstance(value, list):
        return [_substitute(each, path, f"{where}[{i}]") for i, each in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        escaped, name = match.groups()
        if escaped:
            return match.group(0)[1:]
        found = os.environ.get(name)
        if found is None:
            raise _invalid(
                f"{path!r}: {where} refers to the environment variable {name!r}, which is not "
                "set. Set it, or write $${...} for the text itself."
            )
        return found

    return _VARIABLE.sub(replace, value)


def _mapping(name: str, section: object) -> Mapping[str, Any]:
    if not isinstance(section, Mapping):
        raise _invalid(
            f"The section {name!r} is {_kind_of(section)}; it has to be a mapping of settings."
        )
    return cast("Mapping[str, Any]", section)


def _performance(section: object) -> Mapping[str, Any]:
    found = _mapping("performance", section)
    _refuse_unknown("performance", found, _PERFORMANCE)
    return found


def _refuse_unknown(section: str, given: Mapping[str, Any], names: Set[str]) -> None:
    for name in given:
        if name in names:
            continue
        close = difflib.get_close_matches(str(name), names, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(sorted(names))}."
        raise _invalid(f"{section}.{name} is not a setting. {hint}")


def _require_integer(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _wrong(name, f"a whole number of at least {least}", value)


def _require_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e12:
        raise _wrong(name, "a positive number of seconds", value)


def _require_boolean(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise _wrong(name, "true or false", value)


def _set_choice(config: object, name: str, choices: type[E]) -> None:
    """Accept the enum's value in any case, as configuration files hold text."""
    value = getattr(config, name)
    if isinstance(value, str):
        value = next((each for each in choices if each.value == value.lower()), value)
    if not isinstance(value, choices):
        known = ", ".join(str(each.value) for each in choices)
        raise _wrong(name, f"one of {known}", value)
    object.__setattr__(config, name, value)


def _wrong(name: str, wanted: str, value: object) -> DeltaLakeError:
    return _invalid(f"{name} has to be {wanted}, not {redact(repr(value))}.")


def _kind_of(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _shown_database(secret: Secret) -> str:
    return redact(secret.reveal()) if secret.available else HIDDEN


def _show(config: Any, **shown: object) -> str:
    values = {
        f.name: shown.get(f.name, getattr(config, f.name)) for f in dataclasses.fields(config)
    }
    return f"{type(config).__name__}({', '.join(f'{k}={v!r}' for k, v in values.items())})"


def _invalid(message: str, **facts: Any) -> DeltaLakeError:
    return DeltaLakeError(DeltaLakeErrorKind.CONFIGURATION_ERROR, message, **facts)
