"""LIKE patterns: checked, and reduced to an equality or a prefix where that is all they say."""

from __future__ import annotations

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.predicate.tree import Column, Comparison, Expr, Like, StartsWith


def like(column: Column, pattern: str, *, escape: str = "\\", ignore_case: bool = False) -> Expr:
    """`column LIKE pattern ESCAPE escape`, as in Spark.

    Raises INVALID_PREDICATE when the column is no text or the pattern escapes an ordinary
    character.
    """
    if column.type != "string":
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_PREDICATE,
            f"LIKE needs a text column, and {column} is of type {column.type}; compare it instead",
            column=str(column),
            type=column.type,
        )
    plain = canonical(pattern, escape)
    if not ignore_case:
        literal, rest = literal_prefix(plain)
        if not rest:
            return Comparison(column, "=", literal)
        if not rest.strip("%"):
            return StartsWith(column, literal)
    return Like(column, plain, ignore_case)


def literal_prefix(pattern: str) -> tuple[str, str]:
    """The text before the first wildcard of a canonical pattern, and the pattern from there on."""
    out: list[str] = []
    position = 0
    while position < len(pattern) and pattern[position] not in "%_":
        position += pattern[position] == "\\"
        out.append(pattern[position])
        position += 1
    return "".join(out), pattern[position:]


def canonical(pattern: str, escape: str) -> str:
    """The same pattern with backslash as its escape character.

    INVALID_PREDICATE where the pattern escapes an ordinary character.
    """
    out: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character == escape:
            taken = next(characters, "")
            if taken not in ("%", "_", escape):
                raise DeltaLakeError(
                    DeltaLakeErrorKind.INVALID_PREDICATE,
                    f"in the LIKE pattern {pattern!r} the escape character {escape!r} is not "
                    f"followed by %, _ or itself; write {escape}{escape} for the character",
                    pattern=pattern,
                )
            out.append(f"\\{taken}" if taken in "%_\\" else taken)
        else:
            out.append("\\\\" if character == "\\" else character)
    return "".join(out)
