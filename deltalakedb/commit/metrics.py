"""What commits of this process have waited for and run into, since it began."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from deltalakedb import fork
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
    def __init__(self) -> None:
        self.now = CommitMetrics()


_counted = _Counted()
_lock = fork.Lock()
_own = threading.local()


def commit_metrics() -> CommitMetrics:
    """What this process's commits have waited for so far; for monitoring, by differences."""
    return _counted.now


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
            now = _counted.now
            _counted.now = replace(
                now,
                locks=now.locks + 1,
                lock_seconds=now.lock_seconds + seconds,
                longest_lock_seconds=max(now.longest_lock_seconds, seconds),
            )


def committed(versions: int) -> None:
    """So many versions were made."""
    with _lock:
        _counted.now = replace(_counted.now, commits=_counted.now.commits + versions)


def refused(error: DeltaLakeError) -> None:
    """A commit was refused."""
    with _lock:
        now = _counted.now
        if error.kind is DeltaLakeErrorKind.TIMEOUT_ERROR:
            _counted.now = replace(now, timeouts=now.timeouts + 1)
        elif error.kind is DeltaLakeErrorKind.CONCURRENCY_ERROR:
            rule = str(error.facts.get("rule", "other"))
            conflicts = {**now.conflicts, rule: now.conflicts.get(rule, 0) + 1}
            _counted.now = replace(now, conflicts=conflicts)


def published(seconds: float, *, ready: bool) -> None:
    """A version's way into the log, as far as its write has waited for it."""
    with _lock:
        now = _counted.now
        if not ready:
            _counted.now = replace(now, unpublished=now.unpublished + 1)
            return
        _counted.now = replace(
            now,
            published=now.published + 1,
            publish_seconds=now.publish_seconds + seconds,
            last_publish_seconds=seconds,
            longest_publish_seconds=max(now.longest_publish_seconds, seconds),
        )
