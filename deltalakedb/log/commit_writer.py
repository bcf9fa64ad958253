"""Actions to the bytes of a commit.

PROTOCOL.md, "Delta Log Entries", "Actions". A commit is its `commitInfo` line and a body. What is
known only under the lock (timestamps, the version read) is in that line alone, so that a body of a
million lines is encoded, and may be stored, before. Fields stand in Spark's order; what is null
is left out, as Spark does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.few_files import FewFiles, Files
from deltalakedb.log.metadata import Metadata

ENCODED_ROWS = 10_000
"""Rows of a table of files that are encoded at a time."""

GROUP_TAG = "delta.multiTableTransaction.transactionId"
"""The tag in commitInfo of each member of a transaction over several tables."""

_INFO_FIELDS = frozenset(
    {
        "inCommitTimestamp",
        "timestamp",
        "operation",
        "operationParameters",
        "readVersion",
        "isolationLevel",
        "isBlindAppend",
        "operationMetrics",
        "userMetadata",
        "tags",
        "engineInfo",
        "txnId",
    }
)


@dataclass(frozen=True, kw_only=True)
class CommitInfo:
    """What a commit says about itself (PROTOCOL.md, Commit Provenance Information).

    `parameters` are the operation's; texts stand as they are, all else (lists, maps, numbers,
    booleans) as the text of its JSON, as Spark does. `metrics` have Spark's names. `extra` are
    keys of the caller's own; INVALID_ARGUMENT when one of them is a field of commitInfo.
    """

    operation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, int | str] = field(default_factory=dict)
    isolation_level: str | None = None
    is_blind_append: bool | None = None
    engine_info: str
    txn_id: str | None = None
    user_metadata: str | None = None
    tags: Mapping[str, str] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        reserved = sorted(_INFO_FIELDS & self.extra.keys())
        if reserved:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"commit metadata can't set {', '.join(reserved)}: these are written by the "
                "commit itself; choose other names",
                names=reserved,
            )

    def body(
        self,
        *,
        timestamp: int,
        read_version: int | None,
        in_commit_timestamp: int | None = None,
    ) -> dict[str, Any]:
        """The action's body. Times are milliseconds since 1970.

        `in_commit_timestamp` is given exactly where the table has in-commit timestamps.
        """
        found: dict[str, Any] = {
            "inCommitTimestamp": in_commit_timestamp,
            "timestamp": timestamp,
            "operation": self.operation,
            "operationParameters": {k: parameter_text(v) for k, v in self.parameters.items()},
            "readVersion": read_version,
            "isolationLevel": self.isolation_level,
            "isBlindAppend": self.is_blind_append,
            "operationMetrics": {k: str(v) for k, v in self.metrics.items()},
            "userMetadata": self.user_metadata,
            "tags": dict(self.tags) if self.tags else None,
            "engineInfo": self.engine_info,
            "txnId": self.txn_id,
        }
        return found | dict(self.extra)

    def line(
        self,
        *,
        timestamp: int,
        read_version: int | None,
        in_commit_timestamp: int | None = None,
    ) -> bytes:
        """The first line of the commit, as `body`."""
        body = self.body(
            timestamp=timestamp,
            read_version=read_version,
            in_commit_timestamp=in_commit_timestamp,
        )
        return action_line("commitInfo", body)


def parameter_text(value: Any) -> str | None:
    """A value of operationParameters: text as it is, else the text of its JSON."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def action_line(kind: str, body: Mapping[str, Any]) -> bytes:
    """One line of a commit, its line feed included; fields that are None are left out.

    INVALID_ARGUMENT for text with half of a surrogate pair, which no JSON text can hold.
    """
    whole = {key: value for key, value in body.items() if value is not None}
    try:
        return orjson.dumps({kind: whole}, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"a {kind} action can't be written as JSON: {error}; change the value",
            action=kind,
        ) from error


def commit_body(actions: Iterable[Mapping[str, Mapping[str, Any]]]) -> bytes:
    """The lines of actions `{kind: body}`, in their order."""
    return b"".join(action_line(kind, body) for action in actions for kind, body in action.items())


def add_body(
    path: str,
    partition_values: Mapping[str, str | None],
    size: int,
    modification_time: int,
    *,
    data_change: bool = True,
    stats: str | None = None,
    tags: Mapping[str, str] | None = None,
    deletion_vector: Mapping[str, Any] | None = None,
    base_row_id: int | None = None,
    default_row_commit_version: int | None = None,
    clustering_provider: str | None = None,
) -> dict[str, Any]:
    """The body of an `add` (PROTOCOL.md, Add File and Remove File).

    `path` is URI-encoded already; partition values are keyed by physical names.
    """
    found: dict[str, Any] = {
        "path": path,
        "partitionValues": dict(partition_values),
        "size": size,
        "modificationTime": modification_time,
        "dataChange": data_change,
        "stats": stats,
        "tags": None if tags is None else dict(tags),
        "deletionVector": None if deletion_vector is None else dict(deletion_vector),
        "baseRowId": base_row_id,
        "defaultRowCommitVersion": default_row_commit_version,
        "clusteringProvider": clustering_provider,
    }
    return {key: value for key, value in found.items() if value is not None}


