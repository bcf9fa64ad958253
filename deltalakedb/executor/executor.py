"""Where the parts of an import run: in this process, or on a Dask client that is handed in.

Both speak one small language (`submit`, `completed`, `result`), so the pipeline is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol


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
