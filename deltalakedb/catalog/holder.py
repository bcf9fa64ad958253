"""Who holds a lease: a process that others can tell apart from all others, and know to be dead."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path


def holder() -> str:
    """This process: `host/pids/pid/start`, where `pids` says of which counting the pid is."""
    return "/".join((socket.gethostname(), _pids(), str(os.getpid()), _start(os.getpid())))


def is_dead(text: str) -> bool:
    """Whether a holder is known to have ended. Of another machine, boot or container none is."""
    host, _, rest = text.partition("/")
    pids, _, rest = rest.partition("/")
    pid, _, start = rest.partition("/")
    if host != socket.gethostname() or not pids or pids != _pids() or not pid.isdecimal():
        return False
    now = _start(int(pid))
    return now != start


@cache
def _pids() -> str:
    """The boot and the namespace that a process's number belongs to; '' where that isn't told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot[:8]}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _start(pid: int) -> str:
    """When a process began, in ticks since the boot; '' when there is none, or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
