"""Answers of several questions: asked again when the load was replaced in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from deltalakedb.catalog.records import TableRow
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

T = TypeVar("T")


def ask_live(
    row: TableRow,
    question: Callable[[TableRow], T],
    current: Callable[[], TableRow],
    *,
    accept: Callable[[TableRow], None] = lambda newer: None,
    proven: bool = False,
) -> tuple[TableRow, T]:
    """The answer to `question(row)`, and the row of the load that gave it.

    An import may replace a load and remove its rows while they are read: then the answer is an
    error, or it is short or empty and looks like any other. So it counts when its load is still
    the live one afterwards, else the load that is live then is asked. `current` gives the table's
    row as it is now (or raises TABLE_NOT_FOUND), `accept` may refuse to go on with another load.
    A `proven` answer is one that comes whole or as an error: it spares the look afterwards.
    """
    while True:
        failure: DeltaLakeError | None = None
        try:
            answer = question(row)
            if proven:
                return row, answer
        except DeltaLakeError as error:
            failure = error
        newer = _looked_up(current, failure)
        if newer.live_load == row.live_load:
            if failure is not None:
                raise failure
            return row, answer
        accept(newer)
        row = newer


def _looked_up(current: Callable[[], TableRow], failure: DeltaLakeError | None) -> TableRow:
    try:
        return current()
    except DeltaLakeError as error:
        if failure is None or error.kind is DeltaLakeErrorKind.TABLE_NOT_FOUND:
            raise
        raise failure from None  # what failed first is the news
