"""CAST between types, as Spark 4 does it in ANSI mode; other casts are refused by name."""

from __future__ import annotations

from deltalakedb.engine.term import (
    INTEGERS,
    TIMES,
    Term,
    constant,
    decimal_of,
    decimal_type,
    duckdb_type,
    invalid,
    refused,
    text,
)
from deltalakedb.error import DeltaLakeError
from deltalakedb.log.schema import decimal_parameters, is_string

_INTEGER = "[+-]?[0-9]+"
_NUMBER = r"(?i)[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?|[+-]?inf(inity)?|nan"
_DATE = "[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
_TIME = _DATE + r"([ T][0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(\.[0-9]{1,6})?)?"
_TRUE = "('t', 'true', 'y', 'yes', '1')"
_FALSE = "('f', 'false', 'n', 'no', '0')"


def raised(why: str) -> str:
    """SQL that ends the query with this message."""
    return f"error({text(why)})"


def cast(term: Term, type: str) -> Term:
    """`CAST(term AS type)`."""
    source = term.type
    if source == type:
        return Term(term.sql, type, term.fallible)
    if source == "void":
        return constant(None, type)
    if source == "string":
        return _from_text(term, type)
    if term.is_numeric and (type in ("float", "double") or type in INTEGERS):
        return _number(term, type)
    if term.is_numeric and decimal_parameters(type) is not None:
        return _decimal(term, type)
    if term.is_numeric and type == "boolean":
        return Term(f"({term.sql} <> 0)", type, term.fallible)
    if source == "boolean" and type in INTEGERS:
        return Term(f"CAST({term.sql} AS {duckdb_type(type)})", type, term.fallible)
    if type == "string":
        return _text(term)
    if source in TIMES and type in TIMES:
        return Term(f"CAST({term.sql} AS {duckdb_type(type)})", type, term.fallible)
    if source == "string" and type == "binary":
        return Term(f"encode({term.sql})", type, term.fallible)
    raise refused(f"CAST of {source} to {type}", "leave it out or compute it beforehand")


def stored(term: Term, type: str) -> Term:
    """A value as a column of a type takes it; as it is where the engine doesn't cast it."""
    type = "string" if is_string(type) else type
    if term.type in (type, "void"):
        return term
    try:
        return cast(term, type)
    except DeltaLakeError:
        return term


def _number(term: Term, type: str) -> Term:
    sql = term.sql
    if type in INTEGERS and not term.is_integer:
        # Spark cuts the fraction off, DuckDB rounds.
        sql = f"trunc({sql})"
    order = (*INTEGERS, "float", "double")
    wider = term.type in order and order.index(type) >= order.index(term.type)
    fallible = term.fallible or not (wider or (term.is_decimal and type == "double"))
    return Term(f"CAST({sql} AS {duckdb_type(type)})", type, fallible)


def _decimal(term: Term, type: str) -> Term:
    if term.is_fractional:
        # Spark takes what the number is written as.
        sql = f"CAST(CAST(CAST({term.sql} AS DOUBLE) AS VARCHAR) AS {duckdb_type(type)})"
        return Term(sql, type, fallible=True)
    (p1, s1), (p2, s2) = decimal_of(term), decimal_parameters(type) or (0, 0)
    exact = s1 <= s2 and p1 - s1 <= p2 - s2
    source = term.sql
    if term.is_integer:
        source = f"CAST({source} AS {duckdb_type(decimal_type(p1, 0))})"
    return Term(f"CAST({source} AS {duckdb_type(type)})", type, term.fallible or not exact)


def _text(term: Term) -> Term:
    if term.is_integer or term.type in ("boolean", "date"):
        checked = term.sql
        if term.type == "date":
            checked = four_digits(term.sql)
        return Term(f"CAST({checked} AS VARCHAR)", "string", term.fallible or term.type == "date")
    if term.is_decimal:
        return Term(f"CAST({term.sql} AS VARCHAR)", "string", term.fallible)
    if term.type in ("timestamp", "timestamp_ntz"):
        return Term(f"CAST({four_digits(term.sql)} AS VARCHAR)", "string", fallible=True)
    raise refused(f"CAST of {term.type} to string", "compare the values themselves")


def four_digits(sql: str) -> str:
    """The date or time, or an error for years that Spark writes with another number of digits."""
    why = raised("a year outside 1 to 9999 isn't written as text")
    known = f"year({sql}) BETWEEN 1 AND 9999"
    return f"CASE WHEN {known} THEN {sql} WHEN {sql} IS NULL THEN NULL ELSE {why} END"


def _from_text(term: Term, type: str) -> Term:
    if type == "binary":
        return Term(f"encode({term.sql})", type, term.fallible)
    # Spark takes blanks and control characters off before it reads a value.
    bare = f"trim({term.sql}, ' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(13))"
    if type == "boolean":
        why = raised("CAST of a text to boolean: it is neither true nor false")
        sql = (
            f"CASE WHEN lower({bare}) IN {_TRUE} THEN TRUE WHEN lower({bare}) IN {_FALSE} "
            f"THEN FALSE WHEN {term.sql} IS NULL THEN NULL ELSE {why} END"
        )
        return Term(sql, type, fallible=True)
    if type in INTEGERS:
        form = _INTEGER
    elif type in ("float", "double"):
        form = _NUMBER
    elif type in TIMES:
        form = _DATE if type == "date" else _TIME
    else:
        raise refused(f"CAST of string to {type}", "cast it to double or to a whole number")
    why = raised(f"CAST of a text to {type}: its form is not plain enough to be read as in Spark")
    sql = (
        f"CASE WHEN regexp_full_match({bare}, '{form}') THEN CAST({bare} AS {duckdb_type(type)}) "
        f"WHEN {term.sql} IS NULL THEN NULL ELSE {why} END"
    )
    return Term(sql, type, fallible=True)


def type_of(name: str, parameters: tuple[int, ...]) -> str:
    """The Delta type that sqlglot's name and parameters stand for."""
    if name == "DECIMAL":
        precision, scale = (*parameters, 10, 0)[:2] if len(parameters) != 1 else (parameters[0], 0)
        return decimal_type(precision, scale)
    found = _NAMES.get(name)
    if found is None or parameters:
        raise invalid(f"CAST to {name} is not possible here")
    return found


_NAMES = {
    "TINYINT": "byte",
    "SMALLINT": "short",
    "INT": "integer",
    "BIGINT": "long",
    "FLOAT": "float",
    "DOUBLE": "double",
    "BOOLEAN": "boolean",
    "TEXT": "string",
    "BINARY": "binary",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
    "TIMESTAMPTZ": "timestamp",
    "TIMESTAMPLTZ": "timestamp",
    "TIMESTAMPNTZ": "timestamp_ntz",
}
