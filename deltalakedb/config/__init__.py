"""Settings: of the database, of reading, and of files that hold them."""

from deltalakedb.config.file import ConfigFactory, ConfigLoader
from deltalakedb.config.reading import (
    AsyncTaskConfig,
    CacheConfig,
    EvictionPolicy,
    LazyLoadingConfig,
    LoadingStrategy,
)
from deltalakedb.config.sections import (
    LoggingSettings,
    LogLevel,
    MigrationSettings,
    MigrationStrategy,
    MonitoringSettings,
    PerformanceSettings,
    Settings,
)
from deltalakedb.config.sql import SqlConfig, database_url

__all__ = [
    "AsyncTaskConfig",
    "CacheConfig",
    "ConfigFactory",
    "ConfigLoader",
    "EvictionPolicy",
    "LazyLoadingConfig",
    "LoadingStrategy",
    "LogLevel",
    "LoggingSettings",
    "MigrationSettings",
    "MigrationStrategy",
    "MonitoringSettings",
    "PerformanceSettings",
    "Settings",
    "SqlConfig",
    "database_url",
]
