"""Names of tables: which ones work everywhere (on the command line, in URIs, in SQL)."""

from __future__ import annotations

import uuid

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

MOST_CHARACTERS = 255
"""Of a name and of a namespace, on every database."""


def is_uuid(text: str) -> bool:
    """Whether a reference to a table is its id, in any form that `uuid.UUID` takes."""
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def full_name(namespace: str, name: str) -> str:
    """`namespace.name`, or the name alone where the namespace is empty."""
    return f"{namespace}.{name}" if namespace else name


def parse_table_name(text: str) -> tuple[str, str]:
    """Namespace and name of `[namespace.]name`. Raises INVALID_ARGUMENT (see `check_table_name`).

    What stands before the last dot is the namespace, which may hold dots itself.
    """
    namespace, _, name = text.rpartition(".")
    check_table_name(namespace, name, text)
    return namespace, name


def check_table_name(
    namespace: str, name: str, text: str | None = None, *, advice: str = "use [namespace.]name"
) -> None:
    """Raise INVALID_ARGUMENT for a name that couldn't be told, typed or stored somewhere.

    Refused are empty pieces (so also a dot at an end), blanks at an end, characters that can't be
    seen, slashes, whatever is too long, and the form of a uuid, as that means an id. All else is
    literal, also quotes, percent signs and letters of any script; upper and lower case differ.
    `text`: what the user gave, for the message.
    """
    shown = repr(full_name(namespace, name) if text is None else text)
    why = _fault(namespace, name, text)
    if why is not None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{shown[:100]} can't be the name of a table: {why}; {advice}",
            table=shown,
        )


def _fault(namespace: str, name: str, text: str | None) -> str | None:
    whole = full_name(namespace, name) if text is None else text
    if not name or not all(whole.split(".")):
        return "it is empty, or empty before or after a dot"
    for piece in (namespace, name):
        if len(piece) > MOST_CHARACTERS:
            return f"it has {len(piece)} characters, and {MOST_CHARACTERS} is the most"
        if piece != piece.strip():
            return "it begins or ends with a blank"
        if "/" in piece:
            return "it has a slash in it"
        if not piece.isprintable():
            odd = next(c for c in piece if not c.isprintable())
            return f"it has a character in it that can't be seen ({odd!r})"
    if is_uuid(name) or is_uuid(whole):
        return "it has the form of a uuid, which means a table's id"
    return None


def may_be_stored(text: object) -> bool:
    """Whether any database could hold it as a text: what couldn't be stored names no table."""
    if not isinstance(text, str):
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
