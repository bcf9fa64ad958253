"""Refusals that several operations have in common."""

from __future__ import annotations

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind


def table_exists(name: str) -> DeltaLakeError:
    """The error for a name that is taken."""
    return DeltaLakeError(
        DeltaLakeErrorKind.TABLE_EXISTS,
        f"table {name} exists already; append to it, overwrite it, or choose another name",
        table=name,
    )
