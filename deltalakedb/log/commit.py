"""Commits: newline-delimited JSON actions, decoded once into the Arrow rows of `log.rows`.

PROTOCOL.md, "Delta Log Entries" and "Actions". Pure: bytes in, rows out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import xxhash

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log import rows
from deltalakedb.log.commit_fault import refuse, refuse_action
from deltalakedb.log.deletion_vector import unique_ids
from deltalakedb.log.fields import ACTIONS, Kind, body_fault, check_all, check_vectors
from deltalakedb.log.partition import PartitionTexts, partition_values_text

ADD_FIELDS = frozenset(
    {
        "path",
        "partitionValues",
        "size",
        "modificationTime",
        "dataChange",
        "stats",
        "tags",
        "deletionVector",
        "baseRowId",
        "defaultRowCommitVersion",
        "clusteringProvider",
        "stats_parsed",
        "partitionValues_parsed",
    }
)
_REMOVE_FIELDS = frozenset(
    {
        "path",
        "deletionTimestamp",
        "dataChange",
        "extendedFileMetadata",
        "partitionValues",
        "size",
        "stats",
        "tags",
        "deletionVector",
        "baseRowId",
        "defaultRowCommitVersion",
    }
)
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

    def __init__(self) -> None:
        self._adds: list[dict[str, Any]] = []
        self._add_versions: list[int] = []
        self._removes: list[dict[str, Any]] = []
        self._remove_versions: list[int] = []
        self._versions: list[dict[str, Any]] = []
        self._changes: list[dict[str, Any]] = []
        self._others: list[dict[str, Any]] = []
        self._state: list[StateChange] = []
        self._done: list[pa.Table] = []
        self._texts = PartitionTexts()

    @property
    def pending(self) -> int:
        """Adds that are held as Python objects at the moment."""
        return len(self._adds)

    def commit(
        self, version: int, data: bytes, *, name: str, file_time: int, history_only: bool = False
    ) -> None:
        """Read one commit file. `history_only`: keep its provenance, none of its actions.

        Raises DeltaLakeError(CORRUPT_COMMIT) naming the file, the line and the byte.
        """
        first_add, first_remove = len(self._adds), len(self._removes)
        first_small = len(self._state), len(self._changes), len(self._others)
        try:
            info = self._lines(version, data)
            added = self._adds[first_add:]
            counts = [len(added), len(self._removes) - first_remove]
            row = version_row(version, info, file_time, counts, _bytes(added))
        except (TypeError, AttributeError, KeyError, ValueError) as error:
            refuse(name, version, data, error)
        if history_only:
            del self._adds[first_add:], self._removes[first_remove:]
            del self._state[first_small[0] :], self._changes[first_small[1] :]
            del self._others[first_small[2] :]
        else:
            self._add_versions.extend(repeat(version, counts[0]))
            self._remove_versions.extend(repeat(version, counts[1]))
        self._versions.append(
            row | {"log_bytes": len(data), "log_digest": xxhash.xxh3_128_hexdigest(data)}
        )

    def _lines(self, version: int, data: bytes) -> dict[str, Any] | None:
        info = None
        adds, removes = self._adds.append, self._removes.append
        seen = 0
        for seen, action in enumerate(_decode(data), 1):
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
                    self._small(version, kind, body, seen)
        if not seen:
            raise ValueError("the commit is empty")
        return info

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
                    "tags": _text(body.get("tags")),
                }
            )
        elif kind not in _CHECKPOINT_ACTIONS:
            self._others.append(
                {"version": version, "position": position, "action": kind, "body": _text(body)}
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
        """Turn the adds read so far into Arrow: a tenth of the memory of the objects."""
        if self._adds:
            self._done.append(
                _built(_file_table, "add", self._adds, self._add_versions, self._texts)
            )
            self._adds, self._add_versions = [], []

    def finish(self) -> ActionRows:
        self.settle()
        files = pa.concat_tables(self._done) if self._done else rows.FILE_SCHEMA.empty_table()
        return ActionRows(
            files=files,
            closings=_built(
                _closing_table, "remove", self._removes, self._remove_versions, self._texts
            ),
            versions=pa.Table.from_pylist(self._versions, rows.VERSION_SCHEMA),
            changes=pa.Table.from_pylist(self._changes, rows.CHANGE_SCHEMA),
            others=pa.Table.from_pylist(self._others, rows.OTHER_SCHEMA),
            state=self._state,
        )


def file_rows(adds: list[dict[str, Any]], version: int = 0) -> pa.Table:
    """Bodies of `add` actions as rows of FILE_SCHEMA, live since `version`."""
    return _built(_file_table, "add", adds, [version] * len(adds), PartitionTexts())


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


def _text(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _bytes(added: list[dict[str, Any]]) -> int:
    return sum([a.get("size") or 0 for a in added])


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
        "operation_parameters": _text(info.get("operationParameters")),
        "operation_metrics": _text(info.get("operationMetrics")),
        "engine_info": _string(info.get("engineInfo")),
        "txn_id": _string(info.get("txnId")),
        "read_version": _integer(info.get("readVersion")),
        "isolation_level": _string(info.get("isolationLevel")),
        "is_blind_append": blind if isinstance(blind, bool) else None,
        "user_metadata": _string(info.get("userMetadata")),
        "commit_info": _text(info) if info else None,
        "num_adds": counts[0],
        "num_removes": counts[1],
        "bytes_added": bytes_added,
    }


def _integer(value: Any) -> int | None:
    """commitInfo is free-form: what isn't an integer there is kept in the raw text alone."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and -(2**63) <= value < 2**63 else None


