"""Spans for OpenTelemetry, in programs that use it; whoever doesn't pays a look into a dictionary.

Only its API is called: which spans are kept, and where they go, is the program's affair. Context
goes with each task to a cluster's workers, so that an import is one trace.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from deltalakedb.redact import redact

_API = "opentelemetry.trace"
_SETTINGS = ("OTEL_PYTHON_TRACER_PROVIDER", "OTEL_PYTHON_CONTEXT")
"""By which the API is told, without an import, whom to load."""
_SCOPE = "deltalakedb"
_NOTHING: AbstractContextManager[None] = nullcontext()
_P = ParamSpec("_P")
_R = TypeVar("_R")


def _api() -> Any:
    """OpenTelemetry's API where this process uses it."""
    api = sys.modules.get(_API)
    if api is None and any(name in os.environ for name in _SETTINGS):
        try:
            return importlib.import_module(_API)
        except ImportError:
            return None
    return api


def span(name: str, **attributes: Any) -> AbstractContextManager[Any]:
    """A span around a block: `dl.NAME`, with attributes `dl.…` of what is known (not None).

    Gives the span, or None where no OpenTelemetry is used. An error ends it as ERROR, with the
    error's kind and its text as in the logs; nothing that may hold a secret goes with it.
    """
    return _NOTHING if _api() is None else _span(name, attributes)


def traced(name: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Every call of a function as a span `dl.NAME`; `tell` says what it was about."""

    def around(work: Callable[_P, _R]) -> Callable[_P, _R]:
        @wraps(work)
        def call(*args: _P.args, **options: _P.kwargs) -> _R:
            if _api() is None:
                return work(*args, **options)
            with _span(name, {}):
                return work(*args, **options)

        return call

    return around


def tell(**attributes: Any) -> None:
    """Attributes `dl.…` of the span that is current, where there is one."""
    api = _api()
    if api is not None:
        api.get_current_span().set_attributes(_known(attributes))


def _known(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"dl.{key}": redact(value) if isinstance(value, str) else value
        for key, value in attributes.items()
        if value is not None
    }


@contextmanager
def _span(name: str, attributes: Mapping[str, Any]) -> Iterator[Any]:
    api = _api()
    tracer = api.get_tracer(_SCOPE)
    # Its own record of an exception would have the texts of all causes.
    with tracer.start_as_current_span(
        f"dl.{name}",
        attributes=_known(attributes),
        record_exception=False,
        set_status_on_exception=False,
    ) as found:
        try:
            yield found
        except BaseException as error:
            kind = getattr(getattr(error, "kind", None), "value", type(error).__name__)
            found.set_attribute("error.type", kind)
            text = redact(str(getattr(error, "message", kind)))
            found.set_status(api.Status(api.StatusCode.ERROR, text))
            raise


def carried(task: Callable[..., Any]) -> Callable[..., Any]:
    """The task as it goes to another process: in the trace of whoever sends it."""
    if _api() is None:
        return task
    from opentelemetry.propagate import inject

    carrier: dict[str, str] = {}
    inject(carrier)
    return _Carried(task, carrier) if carrier else task


class _Carried:
    """A task, and the context of the span that it is a part of."""

    def __init__(self, task: Callable[..., Any], carrier: Mapping[str, str]) -> None:
        self._task, self._carrier = task, dict(carrier)
        # By which Dask's dashboard knows it.
        self.__name__ = getattr(task, "__name__", type(task).__name__)

    def __call__(self, *args: Any) -> Any:
        try:
            from opentelemetry import context
            from opentelemetry.propagate import extract
        except ImportError:
            return self._task(*args)
        token = context.attach(extract(self._carrier))
        try:
            with span(name_of(self._task)):
                return self._task(*args)
        finally:
            context.detach(token)


def name_of(task: Callable[..., Any]) -> str:
    """What a task's span is called: as its function."""
    return str(getattr(task, "__name__", type(task).__name__)).strip("_")
