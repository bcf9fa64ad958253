"""How long a statement waits for another process's write before it gives up."""

from __future__ import annotations

from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

_DEFAULT_SECONDS = 5.0


def busy_seconds(url: DatabaseUrl) -> float:
    """The URL's option `timeout`, else 5. INVALID_ARGUMENT for one that is no number."""
    given = url.driver_options.get("timeout")
    if given is None:
        return _DEFAULT_SECONDS
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"the database URL's option timeout={given} has to be seconds, 0 to 86400",
            option="timeout",
        )
    return seconds
