"""Spark SQL expressions as sqlglot's trees; the rest of the room decides what they mean.

Functions stay calls by the name that was written: sqlglot's own notion of them changes with its
versions.
"""

from __future__ import annotations

import re
from functools import cache

import sqlglot
from sqlglot import exp
from sqlglot.dialects.databricks import Databricks
from sqlglot.errors import SqlglotError

from deltalakedb.engine.term import invalid, refused
from deltalakedb.predicate.sql.tokens import unescape

_PIECES = re.compile(
    r"'(?P<text>(?:[^'\\]|\\.)*)'|`(?:[^`]|``)*`|--[^\n]*|/\*.*?\*/|(?P<double>\")", re.DOTALL
)


@cache
def _dialect() -> type[Databricks]:
    """Databricks's dialect, for which CAST and TRY_CAST differ, without its functions."""
    own = Databricks.Parser
    calls = {n: f for n, f in own.FUNCTION_PARSERS.items() if n in ("CAST", "TRY_CAST")}
    words = {n: f for n, f in own.NO_PAREN_FUNCTION_PARSERS.items() if n == "CASE"}
    bare = {
        "FUNCTIONS": {},
        "FUNCTION_PARSERS": calls,
        "NO_PAREN_FUNCTIONS": {},
        "NO_PAREN_FUNCTION_PARSERS": words,
    }
    # As a class statement: sqlglot's metaclasses look at the bodies.
    parser = type("Parser", (own,), bare)
    dialect: type[Databricks] = type("SparkExpressions", (Databricks,), {"Parser": parser})
    return dialect


def parse(sql: str) -> exp.Expression:
    """The tree of one expression. INVALID_PREDICATE where it is none."""
    texts = set()
    for piece in _PIECES.finditer(sql):
        if piece["double"]:
            raise refused(
                "an expression with double quotes", "write texts in single quotes, names in `…`"
            )
        if piece["text"] is not None:
            texts.add(unescape(piece["text"]))
    try:
        found = [tree for tree in sqlglot.parse(sql, dialect=_dialect()) if tree is not None]
    except SqlglotError as error:
        first = str(error).splitlines()[0].rstrip(".")
        raise invalid(f"{sql!r} is no expression of Spark SQL: {first}") from None
    if len(found) != 1 or not isinstance(found[0], exp.Expression):
        raise invalid(f"{sql!r} is not one expression of Spark SQL")
    for literal in found[0].find_all(exp.Literal):
        if isinstance(literal.parent, exp.Interval):
            continue
        typed = isinstance(literal.parent, exp.Cast) and literal.this not in texts
        if literal.is_string and literal.this not in texts and not (typed and _is_number(literal)):
            raise refused(f"the text {literal.this!r} in this spelling", "write it without escapes")
    return found[0]


def _is_number(literal: exp.Literal) -> bool:
    return re.fullmatch(r"[0-9.]+(?:[eE][+-]?[0-9]+)?", literal.this) is not None
