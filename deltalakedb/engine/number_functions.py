"""Functions and operators of numbers that answer as Spark's do."""

from __future__ import annotations

from deltalakedb.engine.arguments import Function, made
from deltalakedb.engine.casts import cast
from deltalakedb.engine.term import Term, aligned, decimal_of, decimal_type, invalid, refused

_MOST_DIGITS = 15
_ALL_WHOLE = 1 << 52
"""From here on doubles have no fraction."""


def _round(name: str, arguments: list[Term]) -> Term:
    if len(arguments) not in (1, 2) or not arguments[0].is_numeric:
        raise invalid("round takes a number, and how many digits are left")
    value, digits = arguments[0], arguments[1].literal if len(arguments) == 2 else 0
    if not isinstance(digits, int) or not 0 <= digits <= _MOST_DIGITS:
        raise refused("round to other than 0 to 15 digits", "write the number of digits")
    if value.is_integer:
        return value
    if value.is_decimal:
        precision, scale = decimal_of(value)
        left = min(scale, digits)
        return cast(value, decimal_type(precision - scale + left + 1, left))
    if value.type == "float":
        raise refused("round of a float", "cast it to double")
    # Spark rounds what the number is written as: 1.005 to 1.01.
    text = f"CAST({value.sql} AS VARCHAR)"
    rounded = f"CAST(CAST(CAST({text} AS DECIMAL(38,{digits})) AS VARCHAR) AS DOUBLE)"
    is_whole = f"isnan({value.sql}) OR abs({value.sql}) >= {_ALL_WHOLE}"
    return made(f"CASE WHEN {is_whole} THEN {value.sql} ELSE {rounded} END", "double", [value])


def of_bits(sign: str, left: Term, right: Term) -> Term:
    """`&`, `|` or `^` of whole numbers."""
    if not all(term.is_integer or term.type == "void" for term in (left, right)):
        raise invalid(f"{sign} takes whole numbers; cast them")
    (left, right), type = aligned([left, right], sign)
    if type == "void":
        raise refused(f"{sign} of NULL alone", "cast it")
    sql = f"xor({left.sql}, {right.sql})" if sign == "^" else f"({left.sql} {sign} {right.sql})"
    return made(sql, type, [left, right])


def inverted(value: Term) -> Term:
    """`~` of a whole number."""
    if not value.is_integer:
        raise invalid("~ takes a whole number; cast it")
    return made(f"(~{value.sql})", value.type, [value])


NUMBERS: dict[str, Function] = {"round": _round}
