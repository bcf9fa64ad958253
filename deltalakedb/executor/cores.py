"""How many cores a process may use, and how many of them nobody else is using now."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Cores by the process's affinity and its control group's quota (both versions); at least 1."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = _quota(cgroup)
    return cores if quota is None else max(1, min(cores, int(quota)))


def free_cores(cgroup: Path = _CGROUP) -> int:
    """Usable cores without those that the last minute's load kept busy; at least 1."""
    usable = usable_cores(cgroup)
    if not hasattr(os, "getloadavg"):
        return usable
    return max(1, usable - round(os.getloadavg()[0]))


def _quota(cgroup: Path) -> float | None:
    """Cores' worth of time that the control group gets; None where it isn't limited."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not quota.isdigit() or not period.isdigit() or period == "0":
        return None
    return int(quota) / int(period)
