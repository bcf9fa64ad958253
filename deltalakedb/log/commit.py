"""Commits: newline-delimited JSON actions, decoded once into the Arrow rows of `log.rows`.

PROTOCOL.md, "Delta Log Entries" and "Actions". Pure: bytes in, rows out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import orjson
import pyarrow as pa
import xxhash

from deltalakedb.log import rows
from deltalakedb.log.action_tables import Settled, built, closing_table, file_table, json_text
from deltalakedb.log.commit_fault import refuse
from deltalakedb.log.fields import ACTIONS, body_fault
from deltalakedb.log.partition import PartitionTexts, partition_values_text

PIECE_BYTES = 4 << 20
"""A commit of more is decoded in pieces: its objects would take ten times its size."""

STATE_ACTIONS = frozenset({"metaData", "protocol", "txn", "domainMetadata"})
_CHECKPOINT_ACTIONS = frozenset({"sidecar", "checkpointMetadata"})


@dataclass(frozen=True)
class StateChange:
    """A metaData, protocol, txn or domainMetadata action at a version; `key` is appId or domain."""

    version: int
    action: str
    key: str
    body: dict[str, Any]


@dataclass(frozen=True)
class ActionRows:
    """What a number of commits or checkpoint parts hold, in the order they were read.

    `files`: FILE_SCHEMA with `removed_version` LIVE (nothing is reconciled yet);
    `closings`, `versions`, `changes`, `others`: the schemas of `log.rows`.
    """

    files: pa.Table
    closings: pa.Table
    versions: pa.Table
    changes: pa.Table
    others: pa.Table
    state: list[StateChange]


class ActionReader:
    """Collects the actions of commits; `finish()` gives them as Arrow rows."""

    def __init__(self, settled: tuple[Settled, Settled] | None = None) -> None:
        """`settled`: the adds and removes that readers of the same commit have had before."""
        self._adds: list[dict[str, Any]] = []
        self._add_versions: list[int] = []
        self._removes: list[dict[str, Any]] = []
        self._remove_versions: list[int] = []
        self._versions: list[dict[str, Any]] = []
        self._changes: list[dict[str, Any]] = []
        self._others: list[dict[str, Any]] = []
        self._state: list[StateChange] = []
        self._files: list[pa.Table] = []
        self._closings: list[pa.Table] = []
        self._settled, self._settled_removes = settled or (Settled(), Settled())
        self._texts = PartitionTexts()

    @property
    def pending(self) -> int:
        """Adds and removes that are held as Python objects at the moment."""
        return len(self._adds) + len(self._removes)

    def commit(
        self, version: int, data: bytes, *, name: str, file_time: int, history_only: bool = False
    ) -> None:
        """Read one commit file. `history_only`: keep its provenance, none of its actions.

        Raises DeltaLakeError(CORRUPT_COMMIT) naming the file, the line and the byte.
        """
        commit = OpenCommit(version, name, file_time)
        for piece in _pieces(data):
            commit.read(piece, self, history_only=history_only)
        commit.end(self)

    def _marks(self) -> tuple[int, ...]:
        return tuple(map(len, self._kept()))

    def _kept(self) -> tuple[list[Any], ...]:
        return self._adds, self._removes, self._state, self._changes, self._others

    def _forget_since(self, marks: tuple[int, ...]) -> None:
        for found, mark in zip(self._kept(), marks, strict=True):
            del found[mark:]

    def _lines(self, version: int, data: bytes, before: int) -> tuple[dict[str, Any] | None, int]:
        """Take the actions of whole lines; commitInfo, and how many actions there are.

        `before`: how many actions of the commit came before.
        """
        info = None
        adds, removes = self._adds.append, self._removes.append
        position = before
        for position, action in enumerate(_decode(data), before + 1):
            if (add := action.get("add")) is not None and len(action) == 1:
                adds(add)
                continue
            for kind, body in action.items():
                if body is None:
                    continue
                if kind == "add":
                    adds(body)
                elif kind == "remove":
                    removes(body)
                elif kind == "commitInfo":
                    info = body
                else:
                    self._small(version, kind, body, position)
        return info, position - before

    def _small(self, version: int, kind: str, body: Any, position: int) -> None:
        if kind in ACTIONS and (why := body_fault(kind, body)) is not None:
            raise ValueError(why)
        if kind in STATE_ACTIONS:
            key = body["appId"] if kind == "txn" else body.get("domain", "")
            self._state.append(StateChange(version, kind, key, body))
        elif kind == "cdc":
            self._changes.append(
                {
                    "version": version,
                    "path": body["path"],
                    "partition_values": partition_values_text(body.get("partitionValues") or {}),
                    "size": body.get("size"),
                    "tags": json_text(body.get("tags")),
                }
            )
        elif kind not in _CHECKPOINT_ACTIONS:
            self._others.append(
                {"version": version, "position": position, "action": kind, "body": json_text(body)}
            )

    def action(self, version: int, action: dict[str, Any], position: int) -> None:
        """Take one decoded action of a JSON checkpoint, as if it were of commit `version`."""
        for kind, body in action.items():
            if body is None:
                continue
            if kind == "add":
                self._adds.append(body)
                self._add_versions.append(version)
            elif kind == "remove":
                self._removes.append(body)
                self._remove_versions.append(version)
            else:
                self._small(version, kind, body, position)

    def settle(self) -> None:
        """Turn the actions read so far into Arrow: a tenth of the memory of the objects."""
        if self._adds:
            found = built(
                file_table, "add", self._adds, self._add_versions, self._texts, self._settled
            )
            self._files.append(found)
            self._settled.add(self._add_versions)
            self._adds, self._add_versions = [], []
        if self._removes:
            found = built(
                closing_table,
                "remove",
                self._removes,
                self._remove_versions,
                self._texts,
                self._settled_removes,
            )
            self._closings.append(found)
            self._settled_removes.add(self._remove_versions)
            self._removes, self._remove_versions = [], []

    def finish(self) -> ActionRows:
        self.settle()
        return ActionRows(
            files=pa.concat_tables([rows.FILE_SCHEMA.empty_table(), *self._files]),
            closings=pa.concat_tables([rows.CLOSING_SCHEMA.empty_table(), *self._closings]),
            versions=pa.Table.from_pylist(self._versions, rows.VERSION_SCHEMA),
            changes=pa.Table.from_pylist(self._changes, rows.CHANGE_SCHEMA),
            others=pa.Table.from_pylist(self._others, rows.OTHER_SCHEMA),
            state=self._state,
        )


class OpenCommit:
    """A commit that is read in pieces of whole lines, one after another, by one or more readers."""

    def __init__(self, version: int, name: str, file_time: int) -> None:
        self._version = version
        self._name = name
        self._file_time = file_time
        self._info: dict[str, Any] | None = None
        self._actions = self._adds = self._removes = self._added_bytes = 0
        self._lines = self._size = 0
        self._previous = b""
        self._hash = xxhash.xxh3_128()

    def read(self, data: bytes, reader: ActionReader, *, history_only: bool = False) -> None:
        """Give a piece's actions to a reader. Raises CORRUPT_COMMIT as `ActionReader.commit`."""
        # Lines are counted for messages: not those of the many commits of one piece.
        self._lines += self._previous.count(b"\n")
        marks = reader._marks()
        try:
            info, actions = reader._lines(self._version, data, self._actions)
            added = reader._adds[marks[0] :]
            size = sum([a.get("size") or 0 for a in added])
            if info is not None:
                version_row(self._version, info, self._file_time, [0, 0], 0)
        except (TypeError, AttributeError, KeyError, ValueError) as error:
            refuse(self._name, self._version, data, error, self._lines, self._size)
        counts = len(added), len(reader._removes) - marks[1]
        self._info = self._info if info is None else info
        self._actions += actions
        self._adds += counts[0]
        self._removes += counts[1]
        self._added_bytes += size
        self._size += len(data)
        self._hash.update(data)
        if history_only:
            reader._forget_since(marks)
        else:
            reader._add_versions.extend(repeat(self._version, counts[0]))
            reader._remove_versions.extend(repeat(self._version, counts[1]))
        self._previous = data
        if len(data) >= PIECE_BYTES:
            reader.settle()

    def end(self, reader: ActionReader) -> None:
        """Give the commit's own row to a reader. Raises CORRUPT_COMMIT if it held no action."""
        if not self._actions:
            nothing = b" " * min(self._size, 1)
            refuse(self._name, self._version, nothing, ValueError("the commit is empty"))
        counts = [self._adds, self._removes]
        row = version_row(self._version, self._info, self._file_time, counts, self._added_bytes)
        digest = {"log_bytes": self._size, "log_digest": self._hash.hexdigest()}
        reader._versions.append(row | digest)