def _string(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else _text(value)


class _Bodies:
    """The fields of many actions of one kind, as lists; what none of them has costs nothing."""

    def __init__(self, bodies: list[dict[str, Any]]) -> None:
        self._bodies = bodies
        self._names: set[str] = set().union(*bodies)

    def __len__(self) -> int:
        return len(self._bodies)

    def values(self, name: str) -> list[Any] | None:
        """The field of each action (None where absent); None when no action has it."""
        if name not in self._names:
            return None
        try:
            return list(map(itemgetter(name), self._bodies))
        except KeyError:
            return [b.get(name) for b in self._bodies]

    def column(self, name: str, kind: pa.DataType) -> pa.Array | list[Any]:
        values = self.values(name)
        if values is None:
            return pa.nulls(len(self), kind)
        if kind == pa.int64():
            check_all(values, Kind.LONG)  # Arrow would cut off fractions
        return values

    def texts(self, name: str) -> pa.Array | list[str | None]:
        values = self.values(name)
        if values is None:
            return pa.nulls(len(self), pa.string())
        check_all(values, Kind.OBJECT)
        return [_text(v) for v in values]

    def dv_ids(self) -> list[str | None]:
        values = self.values("deletionVector")
        if values is None:
            return [None] * len(self)
        check_vectors([v for v in values if v is not None])
        return unique_ids(values)

    def partitions(self, texts: PartitionTexts) -> list[tuple[str, int]]:
        values = self.values("partitionValues")
        if values is None:
            return [texts.of(None)] * len(self)
        check_all(values, Kind.TEXT_MAP)
        return texts.of_all(values)

    def extras(self, known: frozenset[str]) -> pa.Array | list[str | None]:
        if known.issuperset(self._names):
            return pa.nulls(len(self), pa.string())
        found = [{k: v for k, v in b.items() if k not in known} for b in self._bodies]
        return [_text(f) if f else None for f in found]


_Build = Callable[[list[dict[str, Any]], list[int], PartitionTexts], pa.Table]


def _built(
    build: _Build,
    kind: str,
    bodies: list[dict[str, Any]],
    versions: list[int],
    texts: PartitionTexts,
) -> pa.Table:
    """`build(bodies, versions, texts)`; if it fails, CORRUPT_COMMIT naming the action at fault."""
    try:
        return build(bodies, versions, texts)
    except _UNFIT as error:
        for number, (body, version) in enumerate(zip(bodies, versions, strict=True)):
            try:
                build([body], [version], texts)
            except _UNFIT as own:
                first = versions.index(version)
                raise refuse_action(kind, body, version, number - first + 1, own) from None
        raise DeltaLakeError(
            DeltaLakeErrorKind.CORRUPT_COMMIT, f"{kind} actions can't be read: {error}"
        ) from error


_UNFIT = (LookupError, TypeError, AttributeError, ValueError, OverflowError, pa.ArrowException)


def _file_table(adds: list[dict[str, Any]], versions: list[int], texts: PartitionTexts) -> pa.Table:
    bodies = _Bodies(adds)
    paths = [a["path"] for a in adds]
    partitions = bodies.partitions(texts)
    dv_ids = bodies.dv_ids()
    key, key2 = rows.file_keys(paths, dv_ids)
    count = len(adds)
    integer, text = pa.int64(), pa.string()
    columns: dict[str, Any] = {
        "path": paths,
        "dv_id": dv_ids,
        "partition_values": [p[0] for p in partitions],
        "size": bodies.column("size", integer),
        "modification_time": bodies.column("modificationTime", integer),
        "data_change": bodies.column("dataChange", pa.bool_()),
        "num_records": pa.nulls(count, integer),
        "stats": bodies.column("stats", text),
        "tags": bodies.texts("tags"),
        "dv": bodies.texts("deletionVector"),
        "base_row_id": bodies.column("baseRowId", integer),
        "default_row_commit_version": bodies.column("defaultRowCommitVersion", integer),
        "clustering_provider": bodies.column("clusteringProvider", text),
        "extra": bodies.extras(ADD_FIELDS),
        "added_version": np.asarray(versions, dtype=np.int64),
        "removed_version": np.full(count, rows.LIVE, dtype=np.int64),
        "removed_at": pa.nulls(count, integer),
        "path_key": key,
        "path_key2": key2,
        "partition_id": np.asarray([p[1] for p in partitions], dtype=np.int64),
    }
    return _table(columns, rows.FILE_SCHEMA)


def _closing_table(
    removes: list[dict[str, Any]], versions: list[int], texts: PartitionTexts
) -> pa.Table:
    if not removes:
        return rows.CLOSING_SCHEMA.empty_table()
    bodies = _Bodies(removes)
    paths = [r["path"] for r in removes]
    dv_ids = bodies.dv_ids()
    key, key2 = rows.file_keys(paths, dv_ids)
    integer = pa.int64()
    columns: dict[str, Any] = {
        "path": paths,
        "dv_id": dv_ids,
        "partition_values": [p[0] for p in bodies.partitions(texts)],
        "size": bodies.column("size", integer),
        "data_change": bodies.column("dataChange", pa.bool_()),
        "dv": bodies.texts("deletionVector"),
        "tags": bodies.texts("tags"),
        "extra": bodies.extras(_REMOVE_FIELDS),
        "removed_version": np.asarray(versions, dtype=np.int64),
        "removed_at": bodies.column("deletionTimestamp", integer),
        "path_key": key,
        "path_key2": key2,
    }
    return _table(columns, rows.CLOSING_SCHEMA)


def _table(columns: dict[str, Any], schema: pa.Schema) -> pa.Table:
    arrays = []
    for f in schema:
        value = columns[f.name]
        array = value if isinstance(value, pa.Array) else pa.array(value, f.type)
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=schema)
