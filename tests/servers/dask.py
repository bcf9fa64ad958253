"""A Dask cluster as one starts it by hand: `dask scheduler` and `dask worker`s, each a process."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.servers.process import ServerFolder, ServerProcess, free_port

_DASK = Path(sys.executable).with_name("dask")
_ENVIRONMENT = {
    # Our sources, wherever the tests are started; and numpy's threads would only be in the way.
    "PYTHONPATH": str(Path(__file__).parents[2]),
    "OMP_NUM_THREADS": "1",
    # A scheduler that is gone is noticed within seconds.
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",
}


class DaskServer:
    """A scheduler and workers of `threads` threads each, on 127.0.0.1."""

    def __init__(self, workers: int = 2, *, threads: int = 1, nanny: bool = True) -> None:
        self._folder = ServerFolder("dask")
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self._threads, self._nanny = threads, nanny
        self.scheduler = ServerProcess(self._folder, "scheduler", last_signal=signal.SIGKILL)
        self.workers: list[ServerProcess] = []
        self.start_scheduler()
        self.start_workers(workers)

    def start_scheduler(self) -> None:
        host, port = self.address.removeprefix("tcp://").split(":")
        self.scheduler.start(
            [_DASK, "scheduler", "--host", host, "--port", port, "--no-dashboard", "--no-show"],
            lambda: self._count(0),
            cwd=self._folder.path,
            env=_ENVIRONMENT,
        )

    def start_workers(self, count: int) -> None:
        """Start so many more, and wait until the scheduler has them."""
        command = [_DASK, "worker", self.address, "--nthreads", self._threads, "--no-dashboard"]
        command += ["--local-directory", self._folder.path]
        if not self._nanny:
            command.append("--no-nanny")
        for _ in range(count):
            name = f"worker{len(self.workers)}"
            worker = ServerProcess(self._folder, name, last_signal=signal.SIGTERM)
            worker.start(command, lambda: None, cwd=self._folder.path, env=_ENVIRONMENT)
            self.workers.append(worker)
        self._count(len(self.workers))

    def kill_workers(self) -> None:
        """End all worker processes as the system does when memory runs out."""
        for worker in self.workers:
            worker.stop(signal.SIGKILL)
        self.workers.clear()

    def _count(self, workers: int) -> None:
        from distributed import Client

        with Client(self.address, timeout=60, set_as_default=False) as client:
            if workers:
                client.wait_for_workers(workers, timeout=180 + 5 * workers)

    def close(self) -> None:
        """End all of it and remove what it has written."""
        for worker in self.workers:
            worker.stop(signal.SIGTERM)
        self.scheduler.stop(signal.SIGKILL)
        self._folder.close()
