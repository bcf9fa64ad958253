"""What commits of this process have waited for and run into, since it began."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from deltalakedb import fork, measures
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind


@dataclass(frozen=True)
class CommitMetrics:
    """Counts and seconds over all tables and databases that this process writes to.

    `locks` were waited for `lock_seconds` in all (with the message that takes them), the longest
    for `longest_lock_seconds`; `timeouts` weren't got. `commits` are versions that were made,
    `conflicts` refusals by rule, also of what a call has then tried again. Of `published` versions,
    the log had the last one `last_publish_seconds` after its COMMIT, the slowest after
    `longest_publish_seconds`;
    `unpublished` weren't in the log when their write returned.
    """

    commits: int = 0
    conflicts: Mapping[str, int] = field(default_factory=dict)
    locks: int = 0
    lock_seconds: float = 0.0
    longest_lock_seconds: float = 0.0
    timeouts: int = 0
    published: int = 0
    unpublished: int = 0
    publish_seconds: float = 0.0
    last_publish_seconds: float = 0.0
    longest_publish_seconds: float = 0.0


class _Counted:
    """The same as fields that change, so that a commit pays little for being counted."""

    def __init__(self) -> None:
        self.commits = self.locks = self.timeouts = self.published = self.unpublished = 0
        self.conflicts: dict[str, int] = {}
        self.lock_seconds = self.longest_lock_seconds = 0.0
        self.publish_seconds = self.last_publish_seconds = self.longest_publish_seconds = 0.0


_counted = _Counted()
_lock = fork.Lock()
_own = threading.local()


def commit_metrics() -> CommitMetrics:
    """What this process's commits have waited for so far; for monitoring, by differences."""
    with _lock:
        return CommitMetrics(**{**vars(_counted), "conflicts": dict(_counted.conflicts)})


def waited() -> float:
    """The seconds that this thread has waited for locks of heads."""
    found: float = getattr(_own, "seconds", 0.0)
    return found


@contextmanager
def locking() -> Iterator[None]:
    """Around taking the lock of heads."""
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - began
        _own.seconds = waited() + seconds
        with _lock:
            _counted.locks += 1
            _counted.lock_seconds += seconds
            _counted.longest_lock_seconds = max(_counted.longest_lock_seconds, seconds)


def committed(versions: int) -> None:
    """So many versions were made."""
    with _lock:
        _counted.commits += versions


def refused(error: DeltaLakeError) -> None:
    """A commit was refused."""
    with _lock:
        if error.kind is DeltaLakeErrorKind.TIMEOUT_ERROR:
            rule = "timeout"
            _counted.timeouts += 1
        elif error.kind is DeltaLakeErrorKind.CONCURRENCY_ERROR:
            rule = str(error.facts.get("rule", "other"))
            _counted.conflicts[rule] = _counted.conflicts.get(rule, 0) + 1
        else:
            return
    measures.count(measures.COMMIT_CONFLICTS, rule)


def published(seconds: float, *, ready: bool) -> None:
    """A version's way into the log, as far as its write has waited for it."""
    with _lock:
        if not ready:
            _counted.unpublished += 1
            return
        _counted.published += 1
        _counted.publish_seconds += seconds
        _counted.last_publish_seconds = seconds
        _counted.longest_publish_seconds = max(_counted.longest_publish_seconds, seconds)
