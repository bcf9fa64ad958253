"""Refusals that several operations have in common."""

from __future__ import annotations

from deltalakedb.catalog.records import TableRow
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind


def table_exists(name: str) -> DeltaLakeError:
    """The error for a name that is taken."""
    return DeltaLakeError(
        DeltaLakeErrorKind.TABLE_EXISTS,
        f"table {name} exists already; append to it, overwrite it, or choose another name",
        table=name,
    )


def location_taken(row: TableRow, by: str) -> DeltaLakeError:
    """The error for a new table where another one is catalogued."""
    return DeltaLakeError(
        DeltaLakeErrorKind.TABLE_EXISTS,
        f"{row.location} is the location of table {by}; choose another for {row.full_name}",
        location=row.location,
    )


def log_exists(location: str, name: str = "") -> DeltaLakeError:
    """The error for a new table where a log is."""
    which = f" ({name})" if name else ""
    return DeltaLakeError(
        DeltaLakeErrorKind.TABLE_EXISTS,
        f"{location} has a log already{which}; import it with `dl import`, or choose another "
        "location",
        location=location,
    )


def dropped(row: TableRow) -> DeltaLakeError:
    """The error for a table that isn't there under the lock."""
    return DeltaLakeError(
        DeltaLakeErrorKind.TABLE_NOT_FOUND,
        f"table {row.full_name} was dropped meanwhile",
        table=row.full_name,
    )


def not_the_same(row: TableRow, how: str = "") -> DeltaLakeError:
    """The error for a table of which something else was read than is there under the lock."""
    return DeltaLakeError(
        DeltaLakeErrorKind.CONCURRENCY_ERROR,
        f"{row.full_name} was moved, restored or handed over since it was opened{how}; open it "
        "again",
        rule="epoch",
    )


def catalog_behind(row: TableRow, head_version: int, newest: int) -> DeltaLakeError:
    """The error for a log, or a reader, that knows later versions than the catalog."""
    return DeltaLakeError(
        DeltaLakeErrorKind.MIRROR_CONFLICT,
        f"the catalog has {row.full_name} at version {head_version}, its log goes to {newest}: the "
        "catalog was restored or failed over with loss, or others write to the log; `dl mirror "
        f"repair {row.full_name}` brings it up to the log",
        head=head_version,
        version=newest,
    )


def files_taken(row: TableRow) -> DeltaLakeError:
    """The error for files that nobody had registered when all that nobody knew of were deleted."""
    return DeltaLakeError(
        DeltaLakeErrorKind.CONCURRENCY_ERROR,
        f"a vacuum of {row.full_name} that lists its folder has run since this write began, and "
        "may have taken its files; run it again",
        rule="files_taken",
    )


def not_live(row: TableRow) -> DeltaLakeError:
    """The error for a commit of which a statement found other rows than it has to."""
    return DeltaLakeError(
        DeltaLakeErrorKind.CONCURRENCY_ERROR,
        f"a file that this commit of {row.full_name} removes isn't live, or one that it adds was "
        "taken by a vacuum; look at the table again",
        rule="not_live",
    )
