"""Logs for tests: commits and checkpoints as files, from actions as JSON has them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deltalakedb.log.paths import commit_name

Action = dict[str, Any]
TEXTS = pa.map_(pa.string(), pa.string())
VECTOR = pa.struct(
    [
        ("storageType", pa.string()),
        ("pathOrInlineDv", pa.string()),
        ("offset", pa.int32()),
        ("sizeInBytes", pa.int32()),
        ("cardinality", pa.int64()),
    ]
)
ADD_FIELDS: dict[str, pa.DataType] = {
    "path": pa.string(),
    "partitionValues": TEXTS,
    "size": pa.int64(),
    "modificationTime": pa.int64(),
    "dataChange": pa.bool_(),
    "stats": pa.string(),
    "tags": TEXTS,
    "deletionVector": VECTOR,
    "baseRowId": pa.int64(),
    "defaultRowCommitVersion": pa.int64(),
    "clusteringProvider": pa.string(),
}
REMOVE_FIELDS: dict[str, pa.DataType] = {
    "path": pa.string(),
    "deletionTimestamp": pa.int64(),
    "dataChange": pa.bool_(),
    "extendedFileMetadata": pa.bool_(),
    "partitionValues": TEXTS,
    "size": pa.int64(),
    "deletionVector": VECTOR,
}
OTHER_FIELDS: dict[str, dict[str, pa.DataType]] = {
    "txn": {"appId": pa.string(), "version": pa.int64(), "lastUpdated": pa.int64()},
    "metaData": {
        "id": pa.string(),
        "name": pa.string(),
        "format": pa.struct([("provider", pa.string()), ("options", TEXTS)]),
        "schemaString": pa.string(),
        "partitionColumns": pa.list_(pa.string()),
        "configuration": TEXTS,
        "createdTime": pa.int64(),
    },
    "protocol": {
        "minReaderVersion": pa.int32(),
        "minWriterVersion": pa.int32(),
        "readerFeatures": pa.list_(pa.string()),
        "writerFeatures": pa.list_(pa.string()),
    },
    "domainMetadata": {
        "domain": pa.string(),
        "configuration": pa.string(),
        "removed": pa.bool_(),
    },
    "sidecar": {"path": pa.string(), "sizeInBytes": pa.int64(), "modificationTime": pa.int64()},
    "checkpointMetadata": {"version": pa.int64()},
}


def checkpoint_schema(
    add: Mapping[str, pa.DataType] = ADD_FIELDS, remove: Mapping[str, pa.DataType] = REMOVE_FIELDS
) -> pa.Schema:
    """Columns of a checkpoint (PROTOCOL.md, "Checkpoint Schema"), two of them with these fields."""
    kinds = {"add": add, "remove": remove, **OTHER_FIELDS}
    return pa.schema([(kind, pa.struct(list(fields.items()))) for kind, fields in kinds.items()])


def checkpoint_table(actions: Sequence[Action], schema: pa.Schema | None = None) -> pa.Table:
    schema = schema or checkpoint_schema()
    return pa.Table.from_pylist([_as_arrow(a, schema) for a in actions], schema=schema)


def _as_arrow(action: Action, schema: pa.Schema) -> Action:
    return {kind: _value(body, schema.field(kind).type) for kind, body in action.items()}


def _value(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if pa.types.is_map(kind) and isinstance(value, dict):
        return list(value.items())
    if pa.types.is_struct(kind):
        types = {field.name: field.type for field in kind}
        return {name: _value(v, types[name]) for name, v in value.items()}
    return value


def write_checkpoint(
    path: Path,
    actions: Sequence[Action],
    schema: pa.Schema | None = None,
    *,
    row_group_size: int | None = None,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(checkpoint_table(actions, schema), path, row_group_size=row_group_size)
    return path


def write_lines(path: Path, actions: Sequence[Action]) -> Path:
    """Actions as JSON lines: a commit, or a V2 checkpoint in JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(json.dumps(a).encode() + b"\n" for a in actions))
    return path


def write_commit(log: Path, version: int, actions: Sequence[Action]) -> Path:
    return write_lines(log / commit_name(version), actions)
