"""Who writes a table, as its commits say: the engines, jobs and people that have to be switched."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import orjson

from deltalakedb.error import DeltaLakeError
from deltalakedb.log.paths import CommitFile, parse_log_name
from deltalakedb.storage.pieces import StoredFile
from deltalakedb.storage.store import ObjectInfo, ObjectStore

WHO_COMMITS = 1_000
"""Commits that are looked at, the newest ones: who wrote before them hardly writes now."""
_SHORT = 1 << 16
"""Bytes up to which a commit is read whole."""
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class WhoWrites:
    """A writer of a table. `last_write`: milliseconds since 1970, None where no commit says.

    `operations`: how often it did what. `job`, `notebook`, `user`: as Databricks and Spark tell.
    """

    engine: str
    user: str | None = None
    job: str | None = None
    notebook: str | None = None
    commits: int = 0
    last_version: int = -1
    last_write: int | None = None
    operations: dict[str, int] = field(default_factory=dict)


def recent_writers(log: ObjectStore, commits: int = WHO_COMMITS) -> list[WhoWrites]:
    """The writers of the newest `commits` of a log, the most recent first. One listing, and those
    commits' bytes, of long ones few."""
    found = [each for each in log.list("0") if _is_commit(each.name)][-commits:]
    short = log.read_each([each.name for each in found if each.size <= _SHORT])
    with closing(short):
        return writers_of(
            (_version(each.name), next(short) if each.size <= _SHORT else _line(log, each))
            for each in found
        )


def _line(log: ObjectStore, commit: ObjectInfo) -> bytes:
    """The commitInfo of a long commit: most begin with it, delta-rs has ended with it."""
    beginning = log.read_range(commit.name, 0, _SHORT)
    if _info(beginning):
        return beginning
    end = log.read_range(commit.name, commit.size - _SHORT, _SHORT).partition(b"\n")[2]
    if _info(end):
        return end
    rest = b""
    for piece in StoredFile(log, commit.name, commit.size):
        *lines, rest = (rest + piece).split(b"\n")
        line = next((each for each in lines if _info(each)), None)
        if line is not None:
            return line
    return rest


def writers_of(commits: Any) -> list[WhoWrites]:
    """Of (version, bytes) of commits in order."""
    found: dict[tuple[str | None, ...], tuple[list[int], Counter[str], int | None]] = {}
    for version, data in commits:
        info = _info(data)
        who = (
            str(info.get("engineInfo") or _UNKNOWN),
            _text(info.get("userName") or info.get("userId")),
            _inner(info.get("job"), "jobName", "jobId"),
            _inner(info.get("notebook"), "notebookId"),
        )
        versions, operations, last = found.get(who, ([], Counter(), None))
        versions.append(version)
        operations[str(info.get("operation") or _UNKNOWN)] += 1
        said = info.get("timestamp")
        last = max(last or 0, said) if isinstance(said, int) else last
        found[who] = (versions, operations, last)
    listed = [
        WhoWrites(
            engine=str(engine),
            user=user,
            job=job,
            notebook=notebook,
            commits=len(versions),
            last_version=versions[-1],
            last_write=last,
            operations=dict(operations.most_common()),
        )
        for (engine, user, job, notebook), (versions, operations, last) in found.items()
    ]
    return sorted(listed, key=lambda each: -each.last_version)


def _is_commit(name: str) -> bool:
    try:
        return isinstance(parse_log_name(name), CommitFile)
    except DeltaLakeError:
        return False


def _version(name: str) -> int:
    return int(name.split(".", 1)[0])


def _info(data: bytes) -> dict[str, Any]:
    """The commitInfo, which most engines write first and Spark may write anywhere."""
    for line in data.splitlines():
        if b'"commitInfo"' not in line[:40]:
            continue
        try:
            found = orjson.loads(line).get("commitInfo")
        except orjson.JSONDecodeError:
            continue
        if isinstance(found, dict):
            return found
    return {}


def _inner(value: Any, *names: str) -> str | None:
    if not isinstance(value, dict):
        return None
    return next((_text(value[name]) for name in names if value.get(name)), None)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
