"""Where the parts of an import run: in this process, or on a Dask client that is handed in.

Both speak one small language (`submit`, `completed`, `result`), so the pipeline is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol
from weakref import WeakSet

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.parity.cluster import cluster_errors
from deltalakedb.secret import Secret

_ADVICE = "repeat the import: nothing of this run is visible"


class Handle(Protocol):
    """A value that is or will be somewhere."""

    def result(self) -> Any: ...


class Executor(Protocol):
    workers: int

    def submit(self, task: Callable[..., Any], *args: Any, near: Any = None) -> Any:
        """Start a task; arguments that are handles (also in lists) arrive as their values.

        `near`: a handle whose worker is preferred.
        """

    def completed(self, handles: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """(position, value) in order of completion; raises a task's error."""

    def release(self, handles: Sequence[Any]) -> None: ...

    def cancel(self) -> None:
        """Start none of the tasks that wait; what runs already runs to its end."""

    def everywhere(self, task: Callable[..., Any], *args: Any) -> None:
        """Run a task in every process that may have run others; best effort."""


class Here:
    """Everything at once, in this process."""

    workers = 0

    class _Value:
        __slots__ = ("value",)

        def __init__(self, value: Any) -> None:
            self.value = value

        def result(self) -> Any:
            return self.value

    def submit(self, task: Callable[..., Any], *args: Any, near: Any = None) -> Any:
        return self._Value(task(*[self._of(a) for a in args]))

    def _of(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._of(v) for v in value]
        return value.value if isinstance(value, self._Value) else value

    def completed(self, handles: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for position, handle in enumerate(handles):
            yield position, handle.value

    def release(self, handles: Sequence[Any]) -> None:
        for handle in handles:
            handle.value = None

    def cancel(self) -> None:
        return

    def everywhere(self, task: Callable[..., Any], *args: Any) -> None:
        task(*args)


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
        from deltalakedb.parity.delivery import deliver

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
