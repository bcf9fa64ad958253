"""Commits that others have put into a log, into the catalog: where the log ratifies."""

from __future__ import annotations

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.loads import ledger
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.records import TableRow
from deltalakedb.commit.apply import apply_state
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit import ActionReader
from deltalakedb.log.paths import CommitFile, parse_log_name
from deltalakedb.log.ranges import RANGE_BYTES
from deltalakedb.mirror.publish import commit_name
from deltalakedb.mirror.strangers import strangers_in, tell
from deltalakedb.replay.state import RangeState
from deltalakedb.storage.store import ObjectStore

_COMMITS = 1_000
"""Read and applied at a time, and no more than a range's bytes."""


def adopt(database: DatabaseUrl, table: TableRow, log: ObjectStore) -> int:
    """Apply the commits after the catalog's head; the head then.

    A commit of ours whose transaction was lost after its file was put is among them: its token
    is recorded with it. Raises MISSING_COMMIT for a gap.
    """
    with Catalog(database) as catalog:
        while True:
            row = queries.find_table(catalog, table.table_id)
            found = log.list("", commit_name(row.head_version))
            versions = {
                name.version: each
                for each in found
                if isinstance(name := parse_log_name(each.name), CommitFile)
            }
            if not versions:
                return row.head_version
            first = row.head_version + 1
            if first not in versions:
                if log.exists(commit_name(first)):
                    # The listing was made while others wrote.
                    continue
                raise DeltaLakeError(
                    DeltaLakeErrorKind.MISSING_COMMIT,
                    f"commit {first} of {row.full_name} is missing from its log, so the catalog "
                    f"can't catch up to {max(versions)}; restore it, or import anew with --rebuild",
                    version=first,
                )
            last, size = first, versions[first].size
            while last + 1 in versions and last - first + 1 < _COMMITS and size < RANGE_BYTES:
                last += 1
                size += versions[last].size
            reader = ActionReader()
            names = [versions[version] for version in range(first, last + 1)]
            contents = log.read_many([each.name for each in names])
            for version, each, data in zip(range(first, last + 1), names, contents, strict=True):
                reader.commit(version, data, name=each.name, file_time=each.modified_ms)
            state = RangeState.replay(reader.finish(), first, last)
            strange = strangers_in(catalog, row, state)
            if _apply(catalog, row, state) and strange:
                tell(catalog, row, strange)


def _apply(catalog: Catalog, row: TableRow, state: RangeState) -> bool:
    """False where another was faster."""
    run = ledger.start_run(
        catalog,
        table_id=row.table_id,
        table_name=row.full_name,
        location=row.location,
        mode=row.mode,
        workers=0,
    )
    try:
        apply_state(catalog, row, run, state)
    except DeltaLakeError as error:
        ledger.fail_run(catalog, run, error)
        # Another has adopted them meanwhile: look again.
        if error.kind is not DeltaLakeErrorKind.CONCURRENCY_ERROR:
            raise
        return False
    except BaseException as error:
        ledger.fail_run(catalog, run, error)
        raise
    return True
