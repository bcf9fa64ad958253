"""A YAML file with `${VARIABLES}`, and the typed settings that are made of its sections."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deltalakedb.config.checks import (
    anything,
    checks_of,
    invalid,
    kind_of,
    read_section,
    truth,
    whole,
)
from deltalakedb.config.reading import CacheConfig, LazyLoadingConfig, LoadingStrategy
from deltalakedb.config.sql import SqlConfig
from deltalakedb.redact import redact
from deltalakedb.secret import Secret

KNOWN_SECTIONS = frozenset(
    {"database", "migration", "performance", "logging", "monitoring", "tables"}
)
_DATABASE = {**checks_of(SqlConfig), "url": anything, "connection_string": anything}
_PERFORMANCE = {
    "enable_caching": truth,
    "cache_size": whole(1),
    "lazy_loading": truth,
    "chunk_size": whole(1),
    "async_io": truth,
    "max_concurrent_tasks": whole(1),
}
_VARIABLE = re.compile(r"\$(\$)?\{([^}]*)\}")


class ConfigFactory:
    """Typed settings from sections of a configuration file.

    CONFIGURATION_ERROR, naming the setting, for unknown keys and values of a wrong kind.
    """

    @staticmethod
    def create_sql_config(database: Mapping[str, Any]) -> SqlConfig:
        """From the section `database`: `url` (or `connection_string`) and the pool's fields.

        Without a URL the environment's DL_DATABASE counts (that of the workers, on workers).
        CONFIGURATION_ERROR when there is no URL at all.
        """
        values = read_section("database", database, _DATABASE)
        if "url" in values and "connection_string" in values:
            raise invalid(
                "database.url and database.connection_string mean the same; give one of them"
            )
        url = values.pop("url", values.pop("connection_string", None))
        if url is None and os.environ.get("DL_DATABASE"):
            url = Secret.from_environment("DL_DATABASE")
        if not isinstance(url, (str, Secret)) or not url:
            raise invalid(
                "the configuration names no database: database.url is missing or no text; set it "
                "to a SQLite path or a URL such as postgresql://user:password@host/database, or "
                "set DL_DATABASE"
            )
        return SqlConfig(connection_string=url, **values)

    @staticmethod
    def create_cache_config(performance: Mapping[str, Any]) -> CacheConfig | None:
        """From the section `performance`: `enable_caching` (None is returned when false) and
        `cache_size`, the number of entries. Its other keys are for other parts.
        """
        values = read_section("performance", performance, _PERFORMANCE)
        if not values.get("enable_caching", True):
            return None
        return (
            CacheConfig(max_size=values["cache_size"]) if "cache_size" in values else CacheConfig()
        )

    @staticmethod
    def create_lazy_loading_config(performance: Mapping[str, Any]) -> LazyLoadingConfig:
        """From the section `performance`: `lazy_loading` (false: EAGER) and `chunk_size`."""
        values = read_section("performance", performance, _PERFORMANCE)
        lazy = values.get("lazy_loading", True)
        strategy = LoadingStrategy.LAZY if lazy else LoadingStrategy.EAGER
        if "chunk_size" not in values:
            return LazyLoadingConfig(strategy)
        return LazyLoadingConfig(strategy, chunk_size=values["chunk_size"])


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
            raise invalid(
                f"{shown!r} holds {kind_of(config)} where sections are expected, such as "
                "'database:' with 'url:' below it"
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
        raise invalid(f"configuration file {path!r} does not exist; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise invalid(f"configuration file {path!r} could not be read: {error}") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        # Not the whole error: it quotes the line, which may hold a password.
        problem = getattr(error, "problem", None) or "unreadable character"
        facts = {"line": mark.line + 1, "column": mark.column + 1} if mark else {}
        raise invalid(
            f"{path!r}{where}: not valid YAML: {problem}; correct that line", **facts
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
            raise invalid(
                f"{path!r}: {where} refers to the environment variable {name!r}, which is not "
                "set; set it, or write $${...} for the text itself"
            )
        return found

    return _VARIABLE.sub(replace, value)
