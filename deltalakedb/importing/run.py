"""`import_table`: a Delta log into the catalog, once or again."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from deltalakedb import logs, measures, tracing
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.grants import check_writer
from deltalakedb.catalog.leases import Lease
from deltalakedb.catalog.loads import ledger
from deltalakedb.catalog.loads.swap import Swapped, TableFacts, location_lease, swap
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.retry import retried
from deltalakedb.config import SqlConfig, database_url
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.executor.executor import Executor, executor_of
from deltalakedb.importing import tasks
from deltalakedb.importing.abandon import abandon
from deltalakedb.importing.agreement import agreed_listing, ratified_by_sql
from deltalakedb.importing.carry_over import CarryOver, LeftBehindError
from deltalakedb.importing.catch_up import catch_up
from deltalakedb.importing.context import Importing, Progress, Sizes, no_progress
from deltalakedb.importing.dry_run import dry_run_of
from deltalakedb.importing.load import LoadResult, load
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
from deltalakedb.memory import enough_memory
from deltalakedb.redact import redact
from deltalakedb.secret import Secret
from deltalakedb.storage.open import open_store
from deltalakedb.storage.traffic import Traffic, counted

_log = logging.getLogger(__name__)
CONNECTIONS = 16
"""To the database by default: more than that only queue for its log."""
_OWN_CONNECTIONS = 4
"""Of the process that imports: its lease, its questions, its statements, the last part."""
_CARRYING_OVER = 5
"""Attempts to make a new load live while writers go on."""
_AGAIN = "repeat the import: nothing of this run is visible"


@tracing.traced("import")
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
    connections: int = CONNECTIONS,
    spill_dir: str | None = None,
    sizes: Sizes | None = None,
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
    `distributed.Client` (None: this process does it all); `connections`: to the database, at
    most; `sizes`: how much of the log is read at a time, and kept in memory.

    Idempotent: the same log twice changes nothing, new commits are caught up. Raises
    DeltaLakeError: LOG_DISAGREES (first version that differs), MISSING_COMMIT, CORRUPT_COMMIT,
    CORRUPT_CHECKPOINT, UNSUPPORTED_FEATURE, CONCURRENCY_ERROR (another import of the table
    runs), … Whatever happens, nothing half-imported is ever visible.
    """
    started = time.perf_counter()
    if connections <= _OWN_CONNECTIONS:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"an import takes at least {_OWN_CONNECTIONS + 1} connections to the database: "
            f"{_OWN_CONNECTIONS} for itself, and those that load; got {connections}",
            connections=connections,
        )
    with counted() as traffic:
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
        listing = read_listing(open_store(store))
        memory = enough_memory(
            f"{redact(store.url)} was imported",
            "give the process more, or import on a cluster's workers",
        )
        if dry_run:
            with memory:
                result = dry_run_of(request, listing, database)
            return _measured(result, started, traffic)
        secret = database_url(database).secret
        executor = executor_of(client, (secret, *store.secrets()), again=_AGAIN)
        with memory, Catalog(database, create=True) as catalog:
            check_writer(catalog, own_table=False)
            lease = location_lease(catalog, request.location)
            told = logs.timed(_log, "import", table=request.full_name, table_id=request.table_id)
            try:
                imported = _Import(
                    catalog,
                    request,
                    listing,
                    executor,
                    secret,
                    connections - _OWN_CONNECTIONS,
                    progress,
                    lease,
                    started,
                    sizes or Sizes(),
                )
                with told as facts:
                    result = imported.run()
                    facts |= _told(result)
                    tracing.tell(table=result.table_name, version=result.to_version)
                    measures.count(measures.IMPORT_ACTIONS, "add", result.adds)
                    measures.count(measures.IMPORT_ACTIONS, "remove", result.removes)
                return _measured(result, started, traffic)
            finally:
                lease.release()


def _measured(result: ImportResult, started: float, traffic: Traffic) -> ImportResult:
    return replace(
        result,
        seconds=time.perf_counter() - started,
        requests=traffic.requests,
        read_bytes=traffic.read_bytes,
    )


