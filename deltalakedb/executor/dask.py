"""Tasks on a Dask client that is handed in, and its failures as ours."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.secret import Secret

_ADVICE = "repeat the import: nothing of this run is visible"


class OnDask:
    """Tasks on a `distributed.Client`. Dask repeats what was lost with a worker."""

    def __init__(self, client: Any, secrets: Sequence[Secret] = ()) -> None:
        self._client = client
        self.workers = len(client.scheduler_info(n_workers=-1)["workers"])
        if self.workers == 0:
            raise DeltaLakeError(
                DeltaLakeErrorKind.CLUSTER_ERROR,
                f"the cluster at {client.scheduler.address} has no worker; start some, then run "
                "again",
            )
        self._submitted: WeakSet[Any] = WeakSet()
        from deltalakedb.executor.secrets import deliver

        deliver(client, secrets)

    def submit(self, task: Callable[..., Any], *args: Any, near: Any = None) -> Any:
        place: dict[str, Any] = {}
        with cluster_errors(_ADVICE):
            if near is not None:
                holders = self._client.who_has([near]).get(near.key, ())
                if holders:
                    place = {"workers": list(holders), "allow_other_workers": True}
            future = self._client.submit(task, *args, pure=False, **place)
        self._submitted.add(future)
        return future

    def completed(self, handles: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        from distributed import as_completed

        positions = {handle.key: position for position, handle in enumerate(handles)}
        with cluster_errors(_ADVICE):
            for future, value in as_completed(handles, with_results=True):
                # Of what was lost with the scheduler the error comes as if it were the value.
                if isinstance(value, BaseException):
                    raise value
                yield positions[future.key], value

    def release(self, handles: Sequence[Any]) -> None:
        for handle in handles:
            handle.release()

    def cancel(self) -> None:
        self._client.cancel(list(self._submitted))

    def everywhere(self, task: Callable[..., Any], *args: Any) -> None:
        # Here too: the client itself loads the last part, and all of them where one may write.
        task(*args)
        self._client.run(task, *args, on_error="ignore")


_GONE = frozenset({"CommClosedError", "FutureCancelledError", "CancelledError", "TimeoutError"})


@contextmanager
def cluster_errors(advice: str) -> Iterator[None]:
    """Dask's own failures as CLUSTER_ERROR; `advice`: what to do once the scheduler is back."""
    try:
        yield
    except DeltaLakeError:
        raise
    except Exception as error:
        name = type(error).__name__
        if name == "KilledWorker":
            raise DeltaLakeError(
                DeltaLakeErrorKind.CLUSTER_ERROR,
                "workers died again and again on the same part of the log (usually out of "
                "memory); give them more memory, or look into their logs",
            ) from error
        if name in _GONE or _raised_by_transport(error):
            raise DeltaLakeError(
                DeltaLakeErrorKind.CLUSTER_ERROR,
                f"the Dask scheduler has gone; start it again and {advice}",
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
