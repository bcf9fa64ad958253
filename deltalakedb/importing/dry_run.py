"""What an import would do, without doing it."""

from __future__ import annotations

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading import queries
from deltalakedb.config import SqlConfig
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing.agreement import agreed_listing, ratified_by_sql
from deltalakedb.importing.catch_up import new_commits
from deltalakedb.importing.request import (
    ImportRequest,
    existing_table,
    identified,
    kept_mode,
    makes_new_load,
)
from deltalakedb.importing.result import ImportResult
from deltalakedb.importing.segments import base_version, with_readable
from deltalakedb.log.reader import plan_ranges
from deltalakedb.log.segment import CommitEntry, LogListing
from deltalakedb.storage.open import open_store


def dry_run_of(
    request: ImportRequest, listing: LogListing, database: str | SqlConfig
) -> ImportResult:
    """What an import would read, and refuse; opens checkpoints' footers, writes nothing."""
    store = open_store(request.store)
    existing: queries.TableRow | None = None
    catalog = _catalog(database)
    if catalog is not None:
        with catalog:
            existing = existing_table(catalog, request)
            if existing is not None:
                listing = agreed_listing(catalog, request, existing, listing)
            if existing is not None and not makes_new_load(request, existing):
                return _planned_update(request, existing, listing)
    table = identified(request, existing)
    segment, ranges, warnings = with_readable(
        table.chosen_mode, listing, lambda found: plan_ranges(store, found)
    )
    return ImportResult(
        table_id=existing.table_id if existing else (request.table_id or ""),
        table_name=table.full_name,
        location=request.location,
        run_id=None,
        status="planned",
        mode=table.chosen_mode,
        from_version=segment.known_since,
        to_version=segment.head,
        checkpoint_version=base_version(segment),
        known_since=segment.known_since,
        versions=sum(len(run.commits) for run in segment.runs),
        adds=0,
        removes=0,
        live_files=existing.num_files if existing else 0,
        workers=0,
        seconds=0.0,
        log_bytes=sum(r.size for r in ranges),
        parts=len(ranges),
        warnings=tuple(warnings),
    )


def _planned_update(
    request: ImportRequest, table: queries.TableRow, listing: LogListing
) -> ImportResult:
    warnings = kept_mode(request, table)
    commits: tuple[CommitEntry, ...] = ()
    if table.authority == "log":
        commits = new_commits(table, listing)
    else:
        warnings = (ratified_by_sql(table, listing), *warnings)
    return ImportResult(
        table_id=table.table_id,
        table_name=table.full_name,
        location=table.location,
        run_id=None,
        status="planned",
        mode=table.mode,
        from_version=table.head_version + 1 if commits else table.head_version,
        to_version=commits[-1].version if commits else table.head_version,
        checkpoint_version=None,
        known_since=table.known_since,
        versions=len(commits),
        adds=0,
        removes=0,
        live_files=table.num_files,
        workers=0,
        seconds=0.0,
        log_bytes=sum(c.size for c in commits),
        parts=1,
        warnings=warnings,
    )


def _catalog(database: str | SqlConfig) -> Catalog | None:
    """The catalog if there is one; if not, the import would make it."""
    try:
        return Catalog(database)
    except DeltaLakeError as error:
        if error.kind is not DeltaLakeErrorKind.NOT_FOUND:
            raise
        return None