@dataclass(frozen=True)
class _Import:
    """An import under its lease, from the catalog's answer what is there to the swap."""

    catalog: Catalog
    request: ImportRequest
    listing: LogListing
    executor: Executor
    database: Secret
    loaders: int
    progress: Progress
    lease: Lease
    started: float
    sizes: Sizes

    def run(self) -> ImportResult:
        existing = existing_table(self.catalog, self.request)
        ledger.clean_up(self.catalog, self.request.location)
        if existing is None:
            return self._imported(identified(self.request, existing), existing)
        listing = agreed_listing(self.catalog, self.request, existing, self.listing)
        agreed = replace(self, listing=listing)
        if not makes_new_load(self.request, existing):
            return agreed._caught_up(existing)
        return agreed._imported(identified(self.request, existing), existing)

    def _caught_up(self, table: queries.TableRow) -> ImportResult:
        """Catch up with a log that has moved on."""
        outcome = catch_up(
            self.catalog,
            table,
            self.listing,
            self.request,
            self.executor,
            self.lease,
            self.progress,
        )
        warnings = kept_mode(self.request, table)
        if table.authority != "log":
            warnings = (ratified_by_sql(table, self.listing), *warnings)
        return replace(outcome, warnings=warnings)

    def _imported(self, request: ImportRequest, existing: queries.TableRow | None) -> ImportResult:
        table_id = str(request.table_id)
        run = ledger.start_run(
            self.catalog,
            table_id=table_id,
            table_name=request.full_name,
            location=request.location,
            mode=request.chosen_mode,
            workers=self.executor.workers,
            lease=self.lease,
        )
        importing = Importing(
            self.catalog,
            run,
            request.store,
            self.executor,
            self.database,
            self.loaders,
            request.spill_root,
            self.sizes,
            self.progress,
        )
        try:
            segment, result, warnings = self._loaded(importing, request.chosen_mode)
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
                workers=self.executor.workers,
                seconds=time.perf_counter() - self.started,
                warnings=(*warnings, *_marks(result)),
                stage_seconds=result.stage_seconds,
            )
            swapped = self._swapped(run, result.load_id, facts, existing, outcome)
        except BaseException as error:
            abandon(self.catalog, run, error, self.executor, request.spill_root)
            raise
        _forget(self.executor, run, request)
        if existing is not None:
            _remove_superseded(self.catalog, existing.live_load)
        carried = swapped.facts.head_version - facts.head_version
        return replace(
            outcome,
            swap_ms=swapped.ms,
            to_version=swapped.facts.head_version,
            versions=outcome.versions + carried,
            live_files=swapped.facts.num_files,
        )

    def _loaded(self, importing: Importing, mode: str) -> tuple[Segment, LoadResult, list[str]]:
        """Load from the best checkpoint that can be read, and say which could not."""
        store = open_store(importing.store)
        attempts: list[str] = []

        def attempt(segment: Segment) -> LoadResult:
            ranges = plan_ranges(store, segment, self.sizes.range_bytes, sliced=True)
            attempts.append(f"{importing.run.run_id}.{len(attempts)}")
            return load(importing, segment, ranges, attempt=attempts[-1])

        def between() -> None:
            for name in attempts[-1:]:
                self.executor.everywhere(tasks.forget, name, importing.spill_root)

        return with_readable(mode, self.listing, attempt, between)

    def _swapped(
        self,
        run: ledger.Run,
        load_id: int,
        facts: TableFacts,
        existing: queries.TableRow | None,
        outcome: ImportResult,
    ) -> Swapped:
        checkpoints = self.listing.checkpoints
        summary = {
            "from_version": outcome.from_version,
            "to_version": outcome.to_version,
            "checkpoint_version": outcome.checkpoint_version,
            "checkpoint_fingerprint": checkpoints[0].fingerprint if checkpoints else None,
            "versions": outcome.versions,
            "adds": outcome.adds,
            "removes": outcome.removes,
            "live_files": outcome.live_files,
            "seconds": outcome.seconds,
        }

        carry = None
        if existing is not None:
            store = open_store(self.request.store)
            carry = CarryOver(self.catalog, existing, load_id, store)

        def attempt(number: int) -> Swapped:
            if number:
                # The connection may have died after the commit: then it is done.
                row = queries.table_at(self.catalog, facts.location)
                if row is not None and row.live_load == load_id:
                    return Swapped(0.0, replace(facts, head_version=row.head_version))
            return swap(
                self.catalog,
                run,
                facts,
                load_id=load_id,
                expected=existing,
                summary=summary,
                carry=carry,
            )

        for left in reversed(range(_CARRYING_OVER)):
            try:
                if carry is not None:
                    facts = carry.near(facts)
                return retried(attempt)
            except LeftBehindError:
                if not left:
                    raise
        raise AssertionError("unreachable")


def _told(result: ImportResult) -> dict[str, Any]:
    """What the log says of an import."""
    return {
        "event": f"import: {result.status}, {result.versions} versions read",
        "run_id": result.run_id,
        "table": result.table_name,
        "table_id": result.table_id,
        "version": result.to_version,
    }


def _marks(result: LoadResult) -> tuple[str, ...]:
    if not result.head.unreadable:
        return ()
    names = ", ".join(result.head.unreadable)
    return (f"metadata is imported, rows can't be read here yet: table feature {names}",)


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
