"""The files of a small commit, without Arrow: its tables cost more to make than few rows do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import pyarrow as pa

from deltalakedb.log.action_tables import json_text
from deltalakedb.log.partition import partition_id, partition_values_text
from deltalakedb.log.rows import FILE_SCHEMA, LIVE, file_key

MOST_FILES = 32
"""Up to here Arrow's columns cost more than they save."""
_BODIES = {
    "size": "size",
    "modification_time": "modificationTime",
    "data_change": "dataChange",
    "stats": "stats",
    "base_row_id": "baseRowId",
    "default_row_commit_version": "defaultRowCommitVersion",
    "clustering_provider": "clusteringProvider",
}


class FewFiles:
    """Rows of FILE_SCHEMA as lists, one a column."""

    def __init__(self, columns: Mapping[str, list[Any]]) -> None:
        self._columns = columns
        self.num_rows = len(columns["path"])

    @classmethod
    def of(cls, adds: Sequence[Mapping[str, Any]], version: int = 0) -> FewFiles:
        """Bodies of `add` actions of our own making, without deletion vectors, live since
        `version`: what `action_tables.file_rows` gives for them."""
        count = len(adds)
        none = [None] * count
        keys = [file_key(add["path"]) for add in adds]
        texts = [partition_values_text(add["partitionValues"]) for add in adds]
        columns: dict[str, list[Any]] = {
            **dict.fromkeys(FILE_SCHEMA.names, none),
            "path": [add["path"] for add in adds],
            "partition_values": texts,
            **{name: [add.get(key) for add in adds] for name, key in _BODIES.items()},
            "tags": [json_text(add.get("tags")) for add in adds],
            "added_version": [version] * count,
            "removed_version": [LIVE] * count,
            "path_key": [key for key, _ in keys],
            "path_key2": [key for _, key in keys],
            "partition_id": [partition_id(text) for text in texts],
        }
        return cls(columns)

    def values(self, name: str) -> list[Any]:
        """A column; not to be changed."""
        return self._columns[name]

    @cached_property
    def table(self) -> pa.Table:
        """The same as an Arrow table."""
        return pa.Table.from_pydict(dict(self._columns), schema=FILE_SCHEMA)


Files: TypeAlias = "pa.Table | FewFiles"
"""Rows of FILE_SCHEMA, either way."""


def values_of(files: Files, name: str) -> list[Any]:
    """A column of files as Python's values."""
    if isinstance(files, FewFiles):
        return files.values(name)
    found: list[Any] = files.column(name).to_pylist()
    return found


def table_of(files: Files) -> pa.Table:
    """Files as an Arrow table."""
    return files.table if isinstance(files, FewFiles) else files
