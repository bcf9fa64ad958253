"""How long the tests marked `long` go on: DL_LENGTH times what half an hour for all takes."""

from __future__ import annotations

import os

LENGTH = float(os.environ.get("DL_LENGTH", "1"))
FULL = LENGTH >= 3
"""Whether also what hardly differs is tried in every combination."""


def rounds(number: int) -> int:
    """So many examples or repetitions, at least one."""
    return max(1, round(number * LENGTH))


def seconds(number: float) -> float:
    return number * LENGTH
