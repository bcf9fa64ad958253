"""`${NAME}`, `${NAME:-default}` and `${file:/a/path}` in the texts of a configuration."""

from __future__ import annotations

import os
import re
from pathlib import Path

from deltalakedb.config.checks import invalid

_VARIABLE = re.compile(r"\$(\$)?\{([^}]*)\}")
_FILE = "file:"
_OR = ":-"


def substitute(text: str, path: str, where: str) -> tuple[str, list[str]]:
    """`text` with what its variables stand for, and which those are.

    `${NAME}`: a variable of the environment; `${NAME:-default}`: where that is not set or empty,
    the default; `${file:/run/secrets/x}`: a file's content without the last line's end. `$${…}`
    stands for the text `${…}`. Raises CONFIGURATION_ERROR for what isn't there; `where` in `path`
    is named in it.
    """
    used: list[str] = []

    def replace(match: re.Match[str]) -> str:
        escaped, inner = match.groups()
        if escaped:
            return match.group(0)[1:]
        if inner.startswith(_FILE):
            used.append(match.group(0))
            return _content(inner[len(_FILE) :], path, where)
        name, has_default, default = inner.partition(_OR)
        found = os.environ.get(name)
        if has_default and not found:
            used.append(f"the default of ${{{name}}}")
            return default
        used.append(f"${{{name}}}")
        if found is None:
            raise invalid(
                f"{path!r}: {where} refers to the environment variable {name!r}, which is not "
                "set; set it, give a default by ${NAME:-default}, or write $${...} for the text "
                "itself"
            )
        return found

    return _VARIABLE.sub(replace, text), used


def from_file(variable: str) -> bool:
    """Whether a variable, as `substitute` tells it, is a file: what is there is a secret."""
    return variable.startswith("${" + _FILE)


def _content(name: str, path: str, where: str) -> str:
    try:
        text = Path(os.path.expanduser(name)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        told = getattr(error, "strerror", None) or "it is no text"
        raise invalid(
            f"{path!r}: {where} refers to the file {name!r}, which can't be read: {told}; mount "
            "it, or correct the path"
        ) from None
    return text.removesuffix("\n").removesuffix("\r")
