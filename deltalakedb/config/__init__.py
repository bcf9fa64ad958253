"""Settings: of the database, of reading, and of files that hold them.

Names are imported when they are first used: who opens a table needs none of most sections.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deltalakedb.config.file import ConfigFactory as ConfigFactory
    from deltalakedb.config.file import ConfigLoader as ConfigLoader
    from deltalakedb.config.reading import AsyncTaskConfig as AsyncTaskConfig
    from deltalakedb.config.reading import CacheConfig as CacheConfig
    from deltalakedb.config.reading import CompressionType as CompressionType
    from deltalakedb.config.reading import EvictionPolicy as EvictionPolicy
    from deltalakedb.config.reading import LazyLoadingConfig as LazyLoadingConfig
    from deltalakedb.config.reading import LoadingStrategy as LoadingStrategy
    from deltalakedb.config.reading import MemoryOptimizationConfig as MemoryOptimizationConfig
    from deltalakedb.config.reading import OptimizationStrategy as OptimizationStrategy
    from deltalakedb.config.sections import LoggingSettings as LoggingSettings
    from deltalakedb.config.sections import LogLevel as LogLevel
    from deltalakedb.config.sections import MigrationSettings as MigrationSettings
    from deltalakedb.config.sections import MigrationStrategy as MigrationStrategy
    from deltalakedb.config.sections import MonitoringSettings as MonitoringSettings
    from deltalakedb.config.sections import PerformanceSettings as PerformanceSettings
    from deltalakedb.config.sections import Settings as Settings
    from deltalakedb.config.sql import SqlConfig as SqlConfig
    from deltalakedb.config.sql import database_url as database_url

_HOMES = {
    "AsyncTaskConfig": "deltalakedb.config.reading",
    "CacheConfig": "deltalakedb.config.reading",
    "CompressionType": "deltalakedb.config.reading",
    "ConfigFactory": "deltalakedb.config.file",
    "ConfigLoader": "deltalakedb.config.file",
    "EvictionPolicy": "deltalakedb.config.reading",
    "LazyLoadingConfig": "deltalakedb.config.reading",
    "LoadingStrategy": "deltalakedb.config.reading",
    "LogLevel": "deltalakedb.config.sections",
    "LoggingSettings": "deltalakedb.config.sections",
    "MemoryOptimizationConfig": "deltalakedb.config.reading",
    "MigrationSettings": "deltalakedb.config.sections",
    "MigrationStrategy": "deltalakedb.config.sections",
    "MonitoringSettings": "deltalakedb.config.sections",
    "OptimizationStrategy": "deltalakedb.config.reading",
    "PerformanceSettings": "deltalakedb.config.sections",
    "Settings": "deltalakedb.config.sections",
    "SqlConfig": "deltalakedb.config.sql",
    "database_url": "deltalakedb.config.sql",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'deltalakedb.config' has no attribute {name!r}")
    found = getattr(importlib.import_module(home), name)
    globals()[name] = found
    return found
