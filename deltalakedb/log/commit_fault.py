"""What is wrong with a commit, and where: looked for only once reading has failed.

PROTOCOL.md, "Actions", says which fields an action must have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import orjson

from deltalakedb.error import CorruptCommitError

_ADVICE = "restore this commit from a backup"
_OBJECTS = frozenset(
    {"add", "remove", "metaData", "protocol", "txn", "domainMetadata", "cdc", "commitInfo"}
)
# Of each field: its type, and whether the action must have it.
_SMALL_FIELDS: dict[str, dict[str, tuple[type, bool]]] = {
    "txn": {"appId": (str, True), "version": (int, True), "lastUpdated": (int, False)},
    "domainMetadata": {"domain": (str, True), "configuration": (str, False)},
    "cdc": {"path": (str, True), "size": (int, False), "partitionValues": (dict, False)},
    "metaData": {
        "schemaString": (str, False),
        "partitionColumns": (list, False),
        "configuration": (dict, False),
        "createdTime": (int, False),
    },
}
_FILE_FIELDS: dict[str, tuple[type, bool]] = {
    "path": (str, True),
    "partitionValues": (dict, False),
    "size": (int, False),
    "stats": (str, False),
    "deletionVector": (dict, False),
}
_NAMES = {str: "a string", int: "a 64-bit integer", dict: "an object", list: "an array"}


def small_fault(kind: str, body: Any) -> str | None:
    """What is wrong with a metaData, protocol, txn, domainMetadata, cdc or commitInfo action."""
    if not isinstance(body, dict):
        return f"action {kind} is not an object"
    return _wrong_field(kind, body, _SMALL_FIELDS.get(kind, {}))


def _wrong_field(
    kind: str, body: Mapping[str, Any], fields: Mapping[str, tuple[type, bool]]
) -> str | None:
    for name, (type_, required) in fields.items():
        value = body.get(name)
        if value is None:
            if required:
                return f"action {kind} has no {name}"
        elif not _is(value, type_):
            return f"field {name} of action {kind} is not {_NAMES[type_]}"
    return None


def _is(value: Any, type_: type) -> bool:
    if type_ is int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and -(2**63) <= value < 2**63
    return isinstance(value, type_)


def refuse(name: str, version: int, data: bytes, error: Exception) -> NoReturn:
    """Raise CORRUPT_COMMIT for the first line of a commit that is at fault.

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
    start = 0
    for number, line in enumerate(data.split(b"\n"), 1):
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
        if body is None or kind not in _OBJECTS:
            continue
        why = file_fault(kind, body) if kind in ("add", "remove") else small_fault(kind, body)
        if why is not None:
            return 0, why
    return None


def _byte(line: bytes, error: orjson.JSONDecodeError) -> int:
    """orjson tells characters of the text it decoded, and none where that failed."""
    try:
        return len(line.decode()[: error.pos].encode())
    except UnicodeDecodeError as undecodable:
        return undecodable.start


def file_fault(kind: str, body: Any) -> str | None:
    """What is wrong with an add or remove action."""
    if not isinstance(body, dict):
        return f"action {kind} is not an object"
    return _wrong_field(kind, body, _FILE_FIELDS)


def refuse_action(
    kind: str, body: Any, version: int, number: int, error: Exception
) -> CorruptCommitError:
    """CORRUPT_COMMIT for one add or remove that can't become a row; `number` counts from 1."""
    why = file_fault(kind, body) or f"action {kind} can't be read: {error}"
    path = body.get("path") if isinstance(body, dict) else None
    where = f" (path {path!r})" if isinstance(path, str) else ""
    return CorruptCommitError(
        f"version {version}, {kind} number {number}{where}: {why}; {_ADVICE}",
        version=version,
        action=kind,
        number=number,
    )