def _pieces(data: bytes) -> Iterator[bytes]:
    """A commit in pieces of whole lines of about PIECE_BYTES."""
    start = 0
    while len(data) - start > 2 * PIECE_BYTES:
        end = data.find(b"\n", start + PIECE_BYTES) + 1
        if not end:
            break
        yield data[start:end]
        start = end
    yield data[start:] if start else data


def _decode(data: bytes) -> list[dict[str, Any]]:
    """The actions of a commit. One call for the whole file: a line feed separates actions only,

    as JSON has none inside a string. Blank lines make that fail, and are skipped line by line.
    """
    joined = data.rstrip().replace(b"\n", b",")
    try:
        found: list[dict[str, Any]] = orjson.loads(b"[" + joined + b"]")
    except orjson.JSONDecodeError:
        found = []
    # Fewer actions than lines: one was broken where a comma may stand.
    if len(found) != data.count(b"\n", 0, len(joined)) + 1:
        found = [orjson.loads(line) for line in data.split(b"\n") if line and not line.isspace()]
    return found


def version_row(
    version: int,
    info: dict[str, Any] | None,
    file_time: int,
    counts: list[int],
    bytes_added: int,
) -> dict[str, Any]:
    """A row of VERSION_SCHEMA but for the file's size and digest.

    `info` is the body of commitInfo, `counts` are those of adds and removes.
    """
    info = info or {}
    blind = info.get("isBlindAppend")
    return {
        "version": version,
        "file_time": file_time,
        "in_commit_time": _integer(info.get("inCommitTimestamp")),
        "info_time": _integer(info.get("timestamp")),
        "operation": _string(info.get("operation")),
        "operation_parameters": json_text(info.get("operationParameters")),
        "operation_metrics": json_text(info.get("operationMetrics")),
        "engine_info": _string(info.get("engineInfo")),
        "txn_id": _string(info.get("txnId")),
        "read_version": _integer(info.get("readVersion")),
        "isolation_level": _string(info.get("isolationLevel")),
        "is_blind_append": blind if isinstance(blind, bool) else None,
        "user_metadata": _string(info.get("userMetadata")),
        "commit_info": json_text(info) if info else None,
        "num_adds": counts[0],
        "num_removes": counts[1],
        "bytes_added": _integer(bytes_added),
    }


def _integer(value: Any) -> int | None:
    """commitInfo is free-form: what isn't an integer there is kept in the raw text alone."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and -(2**63) <= value < 2**63 else None


def _string(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json_text(value)
