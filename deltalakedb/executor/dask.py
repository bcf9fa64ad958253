"""Tasks on a Dask client that is handed in, and its failures as ours."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any
from weakref import WeakSet

from deltalakedb import tracing
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.secret import Secret

_LOOK_SECONDS = 5.0
"""How often it is asked whether there are workers, while nothing comes from them."""
_WORKERLESS_SECONDS = 120.0
"""How long a cluster that has lost all workers may take to start others."""


class OnDask:
    """Tasks on a `distributed.Client`. Dask repeats what was lost with a worker.

    The client need be nobody's default: whatever is asked of Dask is asked of it by name.
    """

    def __init__(self, client: Any, secrets: Sequence[Secret] = (), *, again: str) -> None:
        self._client = client
        self._again = again
        _check(client)
        with cluster_errors(again):
            workers = client.scheduler_info(n_workers=-1)["workers"]
        self.workers = len(workers)
        self.slots = sum(worker.get("nthreads", 1) for worker in workers.values())
        if self.workers == 0:
            raise DeltaLakeError(
                DeltaLakeErrorKind.CLUSTER_ERROR,
                f"the cluster at {client.scheduler.address} has no worker; start some, "
                "then run again",
            )
        self._submitted: WeakSet[Any] = WeakSet()
        from deltalakedb.executor.secrets import deliver

        with cluster_errors(again):
            deliver(client, secrets)

    def submit(self, task: Callable[..., Any], *args: Any, near: Any = None) -> Any:
        place: dict[str, Any] = {}
        with cluster_errors(self._again):
            if near is not None:
                holders = self._client.who_has([near]).get(near.key, ())
                if holders:
                    place = {"workers": list(holders), "allow_other_workers": True}
            future = self._client.submit(tracing.carried(task), *args, pure=False, **place)
        self._submitted.add(future)
        return future

    def completed(
        self, handles: Iterable[Any], at_once: Callable[[], int] | None = None
    ) -> Iterator[tuple[int, Any]]:
        from distributed import as_completed

        positions: dict[Any, int] = {}
        # Without the loop it would take that of the process's default client.
        done = as_completed(loop=self._client.loop, with_results=True)
        coming = iter(handles)
        under_way = 0
        while True:
            room = None if at_once is None else max(0, at_once() - under_way)
            for handle in islice(coming, room):
                positions[handle.key] = len(positions)
                done.add(handle)
                under_way += 1
            if not under_way:
                return
            with cluster_errors(self._again):
                self._wait(done)
                future, value = next(done)
                # Of what was lost with the scheduler the error comes as if it were the value.
                if isinstance(value, BaseException):
                    raise value
            under_way -= 1
            yield positions[future.key], value

    def _wait(self, done: Any) -> None:
        """Until something is done; not for ever for workers that nobody starts again."""
        looked = worked = time.monotonic()
        while not done.has_ready():
            with done.thread_condition:
                done.thread_condition.wait(0.1)
            now = time.monotonic()
            if now - looked < _LOOK_SECONDS:
                continue
            looked = now
            if self._client.nthreads():
                worked = now
            elif now - worked > _WORKERLESS_SECONDS:
                raise DeltaLakeError(
                    DeltaLakeErrorKind.CLUSTER_ERROR,
                    f"the cluster at {self._client.scheduler.address} has lost all its "
                    f"workers, and none has come for {_WORKERLESS_SECONDS:g} s; look into their "
                    f"logs, start some, and {self._again}",
                )

    def release(self, handles: Sequence[Any]) -> None:
        for handle in handles:
            handle.release()

    def cancel(self) -> None:
        # What nobody wants any more the scheduler forgets. Its `cancel` fails on tasks that were
        # released before, and ends its connection to the client with that.
        with suppress(Exception):
            self.release(list(self._submitted))

    def everywhere(self, task: Callable[..., Any], *args: Any) -> None:
        # Here too: the client itself loads the last part, and all of them where one may write.
        task(*args)
        self._client.run(task, *args, on_error="ignore")


def _check(client: Any) -> None:
    """Whether it is a client that can be waited for, and still one."""
    if getattr(client, "asynchronous", False):
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            "the Dask client is asynchronous, and this call waits for its tasks; make it with "
            "asynchronous=False, and call from a thread of your own (asyncio.to_thread)",
        )
    if client.status != "running":
        raise DeltaLakeError(
            DeltaLakeErrorKind.CLUSTER_ERROR,
            f"the Dask client is {client.status}; connect a new one, then run again",
        )


_GONE = frozenset(
    {
        "CommClosedError",
        "FutureCancelledError",
        "FuturesCancelledError",
        "CancelledError",
        "ClosedClientError",
        "TimeoutError",
    }
)


@contextmanager
def cluster_errors(again: str) -> Iterator[None]:
    """Dask's own failures as CLUSTER_ERROR; `again`: what to do once the scheduler is back."""
    try:
        yield
    except DeltaLakeError:
        raise
    except Exception as error:
        name = type(error).__name__
        if name == "KilledWorker":
            raise DeltaLakeError(
                DeltaLakeErrorKind.CLUSTER_ERROR,
                "workers died again and again on the same task (usually out of memory); give "
                "them more memory, or look into their logs",
            ) from error
        if name in _GONE or _raised_by_transport(error):
            raise DeltaLakeError(
                DeltaLakeErrorKind.CLUSTER_ERROR,
                "the Dask client was closed, or its scheduler has gone; start it again and "
                f"{again}",
            ) from error
        raise


def _raised_by_transport(error: BaseException) -> bool:
    """Whether it comes from the depth of a connection.

    One that closes while it is written to fails in Tornado's buffers, with an error of any type.
    """
    trace = error.__traceback__
    module = ""
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        trace = trace.tb_next
    return module.startswith(("tornado.", "distributed.comm."))


def worker_folder() -> str | None:
    """The folder of the Dask worker that this process is, else None."""
    # Whoever hasn't imported it is no worker.
    if "distributed" not in sys.modules:
        return None
    from distributed import get_worker

    try:
        return str(get_worker().local_directory)
    except ValueError:
        return None
