"""`ConfigLoader`, `ConfigFactory`: configurations, and what is made of their sections."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from deltalakedb.config.checks import invalid, read_section
from deltalakedb.config.known import SECTIONS, settings_of
from deltalakedb.config.loading import Section, load_configuration
from deltalakedb.config.reading import AsyncTaskConfig, CacheConfig, LazyLoadingConfig
from deltalakedb.config.sections import PerformanceSettings, Settings
from deltalakedb.config.sql import SqlConfig
from deltalakedb.secret import Secret


class ConfigFactory:
    """Typed settings from sections of a configuration.

    CONFIGURATION_ERROR, naming the setting, for unknown keys and values of a wrong kind.
    """

    @staticmethod
    def create_sql_config(database: Mapping[str, Any]) -> SqlConfig:
        """From the section `database`: `url` (or `connection_string`) and the pool's fields.

        Without a URL the environment's DL_DATABASE counts (that of the workers, on workers), then
        the file that DL_DATABASE_FILE names. One of a loaded configuration knows its other
        sections, as `settings`. CONFIGURATION_ERROR when there is no URL at all.
        """
        values = read_section("database", database, SECTIONS["database"])
        if "url" in values and "connection_string" in values:
            raise invalid(
                "database.url and database.connection_string mean the same; give one of them"
            )
        url = values.pop("url", values.pop("connection_string", None))
        if url is None:
            url = database_of_environment()
        if not isinstance(url, (str, Secret)) or not url:
            raise invalid(
                "the configuration names no database: database.url is missing or no text; set it "
                "to a SQLite path or a URL such as postgresql://user:password@host/database, or "
                "set DL_DATABASE or DL_DATABASE_FILE"
            )
        settings = database.settings if isinstance(database, Section) else None
        return SqlConfig(connection_string=url, settings=settings, **values)

    @staticmethod
    def create_cache_config(performance: Mapping[str, Any]) -> CacheConfig | None:
        """From the section `performance`: `enable_caching` (None is returned when false) and
        `cache_size`, the number of entries.
        """
        return _performance(performance).cache

    @staticmethod
    def create_lazy_loading_config(performance: Mapping[str, Any]) -> LazyLoadingConfig:
        """From the section `performance`: `lazy_loading` (false: EAGER) and `chunk_size`."""
        return _performance(performance).lazy

    @staticmethod
    def create_async_config(performance: Mapping[str, Any]) -> AsyncTaskConfig:
        """From the section `performance`: `max_concurrent_tasks`, one where `async_io` is false."""
        return _performance(performance).asynchronous

    @staticmethod
    def create_settings(config: Mapping[str, Any]) -> Settings:
        """Of a whole configuration: a loaded one, or a mapping of sections."""
        if isinstance(config, Section) and config.settings is not None:
            return config.settings
        return settings_of(config)


class ConfigLoader:
    """Reads configuration files."""

    @staticmethod
    def load_yaml_config(path: str | os.PathLike[str]) -> dict[str, Any]:
        """The sections of a YAML file, as the environment overrides them.

        `${NAME}` stands for a variable of the environment, `${NAME:-default}` has a default,
        `${file:/a/path}` is a file's content, and `$${NAME}` the text `${NAME}`.
        `DL_SECTION__KEY=value` in the environment sets `section.key` whatever the file says.

        CONFIGURATION_ERROR for a missing or unreadable file, bad YAML or a key that stands twice
        (with line and column), something else than a mapping of sections, a section or key that
        isn't known (with the nearest one), a value of a wrong kind, a variable that is not set.
        """
        return load_configuration(path).sections

    @staticmethod
    def load_mapping(config: Mapping[str, Any]) -> dict[str, Any]:
        """As `load_yaml_config`, of sections that a program has made."""
        return load_configuration(sections=config).sections


def database_of_environment() -> str | Secret | None:
    """The database that DL_DATABASE names, or the content of the file DL_DATABASE_FILE."""
    if os.environ.get("DL_DATABASE"):
        return Secret.from_environment("DL_DATABASE")
    file = os.environ.get("DL_DATABASE_FILE")
    if not file:
        return None
    try:
        with open(file, encoding="utf-8") as stream:
            return stream.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise invalid(
            f"DL_DATABASE_FILE names {file!r}, which can't be read: "
            f"{getattr(error, 'strerror', None) or 'it is no text'}; correct it"
        ) from None


def _performance(section: Mapping[str, Any]) -> PerformanceSettings:
    return PerformanceSettings(**read_section("performance", section, SECTIONS["performance"]))
