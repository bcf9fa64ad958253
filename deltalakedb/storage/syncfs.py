"""One sync of a file system for many of its files: Linux's syncfs, which Python has no name for.

An fsync each waits for the journal each time, and so does whoever else writes there. Of many small
new files one syncfs takes as long as one or two of those.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from functools import cache

_KNOWN_TYPES = (0xEF53, 0x58465342, 0x9123683E)
"""ext4, XFS and Btrfs. Others may keep less than they say: FUSE doesn't ask its server."""
_LONG_SECONDS = 1.0
_PAUSE_SECONDS = 60.0
"""After a sync took long (much of others' was unwritten), files are synced alone for a while."""
_REPORTS_ERRORS = (5, 8)
"""From this Linux on syncfs fails where a file couldn't be written."""


class _Pause:
    until = 0.0


def sync_whole(descriptor: int) -> bool:
    """Make all of an open file's file system durable; False where it can't be relied upon or pays.

    Raises OSError where something couldn't be written.
    """
    calls = _calls()
    began = time.monotonic()
    if calls is None or began < _Pause.until:
        return False
    syncfs, fstatfs = calls
    # Greater than any platform's struct statfs, which begins with the type.
    status = (ctypes.c_long * 64)()
    if fstatfs(descriptor, ctypes.byref(status)) or status[0] not in _KNOWN_TYPES:
        return False
    if syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    ended = time.monotonic()
    if ended - began > _LONG_SECONDS:
        _Pause.until = ended + _PAUSE_SECONDS
    return True


@cache
def _calls() -> tuple[Callable[..., int], Callable[..., int]] | None:
    if sys.platform != "linux":
        return None
    major, minor = os.uname().release.split(".")[:2]
    if not (major.isdigit() and minor.isdigit()) or (int(major), int(minor)) < _REPORTS_ERRORS:
        return None
    try:
        library = ctypes.CDLL(None, use_errno=True)
        return library.syncfs, library.fstatfs
    except (OSError, AttributeError):
        return None
