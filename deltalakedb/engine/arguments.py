"""What the functions of Spark SQL ask of their arguments."""

from __future__ import annotations

from collections.abc import Callable

from deltalakedb.engine.casts import cast
from deltalakedb.engine.term import Term, invalid

Function = Callable[[str, list[Term]], Term]
"""Makes a term of a function's name and its arguments."""


def made(sql: str, type: str, arguments: list[Term], *, fallible: bool = False) -> Term:
    """A term that fails for a row where one of its arguments does, or `fallible` says so."""
    return Term(sql, type, fallible or any(a.fallible for a in arguments))


def typed(name: str, arguments: list[Term], *types: str, optional: int = 0) -> list[Term]:
    """The arguments as these types: texts, whole numbers ("integer"), dates ("date") or times."""
    if not len(types) - optional <= len(arguments) <= len(types):
        raise invalid(f"{name} takes {len(types)} arguments, not {len(arguments)}")
    return [as_type_of(name, a, type) for a, type in zip(arguments, types, strict=False)]


def as_type_of(name: str, argument: Term, type: str) -> Term:
    """An argument as a type of `typed`; INVALID_PREDICATE for one that is none."""
    if argument.type == "void":
        return argument.as_type(type)
    if type == "integer" and argument.type in ("byte", "short", "integer"):
        return argument.as_type("integer")
    if type == "time" and argument.type in ("timestamp", "timestamp_ntz", "date"):
        return argument
    if type == "date" and argument.type in ("timestamp", "timestamp_ntz"):
        return cast(argument, "date")
    if argument.type != type:
        raise invalid(f"{name} takes a value of type {type}, not {argument.type}; cast it")
    return argument


def simple(template: str, result: str, *types: str) -> Function:
    """DuckDB's function does the same."""

    def write(name: str, arguments: list[Term]) -> Term:
        taken = typed(name, arguments, *types)
        return made(template.format(*(a.sql for a in taken)), result, taken)

    return write
