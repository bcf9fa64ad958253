"""What commands write: tables and facts for people, JSON for programs.

All of standard output goes through here: for people in colour on a terminal, as plain aligned
text elsewhere; JSON as UTF-8 whatever the locale.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import click

_GAP = "  "
_LEAST_WIDTH = 12
"""Cells to which a shortened column may shrink before columns are left out."""


class ReaderGoneError(Exception):
    """Nobody reads standard output any more (`dl files … | head`)."""


@dataclass(frozen=True)
class Column:
    """A column for people.

    `rank`: when the terminal is too narrow the columns of the greatest rank go first; 0 stays.
    `elastic`: its cells may be shortened.
    """

    title: str
    right: bool = False
    rank: int = 0
    elastic: bool = False


def write(data: bytes) -> None:
    """Bytes to standard output."""
    rest = memoryview(data)
    try:
        while rest:
            # Unbuffered (PYTHONUNBUFFERED) it is the bare file, which may take only a part.
            rest = rest[sys.stdout.buffer.write(rest) :]
    except BrokenPipeError:
        raise ReaderGoneError from None


def flush() -> None:
    """Have standard output take what was written. Raises ReaderGoneError."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGoneError from None


def discard_rest() -> None:
    """Let the interpreter's own last flush go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str = "") -> None:
    """A line for people to standard output."""
    write((text + "\n").encode(sys.stdout.encoding or "utf-8", "backslashreplace"))


def note(text: str) -> None:
    """A line for people to standard error, after what standard output got before it."""
    flush()
    click.echo(text, err=True)


def on_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def json_text(value: Any, *, indent: bool = False) -> bytes:
    """A value as JSON in UTF-8, without a line end."""
    import orjson

    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else None)
    except TypeError:
        # Half a surrogate pair in a name, or an integer of more than 64 bits.
        spacing: tuple[str, str] | None = None if indent else (",", ":")
        text = json.dumps(value, indent=2 if indent else None, separators=spacing)
        return text.encode("ascii")


def write_json(value: Any) -> None:
    """One object to standard output; laid out only for eyes."""
    write(json_text(value, indent=on_terminal()) + b"\n")


def write_json_lines(values: Iterable[Any]) -> None:
    """One object a line to standard output."""
    lines = b"".join(json_text(value) + b"\n" for value in values)
    if lines:
        write(lines)


def check_target(path: str | None) -> None:
    """Raise a usage error if `path` can't be written, before hours of work go into it."""
    if path is None or path == "-":
        return
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise click.UsageError(f"can't write {path}: there is no directory {folder}")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise click.UsageError(f"can't write {path}: permission denied")


def write_to(path: str, data: bytes) -> None:
    """Data to a file, or to standard output if `path` is `-`."""
    if path == "-":
        write(data)
        return
    try:
        with open(path, "wb") as target:
            target.write(data)
    except OSError as error:
        raise click.ClickException(f"can't write {path}: {error.strerror or error}") from None


def shown(text: object) -> str:
    """Text from a log as a terminal may get it: nothing in it moves the cursor."""
    value = str(text)
    if value.isprintable():
        return value
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in value)


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Rows for people."""
    TablePrinter(columns).print(rows)


class TablePrinter:
    """A table that may come in pieces; the first piece decides the widths."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._widths: list[int | None] = []

    def print(self, rows: Sequence[Sequence[str]]) -> None:
        from rich.cells import cell_len

        first = not self._widths
        if first:
            wanted = [
                max([cell_len(column.title), *(cell_len(row[i]) for row in rows)])
                for i, column in enumerate(self._columns)
            ]
            self._widths = _fit(self._columns, wanted, _width()) if on_terminal() else [*wanted]
            self._line([c.title for c in self._columns], bold=True)
        for row in rows:
            self._line(row)

    def _line(self, row: Sequence[str], *, bold: bool = False) -> None:
        from rich.cells import cell_len

        cells = []
        shown_columns = [i for i, width in enumerate(self._widths) if width is not None]
        for i in shown_columns:
            column, width = self._columns[i], self._widths[i] or 0
            text = _shorten(row[i], width) if column.elastic and on_terminal() else row[i]
            padding = " " * max(0, width - cell_len(text))
            last = i == shown_columns[-1]
            cells.append(padding + text if column.right else text + ("" if last else padding))
        say(_bold(_GAP.join(cells).rstrip()) if bold else _GAP.join(cells).rstrip())


def print_facts(facts: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Names with their values, one below the other; further lines of a value are indented."""
    width = max((len(name) for name, _ in facts), default=0)
    for name, lines in facts:
        for number, line in enumerate(lines or [""]):
            label = name if number == 0 else ""
            padding = " " * (width - len(label))
            say(f"{_bold(label) if label else ''}{padding}{_GAP}{line}".rstrip())


def heading(text: str) -> str:
    """A heading for people: bold where that can be shown."""
    return _bold(text)


def _bold(text: str) -> str:
    if not on_terminal() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return click.style(text, bold=True)


def _width() -> int:
    return shutil.get_terminal_size((100, 24)).columns


def _fit(columns: Sequence[Column], wanted: Sequence[int], width: int) -> list[int | None]:
    """Widths that fit into `width`: elastic columns shrink, then columns go (None)."""
    kept: list[int | None] = list(wanted)
    while True:
        used = [i for i, w in enumerate(kept) if w is not None]
        over = sum(w for w in kept if w is not None) + len(_GAP) * (len(used) - 1) - width
        elastic = [i for i in used if columns[i].elastic]
        spare = sum(max(0, wanted[i] - _LEAST_WIDTH) for i in elastic)
        droppable = [i for i in used if columns[i].rank > 0]
        if over <= 0:
            return kept
        # A column that goes is better than a path of which nothing is left.
        if over <= spare // 3 or not droppable:
            return _shrunk(kept, elastic, over)
        kept[max(droppable, key=lambda i: columns[i].rank)] = None


def _shrunk(kept: list[int | None], elastic: Sequence[int], over: int) -> list[int | None]:
    """Take `over` cells from the elastic columns, the widest first."""
    widths = list(kept)
    while over > 0 and elastic:
        widest = max(elastic, key=lambda i: widths[i] or 0)
        width = widths[widest] or 0
        if width <= _LEAST_WIDTH:
            break
        widths[widest] = width - 1
        over -= 1
    return widths


def _shorten(text: str, width: int) -> str:
    """Both ends of a text, as the ends tell paths and names apart."""
    from rich.cells import cell_len

    if cell_len(text) <= width:
        return text
    tail = (width - 1) * 2 // 3
    head = width - 1 - tail
    while cell_len(text[:head]) + cell_len(text[-tail:]) + 1 > width and head > 0:
        head -= 1
        tail = max(1, tail - 1)
    return f"{text[:head]}…{text[-tail:]}"
