"""`Table.optimize`: delta-rs's `compact` and `z_order`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.table.operations.layouts import (
    Compaction,
    Layout,
    OptimizeOptions,
    Purge,
    ZOrdering,
)
from deltalakedb.table.operations.optimize import optimize
from deltalakedb.table.operations.properties import CommitOptions

if TYPE_CHECKING:
    from deltalakedb.catalog.reading.catalog import LightCatalog
    from deltalakedb.snapshot.snapshot import Snapshot
    from deltalakedb.table.operations.base import Base


class TableOptimizer:
    """Fewer, larger or better ordered files. Each returns metrics by delta-rs's names."""

    def __init__(
        self,
        changed: Callable[[Callable[[LightCatalog, Base], dict[str, Any]]], dict[str, Any]],
        newest: Callable[[], Snapshot],
    ) -> None:
        self._changed = changed
        self._newest = newest

    def compact(
        self,
        partition_filters: Any = None,
        target_size: int | None = None,
        max_concurrent_tasks: int | None = None,
        max_spill_size: int | None = None,
        min_commit_interval: int | dt.timedelta | None = None,
        writer_properties: Any = None,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
        client: Any = None,
    ) -> dict[str, Any]:
        """Put small files together, and write those anew of which many rows are deleted.

        `partition_filters`: a condition on partition columns. `target_size`: bytes of a file, else
        `delta.targetFileSize`. `max_concurrent_tasks`: bins that are written, and files that are
        read, at a time. `max_spill_size`: bytes of rows that wait in memory.
        `min_commit_interval`: seconds; bins that are done sooner share a commit. `client`: a
        `distributed.Client` whose workers write the bins; each is committed here once it is
        written.
        """
        predicate, options = self._options(
            partition_filters,
            target_size,
            max_concurrent_tasks,
            max_spill_size,
            min_commit_interval,
            writer_properties,
            commit_properties,
            post_commithook_properties,
            client,
        )
        return self._run(Compaction(predicate), options)

    def purge(
        self,
        partition_filters: Any = None,
        target_size: int | None = None,
        max_concurrent_tasks: int | None = None,
        max_spill_size: int | None = None,
        min_commit_interval: int | dt.timedelta | None = None,
        writer_properties: Any = None,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
        client: Any = None,
    ) -> dict[str, Any]:
        """Write each file anew that has a deletion vector: Spark's REORG TABLE … APPLY (PURGE).

        What is deleted is in no file of the newest version then, and gone with a vacuum. The rest
        as `compact`.
        """
        predicate, options = self._options(
            partition_filters,
            target_size,
            max_concurrent_tasks,
            max_spill_size,
            min_commit_interval,
            writer_properties,
            commit_properties,
            post_commithook_properties,
            client,
        )
        return self._run(Purge(predicate), options)

    def z_order(
        self,
        columns: Sequence[str],
        partition_filters: Any = None,
        target_size: int | None = None,
        max_concurrent_tasks: int | None = None,
        max_spill_size: int | None = None,
        min_commit_interval: int | dt.timedelta | None = None,
        writer_properties: Any = None,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
        client: Any = None,
    ) -> dict[str, Any]:
        """Order the rows of each partition by several columns at once; the rest as `compact`."""
        predicate, options = self._options(
            partition_filters,
            target_size,
            max_concurrent_tasks,
            max_spill_size,
            min_commit_interval,
            writer_properties,
            commit_properties,
            post_commithook_properties,
            client,
        )
        listed = [columns] if isinstance(columns, str) else list(columns)
        return self._changed(
            lambda catalog, base: optimize(
                catalog, base, ZOrdering(base, listed, predicate), options
            )
        )

    def _run(self, layout: Layout, options: OptimizeOptions) -> dict[str, Any]:
        return self._changed(lambda catalog, base: optimize(catalog, base, layout, options))

    def _options(
        self,
        partition_filters: Any,
        target_size: int | None,
        tasks: int | None,
        memory: int | None,
        interval: int | dt.timedelta | None,
        writer_properties: Any,
        commit_properties: Any,
        hooks: Any,
        client: Any,
    ) -> tuple[list[str], OptimizeOptions]:
        if target_size is not None and target_size <= 0:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT, "target_size is in bytes, above 0"
            )
        seconds = interval.total_seconds() if isinstance(interval, dt.timedelta) else interval
        paths = None
        if partition_filters:
            paths = self._newest().paths_of_partitions(partition_filters)
        return [str(partition_filters)] if partition_filters else [], OptimizeOptions(
            target_size=target_size,
            paths=paths,
            workers=tasks,
            memory=memory,
            commit_interval=float(seconds or 0),
            writer_properties=writer_properties,
            commit=CommitOptions.of(commit_properties, hooks=hooks),
            client=client,
        )
