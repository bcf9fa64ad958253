"""The current time in a condition, as the constant that it is for the whole of an operation.

What planning then sees are constants, so that files are ruled out by them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlglot import exp

from deltalakedb.engine.syntax import parse
from deltalakedb.engine.time_functions import amount_of
from deltalakedb.error import DeltaLakeError
from deltalakedb.predicate.names import Columns

_TIMES = ("current_timestamp", "now")
_DATE = "current_date"


def at_moment(tree: exp.Expression, now: datetime, columns: Columns) -> exp.Expression:
    """The tree with constants for the current time and date, also less or plus days to seconds."""
    root = exp.Paren(this=tree.copy())
    known: dict[int, tuple[exp.Expression, datetime]] = {}
    for node in list(root.find_all(exp.Anonymous, exp.Column)):
        name = _name(node, columns)
        if name == _DATE:
            node.replace(parse(f"DATE '{now.astimezone(UTC):%Y-%m-%d}'"))
        elif name in _TIMES:
            constant = _constant(now)
            known[id(constant)] = constant, now
            node.replace(constant)
    # The innermost come last.
    for total in reversed(list(root.find_all(exp.Add, exp.Sub))):
        left, interval = total.this, total.expression
        if id(left) not in known or not isinstance(interval, exp.Interval):
            continue
        moment = _moved(known[id(left)][1], total, interval)
        if moment is not None:
            constant = _constant(moment)
            known[id(constant)] = constant, moment
            total.replace(constant)
    found: exp.Expression = root.this
    return found


def _name(node: Any, columns: Columns) -> str | None:
    """The function that is called, also without parentheses where no column has that name."""
    if isinstance(node, exp.Anonymous):
        return None if node.expressions else str(node.this).lower()
    name = str(node.name).lower()
    return None if node.table or name == "now" or columns.has((node.name,)) else name


def _moved(moment: datetime, node: Any, interval: exp.Interval) -> datetime | None:
    try:
        amount, unit = amount_of(interval)
        if unit in ("YEAR", "MONTH"):
            return None
        step = timedelta(**{f"{unit.lower()}s": amount})
        found = moment + step if isinstance(node, exp.Add) else moment - step
    except (DeltaLakeError, OverflowError):
        return None
    # Years of other than four digits are written otherwise.
    return found if found.year >= 1000 else None


def _constant(moment: datetime) -> exp.Expression:
    return parse(f"TIMESTAMP '{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'")
