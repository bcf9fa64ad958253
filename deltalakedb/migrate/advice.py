"""What to do about a table that failed, by what went wrong."""

from __future__ import annotations

from deltalakedb.error import DeltaLakeErrorKind

_RETRY = "try again: `dl migrate … --retry-failed`"
_ADVICE = {
    DeltaLakeErrorKind.NOT_FOUND: "correct the location, or set skip in the mapping",
    DeltaLakeErrorKind.NOT_A_DELTA_TABLE: "correct the location, or set skip in the mapping",
    DeltaLakeErrorKind.EMPTY_LOG: "nothing was ever written there: set skip in the mapping",
    DeltaLakeErrorKind.MISSING_COMMIT: "restore the missing commit from a backup, then "
    "`dl migrate … --retry-failed`",
    DeltaLakeErrorKind.CORRUPT_COMMIT: "restore the damaged commit from a backup, then "
    "`dl migrate … --retry-failed`",
    DeltaLakeErrorKind.CORRUPT_CHECKPOINT: "have the table's own engine write a new checkpoint, "
    "then `dl migrate … --retry-failed`",
    DeltaLakeErrorKind.INVALID_LOG: "repair the log with the table's own engine, then "
    "`dl migrate … --retry-failed`",
    DeltaLakeErrorKind.UNSUPPORTED_FEATURE: "drop the feature with the table's own engine, or "
    "leave the table where it is: set skip in the mapping",
    DeltaLakeErrorKind.LOG_DISAGREES: "find out who rewrote the log, then "
    "`dl import --rebuild` this table",
    DeltaLakeErrorKind.TABLE_EXISTS: "give it another name in the mapping",
    DeltaLakeErrorKind.AUTHENTICATION_ERROR: "correct the credentials or the rights "
    "(`dl grants`), then `dl migrate … --retry-failed`",
}


def what_to_do(kind: str | None) -> str:
    """Advice for an error's kind, by its stable name; another try where nothing better is known."""
    try:
        return _ADVICE.get(DeltaLakeErrorKind(kind), _RETRY)
    except ValueError:
        return _RETRY
