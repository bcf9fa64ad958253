"""`DeltaTableMigrator`: the guide's way to move one table, over `migrate.move_table`."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from typing import Any

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.dialects import dialect_of
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.table_name import full_name, parse_table_name
from deltalakedb.config import (
    MemoryOptimizationConfig,
    MigrationStrategy,
    OptimizationStrategy,
    Settings,
    SqlConfig,
    database_url,
)
from deltalakedb.config.checks import invalid, kind_of, nearest
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.facade.migration import (
    MigrationMetrics,
    MigrationResult,
    ShownUri,
    peak_memory,
)
from deltalakedb.importing.context import Sizes
from deltalakedb.importing.request import ImportRequest, import_request
from deltalakedb.importing.run import import_table
from deltalakedb.importing.spill import SpillPolicy
from deltalakedb.log.place import log_store
from deltalakedb.log.reader import read_listing
from deltalakedb.migrate.analysis import SourceAnalysis, analyze_source
from deltalakedb.migrate.cut import cutover_table
from deltalakedb.migrate.move import move_table
from deltalakedb.migrate.options import MoveOptions, MoveResult, Until
from deltalakedb.migrate.points import create_rollback_point, rollback_points
from deltalakedb.migrate.rollback import RollbackResult, rollback_table
from deltalakedb.parity.run import diff_table
from deltalakedb.storage.open import open_store
from deltalakedb.uri import TableUri

_HELD_BYTES = {
    OptimizationStrategy.IN_MEMORY: 1 << 62,
    OptimizationStrategy.BALANCED: None,
    OptimizationStrategy.STREAMING: 0,
}
_LOCAL_WORKERS = 4
"""At most, where nobody says how many."""


class DeltaTableMigrator:
    """Moves one table from its log into the catalog of `target_config`.

    `source_uri`: the table (path, file://, s3://). `client`: a `distributed.Client` for
    `parallel_processing`. What isn't said here or in `migrate_table` is as the configuration says
    that `target_config` comes from; its logs begin.
    """

    def __init__(
        self,
        source_uri: str,
        target_config: SqlConfig | str,
        *,
        storage_options: Mapping[str, object] | None = None,
        client: Any = None,
    ) -> None:
        given = target_config
        self.config = given if isinstance(given, SqlConfig) else SqlConfig(connection_string=given)
        self.source_uri = str(source_uri)
        self.settings = self.config.settings or Settings()
        self.settings.begin()
        self._storage_options = storage_options
        self._client = client
        self._memory = MemoryOptimizationConfig()
        self._measures = self.settings.monitoring.enable_metrics
        self._analysis: SourceAnalysis | None = None
        self._result: MigrationResult | None = None

    def analyze_source(self) -> SourceAnalysis:
        """What moving the table would take, who writes it, and what would be refused.

        Nothing is written. Raises DeltaLakeError where the log can't be read.
        """
        self._analysis = analyze_source(
            self.source_uri,
            database=self.config,
            mode="full-history",
            storage_options=self._storage_options,
        )
        return self._analysis

    def set_memory_config(self, config: MemoryOptimizationConfig) -> None:
        """How much of the log is taken at a time, and what is kept of it in memory."""
        if not isinstance(config, MemoryOptimizationConfig):
            raise invalid(
                f"set_memory_config takes a MemoryOptimizationConfig, not {kind_of(config)}"
            )
        self._memory = config

    def enable_metrics(self) -> None:
        """Measure the next migrations (`get_migration_metrics`)."""
        self._measures = True

    def get_migration_metrics(self) -> MigrationMetrics:
        """Of the last migration. INVALID_ARGUMENT when none was measured."""
        if self._result is None or self._result.metrics is None:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                "no migration was measured; call enable_metrics() before migrate_table()",
            )
        return self._result.metrics

    def migrate_table(
        self,
        target_table_name: str | None = None,
        preserve_partitions: bool | None = None,
        *,
        parallel_processing: bool = False,
        batch_size: int | None = None,
        workers: int | None = None,
        strategy: MigrationStrategy | str | None = None,
        until: Until | None = None,
        mode: str = "full-history",
        **options: Any,
    ) -> MigrationResult:
        """Bring the table into the catalog and prove it there; again catches up with its log.

        `target_table_name`: `[namespace.]name`, by default the folder's. `preserve_partitions`
        false is refused for a partitioned table: metadata is moved, data isn't rewritten.
        `parallel_processing`: on the migrator's client, or on `workers` processes of this machine.
        `batch_size`: so many files at a time. `until`: `ready` leaves the log in charge, so that
        file-based writers go on until `cutover`; `sql` cuts over. That is the default of the
        strategy `offline`, `ready` of the others. `mode`: `fast` leaves out the
        history before the newest checkpoint. `options`: further ones of `MoveOptions`.

        What goes wrong with the table is in the result (`success`, `error_message`); wrong
        arguments raise.
        """
        _check_options("migrate_table", options, self.migrate_table)
        wanted = self._name(target_table_name)
        settings = self.settings.migration
        chosen = settings.strategy if strategy is None else MigrationStrategy(strategy)
        if until is None:
            until = "sql" if chosen is MigrationStrategy.OFFLINE else "ready"
        move = MoveOptions(
            **{
                "strategy": chosen.value,
                "until": until,
                "mode": mode,
                "validate": settings.validate_after_migration,
                "rollback_point": settings.create_rollback_point,
                "storage_options": self._storage_options,
                "sizes": self._sizes(batch_size),
                "estimated_seconds": self._analysis and self._analysis.estimated_seconds,
                **options,
            }
        )
        keeps = settings.preserve_partitions if preserve_partitions is None else preserve_partitions
        began = time.perf_counter()
        result = MigrationResult(
            wanted,
            self._uri(wanted),
            validated=move.validate,
            predicted_seconds=self._analysis.estimated_seconds if self._analysis else None,
        )
        with ExitStack() as stack:
            peak = stack.enter_context(peak_memory()) if self._measures else None
            log_bytes = 0
            try:
                self._check(wanted, keeps)
                if peak is not None:
                    log_bytes = self._log_bytes(mode)
                if parallel_processing:
                    client = stack.enter_context(self._workers(workers))
                    move = replace(move, client=client)
                moved = move_table(
                    self.source_uri, database=self.config, table_name=wanted, options=move
                )
                if moved.imported is None and moved.proof is None:
                    moved = self._again(moved, move)
                if move.rollback_point and until == "ready":
                    self._keep_point(wanted)
                result = replace(result, move=moved, log_version=self._newest())
            except DeltaLakeError as error:
                result = replace(result, error=error)
        seconds = time.perf_counter() - began
        if peak is not None:
            metrics = _metrics(result, seconds, log_bytes, peak.bytes)
            result = replace(result, metrics=metrics)
        self._result = replace(result, seconds=seconds)
        return self._result

    def cutover(self, target_table_name: str | None = None, **options: Any) -> MoveResult:
        """From now on SQL ratifies, behind a fence for file-based writers: `dl cutover`.

        Raises DeltaLakeError; the table is writable whatever fails.
        """
        _check_options("cutover", options)
        settings = self.settings.migration
        move = MoveOptions(
            **{
                "strategy": settings.strategy.value,
                "validate": settings.validate_after_migration,
                "rollback_point": settings.create_rollback_point,
                "storage_options": self._storage_options,
                **options,
            }
        )
        return cutover_table(self._known(target_table_name), database=self.config, options=move)

    def rollback(self, target_table_name: str | None = None, **options: Any) -> RollbackResult:
        """Hand the table back to its log and to file-based writers: `dl rollback`."""
        return rollback_table(
            self._known(target_table_name),
            database=self.config,
            **{"storage_options": self._storage_options, **options},
        )

    # What the steps above ask

    def _request(self, name: str | None) -> ImportRequest:
        return import_request(
            self.source_uri,
            table_location=None,
            mode=None,
            table_id=None,
            table_name=name,
            rebuild=False,
            storage_options=self._storage_options,
            spill_root=None,
        )

    def _name(self, name: str | None) -> str:
        """`namespace.name` of the table in the catalog. INVALID_ARGUMENT for what is no name."""
        if name is not None:
            return full_name(*parse_table_name(name))
        return self._request(None).full_name

    def _known(self, name: str | None) -> str:
        if name is None and self._result is not None:
            return self._result.table_name
        return self._name(name)

    def _uri(self, name: str) -> str:
        namespace, table = parse_table_name(name)
        uri = TableUri(self.config.secret, namespace or None, table)
        return ShownUri(uri.reveal())

    def _sizes(self, batch_size: int | None) -> Sizes | None:
        memory = self._memory
        spilling = SpillPolicy(_HELD_BYTES[memory.strategy], memory.compression_type.value)
        files = memory.chunk_size if batch_size is None else batch_size
        if files is None:
            return Sizes(spilling=spilling)
        if isinstance(files, bool) or not isinstance(files, int) or files < 1:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"a batch_size of {files!r} makes no sense; give a number of files",
            )
        return Sizes.of_files(files, spilling)

    def _check(self, wanted: str, keeps_partitions: bool) -> None:
        """Raises before anything is written."""
        location = self._request(wanted).location
        if dialect_of(database_url(self.config)).exists():
            with Catalog(self.config, create=True) as catalog:
                row = queries.table_at(catalog, location)
            if row is not None and row.full_name != wanted:
                raise DeltaLakeError(
                    DeltaLakeErrorKind.TABLE_EXISTS,
                    f"{location} is in the catalog already, as {row.full_name}; migrate it by "
                    f"that name, or rename it first: `dl rename {row.full_name} {wanted}`",
                    table=row.full_name,
                )
        if keeps_partitions:
            return
        columns = (self._analysis or self.analyze_source()).partition_columns
        if columns:
            raise DeltaLakeError(
                DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
                f"the table is partitioned by {', '.join(columns)}; a migration moves metadata and "
                "rewrites no data, so leave preserve_partitions true, or write a new table",
                table=wanted,
            )

    @contextmanager
    def _workers(self, count: int | None) -> Iterator[Any]:
        if self._client is not None:
            yield self._client
            return
        from deltalakedb.executor.workers import local_workers, work_folder

        found = min(os.cpu_count() or 1, _LOCAL_WORKERS) if count is None else count
        imports = ("deltalakedb.importing.tasks",)
        with work_folder(None) as folder, local_workers(found, folder, imports) as client:
            yield client

    def _again(self, moved: MoveResult, move: MoveOptions) -> MoveResult:
        """Catch up with the log of a table that was there already, and prove it anew."""
        table = str(moved.migration.table_id)
        imported = import_table(
            self.source_uri,
            database=self.config,
            table_id=table,
            storage_options=self._storage_options,
            client=move.client,
            sizes=move.sizes,
        )
        proof = None
        if move.validate:
            proof = diff_table(
                table,
                database=self.config,
                storage_options=self._storage_options,
                client=move.client,
            )
        return replace(moved, imported=imported, proof=proof)

    def _log_bytes(self, mode: str) -> int:
        planned = import_table(
            self.source_uri,
            database=self.config,
            mode=mode,
            dry_run=True,
            storage_options=self._storage_options,
        )
        return planned.log_bytes or 0

    def _newest(self) -> int:
        store = log_store(self.source_uri, self._storage_options)
        return read_listing(open_store(store)).head

    def _keep_point(self, name: str) -> None:
        """Note the version that the table came with, once."""
        if not rollback_points(name, database=self.config):
            create_rollback_point(name, database=self.config, note="migration")


def _check_options(name: str, given: Mapping[str, Any], method: Any = None) -> None:
    """INVALID_ARGUMENT, with the nearest name, for an option that a method doesn't have."""
    own = () if method is None else inspect.signature(method).parameters
    known = {each.name for each in fields(MoveOptions)} | {*own} - {"options"}
    for unknown in sorted({*given} - known):
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{name} has no option {unknown!r}; {nearest(unknown, known)}",
        )


def _metrics(
    result: MigrationResult, seconds: float, log_bytes: int, peak: int
) -> MigrationMetrics:
    imported = result.imported
    return MigrationMetrics(
        total_duration_seconds=seconds,
        files=0 if imported is None else imported.adds,
        log_megabytes=log_bytes / 1e6,
        peak_memory_mb=peak / (1 << 20),
        workers=0 if imported is None else imported.workers,
        steps={} if result.move is None else dict(result.move.seconds),
    )
