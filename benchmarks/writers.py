"""Several appending processes at once, and what they achieved together."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measure import ROOT, ProcessFailed


@dataclass(frozen=True)
class Appended:
    """What some processes did in `duration` seconds: the time of each append, failures, CPU."""

    duration: float
    seconds: tuple[float, ...]
    failures: Counter[str]
    cpu_seconds: float = 0.0
    lags: tuple[float, ...] = ()
    """Seconds from COMMIT until the version was in the log, where they are known."""

    @property
    def acknowledged(self) -> int:
        return len(self.seconds)

    @property
    def seconds_each(self) -> float:
        """Seconds for an acknowledged append, of all processes together."""
        return self.duration / max(1, self.acknowledged)

    @property
    def rate(self) -> float:
        """Acknowledged appends a second."""
        return self.acknowledged / self.duration

    def quantile(self, share: float) -> float:
        """Seconds within which that share of the appends was acknowledged."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def lag(self, share: float) -> float:
        """Seconds after COMMIT within which that share of the versions was in the log."""
        ordered = sorted(self.lags)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @property
    def note(self) -> str:
        """Rate, latencies and failures, for the report."""
        failed = sum(self.failures.values())
        share = f"{failed} failed ({failed / max(1, failed + self.acknowledged):.1%})"
        if not self.seconds:
            return f"nothing acknowledged, {share}"
        return (
            f"{self.rate:.0f}/s, p50 {self.quantile(0.5) * 1e3:.1f}, p99 "
            f"{self.quantile(0.99) * 1e3:.1f}, max {max(self.seconds) * 1e3:.0f} ms, "
            f"{self.cpu_seconds / self.acknowledged * 1e3:.1f} ms of CPU each, {share}"
        )


def append(
    kind: str,
    targets: Sequence[str],
    seconds: float,
    rows: int = 10,
    python: str = sys.executable,
) -> Appended:
    """Append in one process a target, all at the same time, for so many seconds."""
    processes = [
        subprocess.Popen(
            [
                *(python, "-m", "benchmarks.appender", kind, target),
                *("--seconds", str(seconds), "--rows", str(rows)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for target in targets
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise ProcessFailed(f"an appender of kind {kind} didn't start: {_last(process)}")
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        taken: list[float] = []
        failures: Counter[str] = Counter()
        lags: list[float] = []
        cpu = 0.0
        for process in processes:
            out, err = process.communicate(timeout=seconds + 120)
            if process.returncode:
                raise ProcessFailed(f"an appender of kind {kind} failed: {err[-300:]}")
            answer = json.loads(out)
            taken += answer["seconds"]
            failures.update(answer["failures"])
            lags += answer["lags"]
            cpu += answer["cpu"]
        return Appended(seconds, tuple(taken), failures, cpu, tuple(lags))
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _last(process: subprocess.Popen[str]) -> str:
    _, err = process.communicate(timeout=30)
    return err.strip().splitlines()[-1] if err.strip() else "without a word"
