"""Everything at once, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any


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
