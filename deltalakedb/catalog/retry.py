"""Again, after what passes: a lost connection, a database that restarts, a lock that is held."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

T = TypeVar("T")

ATTEMPTS = 8
"""With the pauses between them about a quarter of a minute."""


def passes(error: DeltaLakeError) -> bool:
    """Whether the same may succeed a little later; who came first has to be looked at anew."""
    return error.retryable and error.kind is not DeltaLakeErrorKind.CONCURRENCY_ERROR


def retried(
    action: Callable[[int], T],
    when: Callable[[DeltaLakeError], bool] = passes,
    attempts: int = ATTEMPTS,
) -> T:
    """The value of `action(attempt)`, attempts counted from 0; the last error when all fail."""
    for attempt in range(attempts):
        try:
            return action(attempt)
        except DeltaLakeError as error:
            if not when(error) or attempt == attempts - 1:
                raise
            # Spread, so that many workers don't come back in one moment.
            time.sleep(min(0.1 * 2**attempt, 8.0) * random.uniform(0.5, 1.5))
    raise AssertionError("unreachable")
