"""Settings: of the database, of reading, and of files that hold them."""

from deltalakedb.config.file import ConfigFactory, ConfigLoader
from deltalakedb.config.reading import (
    AsyncTaskConfig,
    CacheConfig,
    CompressionType,
    EvictionPolicy,
    LazyLoadingConfig,
    LoadingStrategy,
    MemoryOptimizationConfig,
    OptimizationStrategy,
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
    "CompressionType",
    "ConfigFactory",
    "ConfigLoader",
    "EvictionPolicy",
    "LazyLoadingConfig",
    "LoadingStrategy",
    "LogLevel",
    "LoggingSettings",
    "MemoryOptimizationConfig",
    "MigrationSettings",
    "MigrationStrategy",
    "MonitoringSettings",
    "OptimizationStrategy",
    "PerformanceSettings",
    "Settings",
    "SqlConfig",
    "database_url",
]
