"""How a command ends: its exit code, and one line on standard error when it failed."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from types import TracebackType
from typing import TYPE_CHECKING

import click

from deltalakedb.cli import output
from deltalakedb.cli.signals import INTERRUPTED, TERMINATED, Terminated
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

if TYPE_CHECKING:
    from deltalakedb.config.loading import Configuration

FAILED = 1
READER_GONE = 141


class Ending:
    """Swallows what ends a command and keeps its exit code in `code`.

    As the object of all contexts it also knows the `configuration` that the command has.
    """

    def __init__(self) -> None:
        self.code = 0
        self.configuration: Configuration | None = None
        self.debug = os.environ.get("DL_DEBUG", "").lower() not in ("", "0", "false", "no")

    def __enter__(self) -> Ending:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if isinstance(error, SystemExit) and not isinstance(error, Terminated):
            return False
        if error is None:
            error = _flushed()
        if error is None:
            return True
        if isinstance(error, output.ReaderGoneError):
            output.discard_rest()
            self.code = READER_GONE
        elif isinstance(error, (click.Abort, KeyboardInterrupt)):
            self._line("Interrupted", error)
            self.code = INTERRUPTED
        elif isinstance(error, Terminated):
            self._line("Terminated", error)
            self.code = TERMINATED
        elif isinstance(error, click.exceptions.Exit):
            self.code = error.exit_code
        elif isinstance(error, click.exceptions.NoArgsIsHelpError):
            click.echo(error.format_message(), err=True)
            self.code = FAILED
        else:
            self._line(f"Error: {message_of(error)}", error)
            self.code = FAILED
        return True

    def _line(self, text: str, error: BaseException) -> None:
        if self.debug:
            traceback.print_exception(error)
        click.echo(" ".join(text.split("\n")), err=True)


def message_of(error: BaseException) -> str:
    """What to tell about an error; without a secret that a foreign message might quote."""
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    if isinstance(error, DeltaLakeError):
        return error.message + notes
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return f"interrupted; run it again{notes}"
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "dl"
        return f"{error.format_message().rstrip('.')}; `{command} --help` lists what there is"
    if isinstance(error, click.ClickException):
        return error.format_message()
    from deltalakedb.redact import redact

    text = redact(str(error).strip().partition("\n")[0])
    name = type(error).__name__
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full: {text}; free space there and run again{notes}"
    return (
        f"unexpected {name}{': ' if text else ''}{text}; run again with `dl --debug …` (or "
        f"DL_DEBUG=1) for the details{notes}"
    )


def kind_of(error: BaseException) -> str:
    """The stable name of an error's kind."""
    if isinstance(error, DeltaLakeError):
        return error.kind.value
    if isinstance(error, click.ClickException):
        return DeltaLakeErrorKind.INVALID_ARGUMENT.value
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return DeltaLakeErrorKind.INTERRUPTED.value
    return DeltaLakeErrorKind.INTERNAL_ERROR.value


def _flushed() -> BaseException | None:
    try:
        output.flush()
        sys.stderr.flush()
    except (output.ReaderGoneError, OSError) as error:
        return error
    return None
