"""Intervals, and functions between times and numbers, that answer as Spark's do in UTC."""

from __future__ import annotations

from sqlglot import exp

from deltalakedb.engine.arguments import Function, made, simple, typed
from deltalakedb.engine.term import Term, refused

_DAYS = {"YEAR", "MONTH", "WEEK", "DAY"}
_UNITS = _DAYS | {"HOUR", "MINUTE", "SECOND"}


def amount_of(interval: exp.Interval) -> tuple[int, str]:
    """Number and unit of an interval; UNSUPPORTED_FEATURE for one of other than one of each."""
    number, unit = interval.this, interval.args.get("unit")
    name = str(unit.this).upper().removesuffix("S") if isinstance(unit, exp.Var) else ""
    spelled = str(number.this) if isinstance(number, exp.Literal) else ""
    if name not in _UNITS or not spelled.removeprefix("-").isdigit() or len(spelled) > 9:
        raise refused(
            f"the interval {interval.sql(dialect='databricks')}",
            "write a whole number and one unit, as in INTERVAL 2 DAYS",
        )
    return int(spelled), name


def moved(value: Term, sign: str, interval: exp.Interval) -> Term:
    """A date or time plus or minus an interval of one constant number and one unit."""
    amount, name = amount_of(interval)
    if value.type not in ("timestamp", "timestamp_ntz") and not (
        value.type == "date" and name in _DAYS
    ):
        raise refused(f"{value.type} {sign} an interval of {name}", "cast it to a timestamp")
    type = "DATE" if value.type == "date" else "TIMESTAMP"
    sql = f"CAST({value.sql} {sign} INTERVAL ({amount}) {name} AS {type})"
    return made(sql, value.type, [value], fallible=True)


def _from_epoch(factor: int) -> Function:
    def write(name: str, arguments: list[Term]) -> Term:
        [value] = typed(name, [a.as_type("long") if a.is_integer else a for a in arguments], "long")
        sql = f"make_timestamp({value.sql} * {factor}::BIGINT)"
        return made(sql, "timestamp", arguments, fallible=True)

    return write


def _epoch(unit: int) -> Function:
    def write(name: str, arguments: list[Term]) -> Term:
        [value] = typed(name, arguments, "timestamp")
        micros = f"epoch_us({value.sql})"
        # DuckDB cuts towards zero, Spark downwards, but for the oldest of its functions.
        down = "0" if name == "unix_timestamp" else f"(({micros} % {unit}) + {unit}) % {unit}"
        return made(f"CAST(({micros} - {down}) // {unit} AS BIGINT)", "long", arguments)

    return write


def _add_months(name: str, arguments: list[Term]) -> Term:
    day, months = typed(name, arguments, "date", "integer")
    sql = f"CAST({day.sql} + to_months({months.sql}) AS DATE)"
    return made(sql, "date", arguments, fallible=True)


def _make_date(name: str, arguments: list[Term]) -> Term:
    taken = typed(name, arguments, "integer", "integer", "integer")
    sql = f"make_date({', '.join(a.sql for a in taken)})"
    return made(sql, "date", arguments, fallible=True)


TIMES: dict[str, Function] = {
    "timestamp_seconds": _from_epoch(1_000_000),
    "timestamp_millis": _from_epoch(1_000),
    "timestamp_micros": _from_epoch(1),
    **dict.fromkeys(("unix_seconds", "unix_timestamp"), _epoch(1_000_000)),
    "unix_millis": _epoch(1_000),
    "unix_micros": _epoch(1),
    "unix_date": simple("CAST({0} - DATE '1970-01-01' AS INTEGER)", "integer", "date"),
    "add_months": _add_months,
    "make_date": _make_date,
}
