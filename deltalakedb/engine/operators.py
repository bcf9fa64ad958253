"""What operators of numbers and conditions come to, given their terms."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from deltalakedb.engine.casts import cast, raised
from deltalakedb.engine.term import (
    Term,
    aligned,
    constant,
    decimal_of,
    decimal_type,
    invalid,
    refused,
)
from deltalakedb.log.schema import decimal_parameters


def all_numeric(terms: Iterable[Term], sign: str) -> None:
    """INVALID_PREDICATE for what is no number."""
    for term in terms:
        if not term.is_numeric and term.type != "void":
            raise invalid(f"{sign} takes numbers, not a {term.type}; cast it")


def operands(left: Term, right: Term, sign: str) -> tuple[Term, Term, str]:
    """The operands as what is computed with, and the type of the result."""
    all_numeric((left, right), sign)
    if not (left.is_decimal or right.is_decimal) or left.is_fractional or right.is_fractional:
        (left, right), type = aligned([left, right], sign)
        type = "double" if type == "void" else type
        return left.as_type(type), right.as_type(type), type
    if "void" in (left.type, right.type):
        raise refused("NULL beside a decimal", "leave it out")
    # Spark's digits of a sum and of a product (DecimalPrecision).
    (p1, s1), (p2, s2) = decimal_of(left, fitted=True), decimal_of(right, fitted=True)
    if sign == "*":
        type = decimal_type(p1 + p2 + 1, s1 + s2)
        return left.as_type(decimal_type(p1, s1)), right.as_type(decimal_type(p2, s2)), type
    scale = max(s1, s2)
    type = decimal_type(max(p1 - s1, p2 - s2) + scale + 1, scale)
    return left.as_type(type), right.as_type(type), type


def unless_zero(left: Term, right: Term, sql: str, type: str) -> Term:
    """A division: an error where the right side is zero, NULL where a side is."""
    zero = f"{right.sql} = 0 AND {left.sql} IS NOT NULL"
    return Term(
        f"(CASE WHEN {zero} THEN {raised('division by zero')} ELSE {sql} END)", type, fallible=True
    )


def both(left: Term, right: Term) -> Term:
    """`left AND right`."""
    sql = f"({left.sql} AND {right.sql})"
    if right.fallible:
        # What the left side decides, the right side isn't asked for, as in Spark.
        sql = f"(CASE WHEN NOT {left.sql} THEN FALSE ELSE {sql} END)"
    return Term(sql, "boolean", left.fallible or right.fallible)


def negated(term: Term) -> Term:
    """`NOT term`."""
    return Term(f"(NOT {term.sql})", "boolean", term.fallible)


def constant_cast(value: Term, type: str) -> Term:
    """A number with a suffix (1L, 1.5BD) or a cast constant, which stays one."""
    parameters = decimal_parameters(type)
    if parameters is not None and isinstance(value.literal, str):
        number = Decimal(value.literal)
        if -int(number.as_tuple().exponent) == parameters[1]:
            return constant(number, type)
    found = cast(value, type)
    literal: object = None
    if type in ("byte", "short", "integer", "long") and value.is_integer:
        literal = value.literal
    return Term(found.sql, type, found.fallible, literal)
