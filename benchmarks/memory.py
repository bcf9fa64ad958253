"""Peak memory of a process, without imports of its own: it runs inside what is measured."""

from __future__ import annotations


def high_water_mb(pid: int | str = "self") -> float:
    """VmHWM of a process in MB; 0.0 when it has ended."""
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
    except OSError:
        return 0.0
    return 0.0
