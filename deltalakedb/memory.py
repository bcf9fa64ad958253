"""Memory that runs out: one error, whoever noticed it; and how often it is tidied up."""

from __future__ import annotations

import errno
import gc
from collections.abc import Iterator
from contextlib import contextmanager

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind


@contextmanager
def enough_memory(doing: str, advice: str) -> Iterator[None]:
    """Raises OUT_OF_MEMORY where Python, Arrow or the system give no more.

    `doing` completes "memory ran out while", `advice` says what to do.
    """
    try:
        yield
    except MemoryError as error:  # Arrow's is one, too
        raise _error(doing, advice) from error
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        raise _error(doing, advice) from error
    except RuntimeError as error:
        if "can't start new thread" not in str(error):
            raise
        raise _error(doing, advice) from error


@contextmanager
def without_collector() -> Iterator[None]:
    """Without the cyclic collector, for work on many objects that hold no cycles.

    It would walk them again and again: half of the time of such work. Bound their number.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _error(doing: str, advice: str) -> DeltaLakeError:
    return DeltaLakeError(
        DeltaLakeErrorKind.OUT_OF_MEMORY, f"memory ran out while {doing}; {advice}"
    )
