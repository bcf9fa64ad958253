"""`import_table`: a Delta log into the catalog, once or again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.dialects.base import Lease
from deltalakedb.catalog.loads import ledger
from deltalakedb.catalog.loads.swap import TableFacts, location_lease, swap
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.retry import retried
from deltalakedb.config import SqlConfig, database_url
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.executor.executor import Executor, executor_of
from deltalakedb.importing import tasks
from deltalakedb.importing.abandon import abandon
from deltalakedb.importing.catch_up import catch_up, check_agreement
from deltalakedb.importing.dry_run import dry_run_of
from deltalakedb.importing.load import LoadResult, Progress, load, no_progress
from deltalakedb.importing.request import (
    ImportRequest,
    existing_table,
    identified,
    import_request,
    kept_mode,
    makes_new_load,
)
from deltalakedb.importing.result import ImportResult
from deltalakedb.importing.segments import base_version, with_readable
from deltalakedb.log.reader import plan_ranges, read_listing
from deltalakedb.log.segment import LogListing, Segment
from deltalakedb.secret import Secret

_AGAIN = "repeat the import: nothing of this run is visible"


def import_table(
    log_dir: str,
    *,
    database: str | SqlConfig,
    table_location: str | None = None,
    mode: str | None = None,
    table_id: str | None = None,
    table_name: str | None = None,
    rebuild: bool = False,
    dry_run: bool = False,
    storage_options: Mapping[str, object] | None = None,
    client: Any = None,
    spill_dir: str | None = None,
    progress: Progress = no_progress,
) -> ImportResult:
    """Import a Delta log into a SQL catalog, or bring an earlier import up to date.

    `log_dir`: the table or its `_delta_log` (path, file://, s3://); `database`: SQLite path,
    URL or SqlConfig; `table_location`: where the table's data is, if not above the log; `mode`:
    `fast` (the state at the newest checkpoint and the commits after it) or `full-history`, by
    default the mode that the table has, else `fast` (asked for, `full-history` reads a table anew
    that lacks its history, while `fast` takes none away); `table_id`: uuid or name of the table;
    `table_name`: `[namespace.]name`, by default the location's last segment; `rebuild`: import
    anew although the table is there; `dry_run`: say what would be read, write nothing; `client`: a
    `distributed.Client` (None: this process does it all).

    Idempotent: the same log twice changes nothing, new commits are caught up. Raises
    DeltaLakeError: LOG_DISAGREES (first version that differs), MISSING_COMMIT, CORRUPT_COMMIT,
    CORRUPT_CHECKPOINT, UNSUPPORTED_FEATURE, CONCURRENCY_ERROR (another import of the table
    runs), … Whatever happens, nothing half-imported is ever visible.
    """
    started = time.perf_counter()
    request = import_request(
        log_dir,
        table_location=table_location,
        mode=mode,
        table_id=table_id,
        table_name=table_name,
        rebuild=rebuild,
        storage_options=storage_options,
        spill_root=spill_dir,
    )
    store = request.store
    listing = read_listing(store.open())
    if dry_run:
        result = dry_run_of(request, listing, database)
        return replace(result, seconds=time.perf_counter() - started)
    secret = Secret(database_url(database))
    executor = executor_of(client, (secret, *store.secrets()), again=_AGAIN)
    with Catalog(database, create=True) as catalog:
        lease = location_lease(catalog, request.location)
        try:
            return _import(catalog, request, listing, executor, secret, progress, started, lease)
        finally:
            lease.release()


def _import(
    catalog: Catalog,
    request: ImportRequest,
    listing: LogListing,
    executor: Executor,
    database: Secret,
    progress: Progress,
    started: float,
    lease: Lease,
) -> ImportResult:
    existing = existing_table(catalog, request)
    ledger.clean_up(catalog, request.location)
    if existing is not None and not request.rebuild:
        check_agreement(catalog, existing, listing, request.store.open())
    if existing is not None and not makes_new_load(request, existing):
        return _update(catalog, request, listing, existing, executor, started)
    request = identified(request, existing)
    table_id = str(request.table_id)
    run = ledger.start_run(
        catalog,
        table_id=table_id,
        table_name=request.full_name,
        location=request.location,
        mode=request.chosen_mode,
        workers=executor.workers,
    )
    try:
        segment, result, warnings = _load(
            catalog, run, request, listing, executor, database, progress
        )
        facts = TableFacts(
            table_id=table_id,
            namespace=request.named[0],
            name=request.named[1],
            location=request.location,
            log_location=request.store.url,
            mode=request.chosen_mode,
            head_version=segment.head,
            known_since=segment.known_since,
            num_files=result.num_files,
            total_bytes=result.total_bytes,
            skipping=result.skipping_text,
            unreadable_features=",".join(result.head.unreadable),
        )
        outcome = ImportResult(
            table_id=table_id,
            table_name=request.full_name,
            location=request.location,
            run_id=run.run_id,
            status="imported",
            mode=request.chosen_mode,
            from_version=segment.known_since,
            to_version=segment.head,
            checkpoint_version=base_version(segment),
            known_since=segment.known_since,
            versions=result.versions,
            adds=result.adds,
            removes=result.removes,
            live_files=result.num_files,
            workers=executor.workers,
            seconds=time.perf_counter() - started,
            warnings=(*warnings, *_marks(result)),
            stage_seconds=result.stage_seconds,
        )
        swap_ms = _swap(catalog, run, facts, existing, outcome, listing, lease)
    except BaseException as error:
        abandon(catalog, run, error, executor, request.spill_root)
        raise
    _forget(executor, run, request)
    if existing is not None:
        _remove_superseded(catalog, existing.live_load)
    return replace(outcome, swap_ms=swap_ms, seconds=time.perf_counter() - started)


def _marks(result: LoadResult) -> tuple[str, ...]:
    if not result.head.unreadable:
        return ()
    names = ", ".join(result.head.unreadable)
    return (f"metadata is imported, rows can't be read here yet: table feature {names}",)


def _load(
    catalog: Catalog,
    run: ledger.Run,
    request: ImportRequest,
    listing: LogListing,
    executor: Executor,
    database: Secret,
    progress: Progress,
) -> tuple[Segment, LoadResult, list[str]]:
    """Load from the best checkpoint that can be read, and say which could not."""
    store = request.store.open()
    attempts: list[str] = []

    def attempt(segment: Segment) -> LoadResult:
        ranges = plan_ranges(store, segment)
        attempts.append(f"{run.run_id}.{len(attempts)}")
        return load(
            catalog,
            run,
            request.store,
            segment,
            ranges,
            executor,
            database,
            attempt=attempts[-1],
            spill_root=request.spill_root,
            progress=progress,
        )

    def between() -> None:
        for name in attempts[-1:]:
            executor.everywhere(tasks.forget, name, request.spill_root)

    return with_readable(request.chosen_mode, listing, attempt, between)


def _swap(
    catalog: Catalog,
    run: ledger.Run,
    facts: TableFacts,
    existing: queries.TableRow | None,
    outcome: ImportResult,
    listing: LogListing,
    lease: Lease,
) -> float:
    newest = listing.checkpoints[0].fingerprint if listing.checkpoints else None
    summary = {
        "from_version": outcome.from_version,
        "to_version": outcome.to_version,
        "checkpoint_version": outcome.checkpoint_version,
        "checkpoint_fingerprint": newest,
        "versions": outcome.versions,
        "adds": outcome.adds,
        "removes": outcome.removes,
        "live_files": outcome.live_files,
        "seconds": outcome.seconds,
    }
    expected = existing.live_load if existing else None

    def attempt(number: int) -> float:
        if number:
            # The connection may have died after the commit: then it is done.
            row = queries.table_at(catalog, facts.location)
            if row is not None and row.live_load == run.run_key:
                return 0.0
        with catalog.dialect.errors():
            held = lease.held()
        if not held:
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONCURRENCY_ERROR,
                "the import's lease was lost and another import took it; nothing was changed",
            )
        return swap(catalog, run, facts, expected_load=expected, summary=summary)

    return retried(attempt)


def _forget(executor: Executor, run: ledger.Run, request: ImportRequest) -> None:
    """The import has succeeded: what is left on workers is no reason to say otherwise."""
    try:
        executor.everywhere(tasks.forget, run.run_id, request.spill_root)
    except Exception:  # noqa: BLE001 - whatever a cluster that has gone raises
        return


def _remove_superseded(catalog: Catalog, load_id: int) -> None:
    try:
        ledger.remove_load(catalog, load_id)
    except DeltaLakeError:
        # Somebody still reads it; `dl gc` or the next import removes it.
        return


def _update(
    catalog: Catalog,
    request: ImportRequest,
    listing: LogListing,
    table: queries.TableRow,
    executor: Executor,
    started: float,
) -> ImportResult:
    """Catch up with a log that has moved on."""
    outcome = catch_up(catalog, table, listing, request.store, executor)
    seconds = time.perf_counter() - started
    return replace(outcome, seconds=seconds, warnings=kept_mode(request, table))
