"""Tasks in this process, each when its value is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from deltalakedb import tracing


class _Task:
    """A task whose value isn't known before it is needed, and is kept then."""

    __slots__ = ("_args", "_task", "_value")

    def __init__(self, task: Callable[..., Any], args: Sequence[Any]) -> None:
        self._task: Callable[..., Any] | None = task
        self._args = args
        self._value: Any = None

    def value(self) -> Any:
        if self._task is not None:
            args = [_value_of(one) for one in self._args]
            with tracing.span(tracing.name_of(self._task)):
                self._value = self._task(*args)
            # What it was made of may go.
            self._task, self._args = None, ()
        return self._value

    def release(self) -> None:
        self._task, self._args, self._value = None, (), None


def _value_of(argument: Any) -> Any:
    if isinstance(argument, list):
        return [_value_of(one) for one in argument]
    return argument.value() if isinstance(argument, _Task) else argument


class Here:
    """One task after the other, in this process."""

    workers = 0
    slots = 1

    def submit(self, task: Callable[..., Any], *args: Any, near: Any = None) -> Any:
        return _Task(task, args)

    def completed(
        self, handles: Iterable[Any], at_once: Callable[[], int] | None = None
    ) -> Iterator[tuple[int, Any]]:
        for position, handle in enumerate(handles):
            yield position, handle.value()

    def release(self, handles: Sequence[Any]) -> None:
        for handle in handles:
            handle.release()

    def cancel(self) -> None:
        return

    def everywhere(self, task: Callable[..., Any], *args: Any) -> None:
        task(*args)