def remove_body(
    add: Mapping[str, Any], deletion_timestamp: int, *, data_change: bool = True
) -> dict[str, Any]:
    """The body of the `remove` that ends the life that the body of an `add` began.

    It carries the vector, row ids and all that a reader of change data needs of the file.
    """
    found: dict[str, Any] = {
        "path": add["path"],
        "deletionTimestamp": deletion_timestamp,
        "dataChange": data_change,
        "extendedFileMetadata": True,
        "partitionValues": add.get("partitionValues") or {},
        "size": add.get("size"),
        "tags": add.get("tags"),
        "deletionVector": add.get("deletionVector"),
        "baseRowId": add.get("baseRowId"),
        "defaultRowCommitVersion": add.get("defaultRowCommitVersion"),
    }
    return {key: value for key, value in found.items() if value is not None}


def metadata_body(metadata: Metadata) -> dict[str, Any]:
    """The body of a `metaData` action (PROTOCOL.md, Change Metadata)."""
    return {
        "id": metadata.id,
        "name": metadata.name,
        "description": metadata.description,
        "format": {"provider": metadata.format_provider or "parquet", "options": {}},
        "schemaString": metadata.schema.schema_string,
        "partitionColumns": list(metadata.partition_columns),
        "configuration": dict(metadata.configuration),
        "createdTime": metadata.created_time,
    }


def txn_body(app_id: str, version: int, last_updated: int | None = None) -> dict[str, Any]:
    """The body of a `txn` action (PROTOCOL.md, Transaction Identifiers)."""
    return {"appId": app_id, "version": version, "lastUpdated": last_updated}


def domain_body(domain: str, configuration: str, *, removed: bool = False) -> dict[str, Any]:
    """The body of a `domainMetadata` action (PROTOCOL.md, Domain Metadata)."""
    return {"domain": domain, "configuration": configuration, "removed": removed}


def change_body(path: str, partition_values: Mapping[str, str | None], size: int) -> dict[str, Any]:
    """The body of a `cdc` action (PROTOCOL.md, Add CDC File)."""
    return {
        "path": path,
        "partitionValues": dict(partition_values),
        "size": size,
        "dataChange": False,
    }


def group_body(
    transaction_id: str, participants: Sequence[tuple[str, int]], catalog: str
) -> dict[str, Any]:
    """The body of a `transactionGroup` action: (table id, version) of each member of a group.

    Readers that don't know it ignore it. The shape is that of Delta's proposal for
    multi-table transactions.
    """
    return {
        "transactionId": transaction_id,
        "participants": [{"tableId": t, "proposedVersion": v} for t, v in participants],
        "coordinatingCatalog": catalog,
    }


# Many actions at once: tables of files to lines


def add_lines(files: Files) -> Iterator[bytes]:
    """The lines of `add` actions of rows of `log.rows.FILE_SCHEMA`, some rows at a time."""
    return _lines("add", files, _ADD_COLUMNS, {})


def remove_lines(
    files: pa.Table, deletion_timestamp: int, *, data_change: bool = True
) -> Iterator[bytes]:
    """The lines of the `remove` actions that end the lives of `files` (FILE_SCHEMA)."""
    fixed: dict[str, Any] = {
        "deletionTimestamp": deletion_timestamp,
        "dataChange": data_change,
        "extendedFileMetadata": True,
    }
    return _lines("remove", files, _REMOVE_COLUMNS, fixed)


_ADD_COLUMNS = {
    "path": "path",
    "partitionValues": "partition_values",
    "size": "size",
    "modificationTime": "modification_time",
    "dataChange": "data_change",
    "stats": "stats",
    "tags": "tags",
    "deletionVector": "dv",
    "baseRowId": "base_row_id",
    "defaultRowCommitVersion": "default_row_commit_version",
    "clusteringProvider": "clustering_provider",
}
_REMOVE_COLUMNS = {
    "path": "path",
    "deletionTimestamp": "",
    "dataChange": "",
    "extendedFileMetadata": "",
    "partitionValues": "partition_values",
    "size": "size",
    "tags": "tags",
    "deletionVector": "dv",
    "baseRowId": "base_row_id",
    "defaultRowCommitVersion": "default_row_commit_version",
}
_JSON_COLUMNS = frozenset({"partition_values", "tags", "dv"})


def _lines(
    kind: str, files: Files, columns: Mapping[str, str], fixed: Mapping[str, Any]
) -> Iterator[bytes]:
    if isinstance(files, FewFiles):
        yield _encoded(kind, files, columns, fixed)
        return
    for start in range(0, files.num_rows, ENCODED_ROWS):
        yield _encoded(kind, files.slice(start, ENCODED_ROWS), columns, fixed)


def _encoded(kind: str, part: Files, columns: Mapping[str, str], fixed: Mapping[str, Any]) -> bytes:
    names, values = [], []
    for name, column in columns.items():
        if name in fixed:
            names.append(name)
            values.append([fixed[name]] * part.num_rows)
        elif (found := _values(part, column)) is not None:
            names.append(name)
            values.append(found)
    extras = _values(part, "extra") if kind == "add" else None
    lines = []
    for number, row in enumerate(zip(*values, strict=True)):
        body = {name: value for name, value in zip(names, row, strict=True) if value is not None}
        if extras is not None and extras[number] is not None:
            body |= orjson.loads(extras[number])
        lines.append(orjson.dumps({kind: body}, option=orjson.OPT_APPEND_NEWLINE))
    return b"".join(lines)


def _values(part: Files, column: str) -> list[Any] | None:
    """A column's values as JSON is made of them; None where there is none."""
    if isinstance(part, FewFiles):
        values = part.values(column)
        if all(value is None for value in values):
            return None
    else:
        if part.column(column).null_count == part.num_rows:
            return None
        values = part.column(column).to_pylist()
    if column in _JSON_COLUMNS:
        # The text is JSON already, canonical as we read it.
        return [None if v is None else orjson.Fragment(v) for v in values]
    return values
