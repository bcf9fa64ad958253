"""What this package logs: events with fields, as text or as JSON lines, without secrets.

Loggers are the standard library's, below `deltalakedb`. Nothing is set up before `configure`:
until then a program's own handlers get the records, whose texts are redacted already.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from typing import Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.redact import redact

ROOT = "deltalakedb"
FIELDS = (
    "run_id",
    "table_id",
    "table",
    "version",
    "step",
    "duration_s",
    "error_kind",
    "trace_id",
)
"""What a record may have besides its time, level and event; each stands where it is known."""

logging.getLogger(ROOT).addHandler(logging.NullHandler())


class TextLines(logging.Formatter):
    """`level: table: event`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, redacted."""
        table = getattr(record, "table", None)
        where = f"{table}: " if table else ""
        return redact(f"{record.levelname.lower()}: {where}{record.getMessage()}")


class JsonLines(logging.Formatter):
    """One object a line: ts (RFC 3339, UTC), level, event, and those of FIELDS that are known."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, redacted."""
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "event": redact(record.getMessage()),
        }
        for name in FIELDS:
            value = getattr(record, name, None)
            if value is None and name == "trace_id":
                value = _trace_id()
            if value is not None:
                line[name] = redact(value) if isinstance(value, str) else value
        if record.exc_info:
            line["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, default=str)


class _Ours(WatchedFileHandler):
    """A file that is opened anew when it was moved away."""


class _Stderr(logging.StreamHandler[Any]):
    """Standard error, whatever it is then."""


def configure(level: str = "INFO", *, file: str | None = None, structured: bool = False) -> None:
    """Log what this package does, from `level` on, to `file` (None: standard error).

    `structured`: as JSON lines. The process's settings: what was configured before is replaced;
    a program's own handlers stay. Raises CONFIGURATION_ERROR for a file that can't be written.
    """
    logger = logging.getLogger(ROOT)
    handler: logging.Handler
    try:
        handler = _Stderr(sys.stderr) if file is None else _Ours(file, encoding="utf-8")
    except OSError as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONFIGURATION_ERROR,
            f"can't log to {file!r}: {error.strerror or error}; make its folder, or correct "
            "logging.file",
            file=file,
        ) from error
    handler.setFormatter(JsonLines() if structured else TextLines())
    for former in [h for h in logger.handlers if isinstance(h, (_Ours, _Stderr))]:
        logger.removeHandler(former)
        former.close()
    logger.addHandler(handler)
    logger.setLevel(level)


def note(log: logging.Logger, level: int, event: str, **fields: Any) -> None:
    """Log an event with some of FIELDS; texts are redacted for every handler."""
    if log.isEnabledFor(level):
        shown = {k: redact(v) if isinstance(v, str) else v for k, v in fields.items()}
        log.log(level, "%s", redact(event), extra=shown)


@contextmanager
def timed(log: logging.Logger, step: str, **fields: Any) -> Iterator[dict[str, Any]]:
    """Log, when the block ends, the step with its `duration_s`, or that it failed and why.

    The block may add FIELDS to the dictionary, and `event` and `level`, which are the step and
    INFO otherwise.
    """
    found: dict[str, Any] = dict(fields)
    began = time.perf_counter()
    try:
        yield found
    except BaseException as error:
        kind = getattr(getattr(error, "kind", None), "value", type(error).__name__)
        text = getattr(error, "message", None) or str(error)
        found |= {"event": f"{step} failed: {text}", "level": logging.ERROR, "error_kind": kind}
        raise
    finally:
        event, level = found.pop("event", step), found.pop("level", logging.INFO)
        seconds = round(time.perf_counter() - began, 6)
        note(log, level, event, step=step, duration_s=seconds, **found)


def _trace_id() -> str | None:
    """That of OpenTelemetry's current span, where a program uses it."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None
