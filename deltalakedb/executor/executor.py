"""Where the parts of a job run: in this process, or on a Dask client that is handed in.

Both speak one small language (`submit`, `completed`, …), so that each pipeline is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from deltalakedb.secret import Secret


class Executor(Protocol):
    """Runs tasks. A handle, which `submit` gives, is a value that is or will be somewhere."""

    workers: int
    """Processes besides this one; 0 without a cluster."""
    slots: int
    """How many tasks may run at the same time."""

    def submit(self, task: Callable[..., Any], *args: Any, near: Any = None) -> Any:
        """A handle on a task's value; arguments that are handles (also in lists) arrive as values.

        `near`: a handle whose worker is preferred.
        """

    def completed(
        self, handles: Iterable[Any], at_once: Callable[[], int] | None = None
    ) -> Iterator[tuple[int, Any]]:
        """(position, value) in order of completion; raises a task's error.

        With `at_once` no more handles are taken from the iterable, which may submit them as it
        goes, than may be under way then.
        """

    def release(self, handles: Sequence[Any]) -> None:
        """Let go of the values."""

    def cancel(self) -> None:
        """Start none of the tasks that wait; what runs already runs to its end. Never fails."""

    def everywhere(self, task: Callable[..., Any], *args: Any) -> None:
        """Run a task in every process that may have run others; best effort."""


def executor_of(client: Any, secrets: Sequence[Secret] = (), *, again: str) -> Executor:
    """The executor of a `distributed.Client`, or this process for None.

    `secrets`: what its workers have to know; `again`: what to do when the cluster was lost
    ("repeat the import"), for messages. Raises CLUSTER_ERROR, INVALID_ARGUMENT.
    """
    if client is None:
        from deltalakedb.executor.here import Here

        return Here()
    from deltalakedb.executor.dask import OnDask

    return OnDask(client, secrets, again=again)
