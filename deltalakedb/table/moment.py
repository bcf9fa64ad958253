"""Versions and moments as callers give them."""

from __future__ import annotations

import datetime as dt
import operator
from typing import TYPE_CHECKING, Any, TypeAlias

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

if TYPE_CHECKING:
    import numpy as np

Timestamp: TypeAlias = "int | str | dt.datetime | dt.date | np.datetime64"
"""Milliseconds since 1970, ISO 8601 text (UTC without a zone), or a datetime, also numpy's."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FOREVER = (1 << 63) - 1


def whole_version(version: Any) -> int:
    """A version as a plain number: numpy's are taken, text, fractions and truths are not."""
    try:
        if not isinstance(version, bool):
            return operator.index(version)
    except TypeError:
        pass
    raise DeltaLakeError(
        DeltaLakeErrorKind.INVALID_ARGUMENT,
        f"{version!r} is no version; use a whole number, or timestamp= for a time",
    )


def milliseconds(timestamp: Timestamp) -> int:
    """A timestamp as milliseconds since 1970; without a zone it is UTC. numpy's are taken too."""
    if isinstance(timestamp, bool):
        raise _bad_timestamp(timestamp)
    try:
        # Whole numbers of numpy's too; more than 64 bits is before or after everything.
        return min(max(operator.index(timestamp), -_FOREVER), _FOREVER)  # type: ignore[arg-type]
    except TypeError:
        pass
    if type(timestamp).__module__ == "numpy":
        import numpy as np

        if isinstance(timestamp, np.datetime64) and not np.isnat(timestamp):
            return int(timestamp.astype("datetime64[ms]").astype(np.int64))
    if isinstance(timestamp, str):
        try:
            timestamp = dt.datetime.fromisoformat(timestamp)
        except ValueError:
            raise _bad_timestamp(timestamp) from None
    if not isinstance(timestamp, dt.datetime):
        if not isinstance(timestamp, dt.date):
            raise _bad_timestamp(timestamp)
        timestamp = dt.datetime(timestamp.year, timestamp.month, timestamp.day)
    if timestamp.tzinfo is None:
        timestamp = timestamp.replace(tzinfo=dt.UTC)
    return (timestamp - _EPOCH) // dt.timedelta(milliseconds=1)


def _bad_timestamp(value: object) -> DeltaLakeError:
    return DeltaLakeError(
        DeltaLakeErrorKind.INVALID_ARGUMENT,
        f"{value!r} is no timestamp; use milliseconds since 1970, ISO 8601 text such as "
        "2024-05-01T12:00:00Z, or a datetime",
    )


def iso_text(time_ms: int) -> str:
    """Milliseconds since 1970 as ISO 8601 text in UTC; as a number beyond the years 1 to 9999."""
    try:
        return (_EPOCH + dt.timedelta(milliseconds=time_ms)).isoformat()
    except OverflowError:
        return f"{time_ms} ms since 1970"
