"""Files that differ, in full: what a report shows of them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deltalakedb.log.paths import decode_path
from deltalakedb.parity.facts import vector_extent


@dataclass(frozen=True)
class FileFacts:
    """A live file as one side has it.

    `path` as in the log, percent-decoded once; `deletion_vector` its unique id; `size` in bytes;
    `extent`: [cardinality, sizeInBytes] of the vector; `unsound`: why the catalog's row
    contradicts itself.
    """

    path: str
    deletion_vector: str | None
    size: int | None
    partition_values: Any
    stats: bool
    extent: list[Any] | None
    unsound: str | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any], unsound: str | None = None) -> FileFacts:
        """From a row with the columns path, dv_id, size, partition_values, has_stats, dv."""
        return cls(
            path=decode_path(row["path"]),
            deletion_vector=row["dv_id"],
            size=row["size"],
            partition_values=_values(row["partition_values"]),
            stats=bool(row["has_stats"]),
            extent=vector_extent(row["dv"]),
            unsound=unsound,
        )

    @property
    def order(self) -> tuple[str, str]:
        return self.path, self.deletion_vector or ""

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "deletion_vector": self.deletion_vector,
            "size": self.size,
            "partition_values": self.partition_values,
        }


def _values(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text


@dataclass(frozen=True)
class DifferentFile:
    """A file that both sides have, and say different things of: {field: (catalog, log)}."""

    path: str
    deletion_vector: str | None
    fields: dict[str, tuple[Any, Any]]

    @property
    def order(self) -> tuple[str, str]:
        return self.path, self.deletion_vector or ""

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "deletion_vector": self.deletion_vector,
            "fields": {
                name: {"catalog": catalog, "log": log}
                for name, (catalog, log) in self.fields.items()
            },
        }


def compare_facts(log: FileFacts, catalog: Sequence[FileFacts]) -> DifferentFile:
    """What the sides say differently of one file; `catalog` has an entry for each of its rows."""
    fields: dict[str, tuple[Any, Any]] = {}
    if len(catalog) > 1:
        fields["rows"] = (len(catalog), 1)
    for theirs in catalog:
        for name in ("size", "partition_values"):
            if getattr(theirs, name) != getattr(log, name):
                fields[name] = (getattr(theirs, name), getattr(log, name))
        if log.stats and not theirs.stats:
            fields["stats"] = ("missing", "present")
        if theirs.extent != log.extent:
            fields["deletion_vector"] = (theirs.extent, log.extent)
        if theirs.unsound is not None:
            fields["catalog_row"] = (theirs.unsound, None)
    return DifferentFile(log.path, log.deletion_vector, fields)
