"""Adds and removes, as JSON has them, to the Arrow rows of `log.rows`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from operator import itemgetter
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log import rows
from deltalakedb.log.commit_fault import refuse_action
from deltalakedb.log.deletion_vector import unique_ids
from deltalakedb.log.fields import Kind, check_all, check_vectors
from deltalakedb.log.partition import PartitionTexts

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


def json_text(value: Any) -> str | None:
    """The JSON of a value; None for None."""
    return None if value is None else orjson.dumps(value).decode()


_INTEGER, _TEXT = pa.int64(), pa.string()
_FEW = 32


@lru_cache(4 * _FEW)
def _few_nulls(count: int, kind: pa.DataType) -> pa.Array:
    return pa.nulls(count, kind)


def _nulls(count: int, kind: pa.DataType) -> pa.Array:
    """Nothing, made once where it is little."""
    return _few_nulls(count, kind) if count <= _FEW else pa.nulls(count, kind)


@lru_cache(_FEW)
def _few_live(count: int) -> pa.Array:
    return pa.array([rows.LIVE] * count, _INTEGER)


def _live(count: int) -> pa.Array:
    if count <= _FEW:
        return _few_live(count)
    return pa.array(np.full(count, rows.LIVE, dtype=np.int64))


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
            return _nulls(len(self), kind)
        if kind == pa.int64():
            check_all(values, Kind.LONG)  # Arrow would cut off fractions
        return values

    def texts(self, name: str) -> pa.Array | list[str | None]:
        values = self.values(name)
        if values is None:
            return _nulls(len(self), _TEXT)
        check_all(values, Kind.OBJECT)
        return [json_text(v) for v in values]

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
            return _nulls(len(self), _TEXT)
        found = [{k: v for k, v in b.items() if k not in known} for b in self._bodies]
        return [json_text(f) if f else None for f in found]


_Build = Callable[[list[dict[str, Any]], list[int], PartitionTexts], pa.Table]


class Settled:
    """How many actions of the newest version at hand are rows already, for messages."""

    def __init__(self) -> None:
        self._version, self._count = -1, 0

    def add(self, versions: list[int]) -> None:
        last = versions[-1]
        before = self.before(last)
        self._version, self._count = last, before + len(versions) - versions.index(last)

    def before(self, version: int) -> int:
        return self._count if version == self._version else 0


def built(
    build: _Build,
    kind: str,
    bodies: list[dict[str, Any]],
    versions: list[int],
    texts: PartitionTexts,
    settled: Settled,
) -> pa.Table:
    """`build(bodies, versions, texts)`; if it fails, CORRUPT_COMMIT naming the action at fault."""
    try:
        return build(bodies, versions, texts)
    except _UNFIT as error:
        for number, (body, version) in enumerate(zip(bodies, versions, strict=True)):
            try:
                build([body], [version], texts)
            except _UNFIT as own:
                place = settled.before(version) + number - versions.index(version) + 1
                raise refuse_action(kind, body, version, place, own) from None
        raise DeltaLakeError(
            DeltaLakeErrorKind.CORRUPT_COMMIT, f"{kind} actions can't be read: {error}"
        ) from error


def file_rows(adds: list[dict[str, Any]], version: int = 0) -> pa.Table:
    """Bodies of `add` actions as rows of FILE_SCHEMA, live since `version`."""
    versions = [version] * len(adds)
    return built(file_table, "add", adds, versions, PartitionTexts(), Settled())


_UNFIT = (LookupError, TypeError, AttributeError, ValueError, OverflowError, pa.ArrowException)


def file_table(adds: list[dict[str, Any]], versions: list[int], texts: PartitionTexts) -> pa.Table:
    """Bodies of `add` actions, and each one's version, as FILE_SCHEMA."""
    bodies = _Bodies(adds)
    paths = [a["path"] for a in adds]
    partitions = bodies.partitions(texts)
    dv_ids = bodies.dv_ids()
    key, key2 = rows.file_keys(paths, dv_ids)
    count = len(adds)
    integer, text = _INTEGER, _TEXT
    columns: dict[str, Any] = {
        "path": paths,
        "dv_id": dv_ids,
        "partition_values": [p[0] for p in partitions],
        "size": bodies.column("size", integer),
        "modification_time": bodies.column("modificationTime", integer),
        "data_change": bodies.column("dataChange", pa.bool_()),
        "num_records": _nulls(count, integer),
        "stats": bodies.column("stats", text),
        "tags": bodies.texts("tags"),
        "dv": bodies.texts("deletionVector"),
        "base_row_id": bodies.column("baseRowId", integer),
        "default_row_commit_version": bodies.column("defaultRowCommitVersion", integer),
        "clustering_provider": bodies.column("clusteringProvider", text),
        "extra": bodies.extras(ADD_FIELDS),
        "added_version": np.asarray(versions, dtype=np.int64),
        "removed_version": _live(count),
        "removed_at": _nulls(count, integer),
        "path_key": key,
        "path_key2": key2,
        "partition_id": np.asarray([p[1] for p in partitions], dtype=np.int64),
    }
    return _table(columns, rows.FILE_SCHEMA)


def closing_table(
    removes: list[dict[str, Any]], versions: list[int], texts: PartitionTexts
) -> pa.Table:
    """Bodies of `remove` actions, and each one's version, as CLOSING_SCHEMA."""
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
