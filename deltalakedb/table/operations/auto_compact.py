"""Compaction after a write, where `delta.autoOptimize.autoCompact` of the table asks for it.

As Delta does it: the partitions that a write has put files into are compacted by its writer once
they have fifty files that are small. The write is committed before; that nothing came of the
compaction is told, but is no error of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.records import load_files_name
from deltalakedb.error import DeltaLakeError
from deltalakedb.log.table_properties import AUTO_COMPACT
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.layouts import Compaction, OptimizeOptions
from deltalakedb.table.operations.optimize import optimize
from deltalakedb.table.transaction import WriteResult
from deltalakedb.write.target import FileTarget

_LEAST_FILES = 50
_MOST_BYTES = 128 << 20
_OFF = frozenset({"", "false", "legacy"})


def is_asked_for(configuration: Mapping[str, str]) -> bool:
    """Whether the table is to be compacted by who writes to it: `true` or `auto`."""
    return (configuration.get(AUTO_COMPACT) or "").strip().lower() not in _OFF


def auto_compact(catalog: LightCatalog, base: Base, result: WriteResult) -> None:
    """Compact what a write has left with many small files. A failure is a warning."""
    if not is_asked_for(base.metadata.configuration) or base.enlist is not None or result.repeated:
        return
    try:
        _compact(catalog, base, result.version)
    except DeltaLakeError as error:
        warnings.warn(
            f"version {result.version} of {base.row.full_name} is committed, but compacting it by "
            f"{AUTO_COMPACT} failed: {error}",
            RuntimeWarning,
            stacklevel=3,
        )


def _compact(catalog: LightCatalog, base: Base, version: int) -> None:
    newest = Base.read(catalog, None, base.row.table_id, base.storage_options)
    if newest is None:
        return
    target = FileTarget.of(newest.metadata, newest.protocol)
    size = min(target.target_file_size, _MOST_BYTES)
    row = newest.row
    crowded = catalog.reader.rows(
        f"SELECT f.partition_id FROM {load_files_name(row.live_load)} f WHERE f.load_id = ? AND "
        f"{queries.live_predicate(row, row.head_version, 'f')} AND f.size < ? "
        "AND f.partition_id IN (SELECT c.partition_id FROM dl_changes c "
        "WHERE c.table_key = ? AND c.version = ? AND c.kind = 0) "
        "GROUP BY f.partition_id HAVING count(*) >= ?",
        (row.live_load, size // 2, row.table_key, version, _LEAST_FILES),
    )
    if not crowded:
        return
    files = newest.live_files(catalog, [ident for (ident,) in crowded])
    paths = frozenset(files.column("path").to_pylist())
    options = OptimizeOptions(target_size=size, paths=paths)
    optimize(catalog, newest, Compaction(auto=True), options)
