"""What is wrong with a commit, and where: looked for only once reading has failed.

PROTOCOL.md, "Actions", says which fields an action must have.
"""

from __future__ import annotations

from typing import Any, NoReturn

import orjson

from deltalakedb.error import CorruptCommitError
from deltalakedb.log.fields import ACTIONS, body_fault

_ADVICE = "restore this commit from a backup"


def refuse(
    name: str, version: int, data: bytes, error: Exception, lines: int = 0, size: int = 0
) -> NoReturn:
    """Raise CORRUPT_COMMIT for the first line of a commit, or of a piece of it, that is at fault.

    `lines` and `size`: how many lines and bytes of the commit came before the piece.

    Facts: `file`, `version`, and where it is one line `line` (from 1) and `byte` (from 0, in the
    file). `error` is what the reader stumbled over.
    """
    if not data.strip():
        what = "is empty (zero actions)" if data else "is empty (zero bytes)"
        raise CorruptCommitError(
            f"commit {name} {what}; restore it from a backup, or remove it if its writer died "
            "before the commit was acknowledged",
            file=name,
            version=version,
        ) from None
    start = size
    for number, line in enumerate(data.split(b"\n"), lines + 1):
        found = _line_fault(line)
        if found is not None:
            offset, why = found
            raise CorruptCommitError(
                f"commit {name}, line {number}, byte {start + offset}: {why}; {_ADVICE}",
                file=name,
                version=version,
                line=number,
                byte=start + offset,
            ) from None
        start += len(line) + 1
    raise CorruptCommitError(
        f"commit {name} can't be read: {type(error).__name__}: {error}; {_ADVICE}",
        file=name,
        version=version,
    ) from error


def _line_fault(line: bytes) -> tuple[int, str] | None:
    line = line.rstrip()
    if not line:
        return None
    try:
        action = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _byte(line, error), f"not valid JSON ({error.msg})"
    if not isinstance(action, dict):
        return 0, "not a JSON object"
    for kind, body in action.items():
        if body is None or kind not in ACTIONS:
            continue
        why = body_fault(kind, body)
        if why is not None:
            return 0, why
    return None


def _byte(line: bytes, error: orjson.JSONDecodeError) -> int:
    """orjson tells characters of the text it decoded, and none where that failed."""
    try:
        return len(line.decode()[: error.pos].encode())
    except UnicodeDecodeError as undecodable:
        return undecodable.start


def refuse_action(
    kind: str, body: Any, version: int, number: int, error: Exception
) -> CorruptCommitError:
    """CORRUPT_COMMIT for one add or remove that can't become a row; `number` counts from 1."""
    why = body_fault(kind, body) or f"action {kind} can't be read: {error}"
    path = body.get("path") if isinstance(body, dict) else None
    where = f" (path {path!r})" if isinstance(path, str) else ""
    return CorruptCommitError(
        f"version {version}, {kind} number {number}{where}: {why}; {_ADVICE}",
        version=version,
        action=kind,
        number=number,
    )
