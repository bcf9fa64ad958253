"""Settings: of the database, of reading, and of files that hold them."""

from deltalakedb.config.file import ConfigFactory, ConfigLoader
from deltalakedb.config.reading import (
    CacheConfig,
    EvictionPolicy,
    LazyLoadingConfig,
    LoadingStrategy,
)
from deltalakedb.config.sql import SqlConfig, database_url

__all__ = [
    "CacheConfig",
    "ConfigFactory",
    "ConfigLoader",
    "EvictionPolicy",
    "LazyLoadingConfig",
    "LoadingStrategy",
    "SqlConfig",
    "database_url",
]
