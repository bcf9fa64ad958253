"""Times subprocesses and takes the peak memory of every process they start."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from benchmarks.memory import high_water_mb
from deltalakedb.redact import redact

ROOT = Path(__file__).resolve().parent.parent
MEGABYTE = 1024 * 1024


class ProcessFailed(RuntimeError):
    """A measured process ended with an exit code that was not expected."""


@dataclass(frozen=True)
class Timing:
    """Runs of the same thing, in seconds."""

    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    @property
    def spread(self) -> float:
        """Distance from the fastest to the slowest run, in seconds."""
        return max(self.runs) - min(self.runs)


@dataclass(frozen=True)
class Peak:
    """Highest resident memory (VmHWM) of one process of a tree, in MB."""

    pid: int
    command: str
    megabytes: float


@dataclass(frozen=True)
class ProcessRun:
    """A finished process tree: wall seconds, and the peak of each process, greatest first."""

    seconds: float
    exit_code: int
    stdout: str
    stderr: str
    peaks: tuple[Peak, ...] = field(repr=False)
    root_pid: int

    @property
    def peak_mb(self) -> float:
        """Peak of the greatest process."""
        return max((p.megabytes for p in self.peaks), default=0.0)

    @property
    def root_peak_mb(self) -> float:
        """Peak of the process that was started itself."""
        return max((p.megabytes for p in self.peaks if p.pid == self.root_pid), default=0.0)

    @property
    def children_peak_mb(self) -> float:
        """Peak of the greatest process below it (a worker), 0 when there was none."""
        return max((p.megabytes for p in self.peaks if p.pid != self.root_pid), default=0.0)


class _TreeSampler(threading.Thread):
    """Reads VmHWM of a process and all below it until told to stop.

    VmHWM only grows, so a rare sample is enough; wait4's ru_maxrss is of no use here, as a child
    made by vfork starts with its parent's figure.
    """

    def __init__(self, pid: int, interval: float = 0.02) -> None:
        super().__init__(daemon=True)
        self._root = pid
        self._interval = interval
        self._ended = threading.Event()
        self._peaks: dict[int, float] = {}
        self._commands: dict[int, str] = {}

    def run(self) -> None:
        pids = [self._root]
        round_number = 0
        while not self._ended.is_set():
            if round_number % 10 == 0:
                pids = self._tree()
            round_number += 1
            for pid in pids:
                megabytes = high_water_mb(pid)
                if megabytes > self._peaks.get(pid, 0.0):
                    self._peaks[pid] = megabytes
            self._ended.wait(self._interval)

    def _tree(self) -> list[int]:
        try:
            root = psutil.Process(self._root)
            found = [root, *root.children(recursive=True)]
        except psutil.Error:
            return [self._root]
        for process in found:
            if process.pid not in self._commands:
                try:
                    self._commands[process.pid] = " ".join(process.cmdline())[:200]
                except psutil.Error:
                    continue
        return [process.pid for process in found]

    def finish(self) -> tuple[Peak, ...]:
        self._ended.set()
        self.join()
        peaks = [Peak(p, self._commands.get(p, ""), mb) for p, mb in self._peaks.items()]
        return tuple(sorted(peaks, key=lambda peak: -peak.megabytes))


def run_process(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    expect: Sequence[int] | None = (0,),
    timeout: float = 3600,
) -> ProcessRun:
    """Run a command to its end; raises ProcessFailed when its exit code is not in `expect`."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    sampler = _TreeSampler(process.pid)
    sampler.start()
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    finally:
        seconds = time.perf_counter() - started
        peaks = sampler.finish()
    if expect is not None and process.returncode not in expect:
        raise ProcessFailed(
            redact(f"{' '.join(command)} ended with {process.returncode}:\n{stderr[-4000:]}")
        )
    return ProcessRun(seconds, process.returncode, stdout, stderr, peaks, process.pid)


@dataclass(frozen=True)
class Probe:
    """What a function did in fresh processes: seconds without imports, peak MB of each process.

    `imported`: the modules that the function imported while the clock ran.
    """

    timing: Timing
    peak_mb: float
    result: Any
    imported: tuple[str, ...] = field(default=(), repr=False)


def probe(
    target: str,
    *arguments: str,
    repeat: int = 1,
    imports: Sequence[str] = (),
) -> Probe:
    """Run `module:function` with text arguments in `repeat` fresh processes, one after another.

    `imports`: modules to import before the clock starts.
    """
    return joined(
        [
            _probe_once(target, arguments, environment={"PROBE_IMPORTS": ",".join(imports)})
            for _ in range(repeat)
        ]
    )


def _probe_once(target: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Probe:
    command = [sys.executable, "-m", "benchmarks.probe", target, *arguments]
    run = run_process(command, environment=environment)
    answer = json.loads(run.stdout.splitlines()[-1])
    return Probe(
        Timing((answer["seconds"],)),
        answer["peak_mb"],
        answer["result"],
        tuple(answer["imported"]),
    )


def joined(probes: Sequence[Probe]) -> Probe:
    """Several runs of the same thing as one."""
    last = probes[-1]
    return Probe(
        Timing(tuple(seconds for p in probes for seconds in p.timing.runs)),
        max(p.peak_mb for p in probes),
        last.result,
        last.imported,
    )


def time_calls(call: Callable[[], object], repeat: int) -> Timing:
    """Time a callable in this process."""
    runs = []
    for _ in range(repeat):
        started = time.perf_counter()
        call()
        runs.append(time.perf_counter() - started)
    return Timing(tuple(runs))


PACKAGES = (
    "deltalakedb",
    "deltalake",
    "pyarrow",
    "orjson",
    "sqlalchemy",
    "adbc-driver-postgresql",
    "psycopg2-binary",
    "pymysql",
    "dask",
    "distributed",
)


def machine_facts() -> dict[str, str]:
    """Cores, processor, memory and versions, for the head of a report."""
    import sqlite3

    facts = {
        "cores": str(len(os.sched_getaffinity(0))),
        "cpu": _cpu_model(),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    for package in PACKAGES:
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            facts[package] = "not installed"
    return facts


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"
