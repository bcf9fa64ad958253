"""Table properties that say how long the log and its files are kept.

Their texts are Spark's calendar intervals (`interval 1 week`, `30 days`, `2 hours 30 minutes`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

LOG_RETENTION = "delta.logRetentionDuration"
DELETED_FILE_RETENTION = "delta.deletedFileRetentionDuration"
TRANSACTION_RETENTION = "delta.setTransactionRetentionDuration"
CHECKPOINT_INTERVAL = "delta.checkpointInterval"
CHECKPOINT_POLICY = "delta.checkpointPolicy"
STATS_AS_JSON = "delta.checkpoint.writeStatsAsJson"
STATS_AS_STRUCT = "delta.checkpoint.writeStatsAsStruct"
IN_COMMIT_TIMESTAMPS = "delta.enableInCommitTimestamps"
TIMED_SINCE_VERSION = "delta.inCommitTimestampEnablementVersion"
TIMED_SINCE = "delta.inCommitTimestampEnablementTimestamp"
AUTO_COMPACT = "delta.autoOptimize.autoCompact"
EXPIRED_LOG_CLEANUP = "delta.enableExpiredLogCleanup"

DAY_MS = 86_400_000
_UNITS = {
    "nanosecond": 1e-6,
    "microsecond": 1e-3,
    "millisecond": 1,
    "second": 1_000,
    "minute": 60_000,
    "hour": 3_600_000,
    "day": DAY_MS,
    "week": 7 * DAY_MS,
}
_TERM = re.compile(r"\s*([+-]?\d+)\s*([a-z]+?)s?(?=\s|$)", re.IGNORECASE)
_DEFAULTS = {LOG_RETENTION: 30 * DAY_MS, DELETED_FILE_RETENTION: 7 * DAY_MS}


def interval_ms(text: str) -> int | None:
    """Milliseconds of an interval; None when it is none, or of months, which have no length."""
    rest = text.strip()
    if rest.lower().startswith("interval "):
        rest = rest[9:]
    total, position = 0.0, 0
    while position < len(rest.rstrip()):
        found = _TERM.match(rest, position)
        unit = _UNITS.get(found[2].lower()) if found else None
        if found is None or unit is None:
            return None
        total += int(found[1]) * unit
        position = found.end()
    return int(total) if position else None


def duration_ms(configuration: Mapping[str, str | None], name: str) -> int | None:
    """A retention among a table's properties, in milliseconds; its default where it isn't set.

    None when it has none (`delta.setTransactionRetentionDuration` not set). CONFIGURATION_ERROR
    when the text is no interval, or one of months.
    """
    text = configuration.get(name)
    if text is None:
        return _DEFAULTS.get(name)
    found = interval_ms(text)
    if found is None or found < 0:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONFIGURATION_ERROR,
            f"table property {name} is {text!r}, which is no length of time; set it to days or "
            "hours, as in 'interval 7 days'",
            property=name,
        )
    return found


def switch(configuration: Mapping[str, str | None], name: str, *, default: bool) -> bool:
    """A switch among a table's properties; `default` where it is not set."""
    text = configuration.get(name)
    return default if text is None else text.strip().lower() == "true"
