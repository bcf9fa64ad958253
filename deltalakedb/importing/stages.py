"""How long each stage of a load took."""

from __future__ import annotations

import time


class StageClock:
    """Stages follow each other without gaps, so their seconds add up to the whole."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def done(self, stage: str) -> None:
        """What went on since the last call was `stage`."""
        now = time.perf_counter()
        self.seconds[stage] = now - self._last
        self._last = now
