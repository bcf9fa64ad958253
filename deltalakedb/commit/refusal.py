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
        "resolve` shows the ways out",
        head=head_version,
        version=newest,
    )
