"""Delta Lake metadata in a SQL database. Names are imported when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # What type checkers and editors see; `as` marks a name as public.
    from deltalakedb.catalog.grants import grants as grants
    from deltalakedb.commit.metrics import CommitMetrics as CommitMetrics
    from deltalakedb.commit.metrics import commit_metrics as commit_metrics
    from deltalakedb.config import AsyncTaskConfig as AsyncTaskConfig
    from deltalakedb.config import CacheConfig as CacheConfig
    from deltalakedb.config import CompressionType as CompressionType
    from deltalakedb.config import ConfigFactory as ConfigFactory
    from deltalakedb.config import ConfigLoader as ConfigLoader
    from deltalakedb.config import EvictionPolicy as EvictionPolicy
    from deltalakedb.config import LazyLoadingConfig as LazyLoadingConfig
    from deltalakedb.config import LoadingStrategy as LoadingStrategy
    from deltalakedb.config import MemoryOptimizationConfig as MemoryOptimizationConfig
    from deltalakedb.config import OptimizationStrategy as OptimizationStrategy
    from deltalakedb.config import SqlConfig as SqlConfig
    from deltalakedb.error import DeltaLakeError as DeltaLakeError
    from deltalakedb.error import DeltaLakeErrorKind as DeltaLakeErrorKind
    from deltalakedb.facade.asynchronous import AsyncDeltaLakeOperations as AsyncDeltaLakeOperations
    from deltalakedb.facade.asynchronous import AsyncIOExecutor as AsyncIOExecutor
    from deltalakedb.facade.asynchronous import WriteMode as WriteMode
    from deltalakedb.facade.bridge import DeltaLakeBridge as DeltaLakeBridge
    from deltalakedb.facade.connection import SqlConnection as SqlConnection
    from deltalakedb.facade.dask_deltatable import read_deltalake as read_deltalake
    from deltalakedb.facade.dask_deltatable import to_deltalake as to_deltalake
    from deltalakedb.facade.delta_table import DeltaTable as DeltaTable
    from deltalakedb.facade.lazy import LazyLoadingManager as LazyLoadingManager
    from deltalakedb.facade.migration import MigrationMetrics as MigrationMetrics
    from deltalakedb.facade.migration import MigrationResult as MigrationResult
    from deltalakedb.facade.migrator import DeltaTableMigrator as DeltaTableMigrator
    from deltalakedb.facade.transactions import CrossTableOperationType as CrossTableOperationType
    from deltalakedb.facade.transactions import MultiTableIsolationLevel as MultiTableIsolationLevel
    from deltalakedb.facade.transactions import (
        MultiTableTransactionManager as MultiTableTransactionManager,
    )
    from deltalakedb.importing.result import ImportResult as ImportResult
    from deltalakedb.importing.run import import_table as import_table
    from deltalakedb.parity.report import DiffReport as DiffReport
    from deltalakedb.parity.run import diff_table as diff_table
    from deltalakedb.snapshot.snapshot import Snapshot as Snapshot
    from deltalakedb.table.begin import Transaction as Transaction
    from deltalakedb.table.begin import begin as begin
    from deltalakedb.table.connect import connect_to_table as connect_to_table
    from deltalakedb.table.connect import snapshots as snapshots
    from deltalakedb.table.consistent import ConsistentVersions as ConsistentVersions
    from deltalakedb.table.consistent import consistent_versions as consistent_versions
    from deltalakedb.table.lifetime import drop_table as drop_table
    from deltalakedb.table.lifetime import relocate_table as relocate_table
    from deltalakedb.table.lifetime import rename_table as rename_table
    from deltalakedb.table.operations.properties import AppTransaction as AppTransaction
    from deltalakedb.table.operations.properties import CommitProperties as CommitProperties
    from deltalakedb.table.operations.properties import (
        PostCommitHookProperties as PostCommitHookProperties,
    )
    from deltalakedb.table.table import Table as Table
    from deltalakedb.table.transaction import TransactionResult as TransactionResult
    from deltalakedb.table.transaction import WriteResult as WriteResult
    from deltalakedb.table.writing import convert_to_deltalake as convert_to_deltalake
    from deltalakedb.table.writing import create_table as create_table
    from deltalakedb.table.writing import write_deltalake as write_deltalake
    from deltalakedb.write.properties import BloomFilterProperties as BloomFilterProperties
    from deltalakedb.write.properties import ColumnProperties as ColumnProperties
    from deltalakedb.write.properties import WriterProperties as WriterProperties

__version__ = "0.1.0"

_HOMES = {
    "DeltaLakeError": "deltalakedb.error",
    "DeltaLakeErrorKind": "deltalakedb.error",
    "DiffReport": "deltalakedb.parity.report",
    "ImportResult": "deltalakedb.importing.result",
    "diff_table": "deltalakedb.parity.run",
    "grants": "deltalakedb.catalog.grants",
    "import_table": "deltalakedb.importing.run",
    "Snapshot": "deltalakedb.snapshot.snapshot",
    "CommitMetrics": "deltalakedb.commit.metrics",
    "commit_metrics": "deltalakedb.commit.metrics",
    "AppTransaction": "deltalakedb.table.operations.properties",
    "CommitProperties": "deltalakedb.table.operations.properties",
    "PostCommitHookProperties": "deltalakedb.table.operations.properties",
    "Table": "deltalakedb.table.table",
    "Transaction": "deltalakedb.table.begin",
    "TransactionResult": "deltalakedb.table.transaction",
    "WriteResult": "deltalakedb.table.transaction",
    "begin": "deltalakedb.table.begin",
    "create_table": "deltalakedb.table.writing",
    "convert_to_deltalake": "deltalakedb.table.writing",
    "write_deltalake": "deltalakedb.table.writing",
    "BloomFilterProperties": "deltalakedb.write.properties",
    "ColumnProperties": "deltalakedb.write.properties",
    "WriterProperties": "deltalakedb.write.properties",
    "ConsistentVersions": "deltalakedb.table.consistent",
    "connect_to_table": "deltalakedb.table.connect",
    "consistent_versions": "deltalakedb.table.consistent",
    "snapshots": "deltalakedb.table.connect",
    "drop_table": "deltalakedb.table.lifetime",
    "relocate_table": "deltalakedb.table.lifetime",
    "rename_table": "deltalakedb.table.lifetime",
    "CacheConfig": "deltalakedb.config",
    "CompressionType": "deltalakedb.config",
    "MemoryOptimizationConfig": "deltalakedb.config",
    "OptimizationStrategy": "deltalakedb.config",
    "DeltaTableMigrator": "deltalakedb.facade.migrator",
    "MigrationMetrics": "deltalakedb.facade.migration",
    "MigrationResult": "deltalakedb.facade.migration",
    "ConfigFactory": "deltalakedb.config",
    "ConfigLoader": "deltalakedb.config",
    "EvictionPolicy": "deltalakedb.config",
    "LazyLoadingConfig": "deltalakedb.config",
    "LoadingStrategy": "deltalakedb.config",
    "SqlConfig": "deltalakedb.config",
    "DeltaLakeBridge": "deltalakedb.facade.bridge",
    "SqlConnection": "deltalakedb.facade.connection",
    "read_deltalake": "deltalakedb.facade.dask_deltatable",
    "to_deltalake": "deltalakedb.facade.dask_deltatable",
    "DeltaTable": "deltalakedb.facade.delta_table",
    "LazyLoadingManager": "deltalakedb.facade.lazy",
    "AsyncDeltaLakeOperations": "deltalakedb.facade.asynchronous",
    "AsyncIOExecutor": "deltalakedb.facade.asynchronous",
    "AsyncTaskConfig": "deltalakedb.config",
    "WriteMode": "deltalakedb.facade.asynchronous",
    "CrossTableOperationType": "deltalakedb.facade.transactions",
    "MultiTableIsolationLevel": "deltalakedb.facade.transactions",
    "MultiTableTransactionManager": "deltalakedb.facade.transactions",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'deltalakedb' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
