"""Delta Lake metadata in a SQL database. Names are imported when they are first used."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "DeltaLakeError": "deltalakedb.error",
    "DeltaLakeErrorKind": "deltalakedb.error",
    "DiffReport": "deltalakedb.parity.report",
    "ImportResult": "deltalakedb.migrate.result",
    "diff_table": "deltalakedb.parity.run",
    "import_table": "deltalakedb.migrate.run",
    "Snapshot": "deltalakedb.snapshot.snapshot",
    "Table": "deltalakedb.table.table",
    "connect_to_table": "deltalakedb.table.connect",
    "CacheConfig": "deltalakedb.config",
    "ConfigFactory": "deltalakedb.config",
    "ConfigLoader": "deltalakedb.config",
    "EvictionPolicy": "deltalakedb.config",
    "LazyLoadingConfig": "deltalakedb.config",
    "LoadingStrategy": "deltalakedb.config",
    "SqlConfig": "deltalakedb.config",
    "DeltaLakeBridge": "deltalakedb.facade.bridge",
    "SqlConnection": "deltalakedb.facade.connection",
    "LazyLoadingManager": "deltalakedb.facade.lazy",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'deltalakedb' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
