"""Runs trials of damaged logs in processes of their own, and sees those that die."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

_SLOWEST = 60.0
"""Seconds that one log may take."""


class Fuzz:
    """The damaged logs of one seed; `work` may be called by several threads."""

    def __init__(
        self,
        tables: Path,
        seed: int,
        seconds: float,
        count: int,
        one: int | None = None,
        *,
        verbose: bool = False,
    ) -> None:
        self._tables = sorted(t for t in tables.iterdir() if (t / "_delta_log").is_dir())
        self._seed = seed
        self._end = time.monotonic() + seconds
        self._numbers = iter(range(count) if one is None else [one])
        self._lock = threading.Lock()
        self._verbose = verbose
        self.tried = 0
        self.faults: list[str] = []

    def _next(self) -> int | None:
        with self._lock:
            return next(self._numbers, None) if time.monotonic() < self._end else None

    def work(self) -> None:
        """Try logs until the time or their number is over."""
        trial = _Trial()
        try:
            while (number := self._next()) is not None:
                seed = self._seed * 1_000_003 + number
                table = self._tables[seed % len(self._tables)]
                found = trial.ask(table, seed)
                with self._lock:
                    self.tried += 1
                    place = f"number {number} ({table.name}, {found['how']})"
                    self.faults += [f"{place}: {fault}" for fault in found["raw"]]
                    if self._verbose:
                        print(place, *found["raised"], sep="\n    ", flush=True)
        finally:
            trial.close()


class _Trial:
    """The process that reads; a new one after each that died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by close()
        self._cache = tempfile.TemporaryDirectory(prefix="dl-fuzz-cache-")

    def ask(self, table: Path, seed: int) -> dict[str, Any]:
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([str(table), seed]) + "\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            ready = selector.select(_SLOWEST)
        line = process.stdout.readline() if ready else ""
        if line:
            found: dict[str, Any] = json.loads(line)
            return found
        if not ready:
            process.kill()
        status = process.wait()
        self._process = None
        why = f"the process ended with {status}" if ready else f"more than {_SLOWEST:.0f} s"
        self._errors.seek(0)
        return {"how": "?", "raised": [], "raw": [f"{why}: {self._errors.read()[-2000:]}"]}

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._errors.seek(0)
            self._errors.truncate()
            self._process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz.trial"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                cwd=Path(__file__).parents[2],
                env={**os.environ, "DL_CACHE_DIR": self._cache.name},
            )
        return self._process

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.stdout.close()
            self._process.wait()
        self._errors.close()
        self._cache.cleanup()
