"""Typed terms: a Spark SQL value, written for DuckDB.

Types go by their Delta names ("integer", "decimal(10,2)", "timestamp" …), and "void" for NULL.
Both kinds of timestamps are DuckDB's TIMESTAMP, in UTC: the session's time zone is UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import decimal_parameters

INTEGERS = ("byte", "short", "integer", "long")
TIMES = ("date", "timestamp", "timestamp_ntz")

_DUCKDB = {
    "byte": "TINYINT",
    "short": "SMALLINT",
    "integer": "INTEGER",
    "long": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "string": "VARCHAR",
    "binary": "BLOB",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamp_ntz": "TIMESTAMP",
    "void": "INTEGER",
}
_AS_DECIMAL = {"byte": 3, "short": 5, "integer": 10, "long": 20}
_MOST_DIGITS = 38


@dataclass(frozen=True)
class Term:
    """`sql` has a value of `type` in every row; `fallible`: or raises."""

    sql: str
    type: str
    fallible: bool = False
    literal: Any = None
    """The value of a constant that was written down; None: it is none, or NULL."""

    @property
    def is_numeric(self) -> bool:
        return self.type in INTEGERS or self.is_fractional or self.is_decimal

    @property
    def is_integer(self) -> bool:
        return self.type in INTEGERS

    @property
    def is_fractional(self) -> bool:
        return self.type in ("float", "double")

    @property
    def is_decimal(self) -> bool:
        return decimal_parameters(self.type) is not None

    def as_type(self, type: str) -> Term:
        """The same value in a wider type; nothing is rounded here."""
        if type == self.type:
            return self
        literal = None if isinstance(self.literal, str) else self.literal
        return Term(f"CAST({self.sql} AS {duckdb_type(type)})", type, self.fallible, literal)


def refused(what: str, instead: str) -> DeltaLakeError:
    """What the engine would answer otherwise than Spark, or nobody has compared yet."""
    return DeltaLakeError(
        DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
        f"{what} is not evaluated here, as the answer might differ from Spark's; {instead}",
    )


def invalid(why: str) -> DeltaLakeError:
    """A mistake in an expression."""
    return DeltaLakeError(DeltaLakeErrorKind.INVALID_PREDICATE, why)


def duckdb_type(type: str) -> str:
    """DuckDB's name of a type."""
    parameters = decimal_parameters(type)
    if parameters is not None:
        return f"DECIMAL({parameters[0]},{parameters[1]})"
    return _DUCKDB[type]


def text(value: str) -> str:
    """A text as DuckDB writes it."""
    if "\0" in value:
        raise refused("a text with the character NUL", "leave it out")
    return "'" + value.replace("'", "''") + "'"


def constant(value: Any, type: str) -> Term:
    """A constant of a type; `value` is as in `predicate.tree`, None for NULL."""
    if value is None:
        return Term(f"CAST(NULL AS {duckdb_type(type)})", type)
    match value:
        case str():
            return Term(text(value), type, literal=value)
        case bool():
            return Term(str(value).upper(), type, literal=value)
        case datetime():
            spelled = value.replace(tzinfo=None).isoformat(" ")
        case date():
            spelled = value.isoformat()
        case Decimal():
            spelled = f"{value:f}"
        case float():
            spelled = repr(value)
        case bytes():
            return Term(f"unhex('{value.hex()}')", type, literal=value)
        case _:
            spelled = str(value)
    return Term(f"CAST('{spelled}' AS {duckdb_type(type)})", type, literal=value)


def decimal_of(term: Term, *, fitted: bool = False) -> tuple[int, int]:
    """Precision and scale of an integer or decimal; `fitted`: constants have their own digits."""
    parameters = decimal_parameters(term.type)
    if parameters is not None:
        return parameters
    if fitted and term.literal is not None:
        return max(1, len(str(abs(term.literal)))), 0
    return _AS_DECIMAL[term.type], 0


def decimal_type(precision: int, scale: int) -> str:
    """Refused where Spark would round to fit 38 digits."""
    if precision > _MOST_DIGITS:
        raise refused(
            f"a decimal of {precision} digits", "cast the operands to smaller decimals or to double"
        )
    return f"decimal({precision},{scale})"


def common_type(terms: Iterable[Term]) -> str | None:
    """The type that values are compared in (ANSI mode of Spark 4); None: there is none."""
    found = Term("", "void")
    for term in terms:
        type = _common(found, term)
        if type is None:
            return None
        found = Term("", type)
    return found.type


def _common(left: Term, right: Term) -> str | None:
    types = {left.type, right.type}
    if len(types) == 1 or right.type == "void":
        return left.type
    if left.type == "void":
        return right.type
    if left.is_numeric and right.is_numeric:
        if left.is_integer and right.is_integer:
            return max(left.type, right.type, key=INTEGERS.index)
        if left.is_fractional or right.is_fractional:
            return "double"
        (p1, s1), (p2, s2) = decimal_of(left), decimal_of(right)
        scale = max(s1, s2)
        return decimal_type(max(p1 - s1, p2 - s2) + scale, scale)
    if types <= set(TIMES):
        return "timestamp" if "timestamp" in types else "timestamp_ntz"
    return None


def aligned(terms: list[Term], what: str) -> tuple[list[Term], str]:
    """All in their common type; text constants opposite dates and times are read as such."""
    times = [t for t in terms if t.type in TIMES]
    if times:
        terms = [_as_time(t, times[0].type) if isinstance(t.literal, str) else t for t in terms]
    type = common_type(terms)
    if type is None:
        types = " and ".join(dict.fromkeys(t.type for t in terms))
        raise invalid(f"{what} takes values of one type, not {types}; cast one of them")
    return [t.as_type(type) for t in terms], type


def _as_time(term: Term, type: str) -> Term:
    from deltalakedb.predicate.literal import coerce
    from deltalakedb.predicate.tree import Column

    found = coerce(term.literal, Column(("the other side",), (), type))
    if not found.exact:
        raise invalid(f"{term.literal!r} is no {type}; write it in full")
    return constant(found.floor, type)
