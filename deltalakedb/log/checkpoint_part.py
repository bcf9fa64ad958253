"""One Parquet file of a checkpoint, and what a V2 checkpoint says of its sidecars.

PROTOCOL.md, "Sidecar Files" and "Sidecar File Information". A sidecar's tags say which files can be
in it, so that a later checkpoint names it again where none of them has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

TAG = "deltalakedb"
"""The tag of our own sidecars: JSON, the fields of `Reach` and whose rows they are."""

Kind = Literal["add", "remove"]


@dataclass(frozen=True)
class Reach:
    """Bounds of the files in a sidecar: of ids of partitions, of versions in which lives began.

    `removed_at`: the youngest removal (ms since 1970). `size` adds up bytes of live files.
    """

    partitions: tuple[int, int]
    versions: tuple[int, int]
    removed_at: int = 0
    size: int = 0

    @classmethod
    def of(cls, files: pa.Table, kind: Kind) -> Reach:
        """Of rows of `log.rows.FILE_SCHEMA` (at least one) that are to be live files, or removes.

        Bounds of removes without partition or life (CLOSING_SCHEMA) are left as wide as can be.
        """
        removed = pc.max(files.column("removed_at")).as_py() or 0 if kind == "remove" else 0
        size = pc.sum(files.column("size")).as_py() or 0 if kind == "add" else 0
        return cls(_bounds(files, "partition_id"), _bounds(files, "added_version"), removed, size)

    def __or__(self, other: Reach) -> Reach:
        return Reach(
            _wider(self.partitions, other.partitions),
            _wider(self.versions, other.versions),
            max(self.removed_at, other.removed_at),
            self.size + other.size,
        )

    def may_have(self, partition_id: int, added_version: int) -> bool:
        """Whether a file of this partition, added then, can be within."""
        return (
            self.partitions[0] <= partition_id <= self.partitions[1]
            and self.versions[0] <= added_version <= self.versions[1]
        )


_EVERY = (-(2**63), 2**63 - 1)


def _bounds(files: pa.Table, name: str) -> tuple[int, int]:
    if name not in files.column_names:
        return _EVERY
    found = pc.min_max(files.column(name)).as_py()
    return found["min"], found["max"]


def _wider(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return min(one[0], other[0]), max(one[1], other[1])


@dataclass(frozen=True)
class Sidecar:
    """A sidecar of a V2 checkpoint: its name in `_sidecars`, bytes, and the files in it.

    `source` names the rows that `reach` speaks of and the columns in which they are written; a
    sidecar of another source says nothing that is understood here.
    """

    name: str
    size: int
    modification_time: int
    num_adds: int
    num_removes: int
    reach: Reach | None = None
    source: str = ""

    def body(self) -> dict[str, Any]:
        """The `sidecar` action (PROTOCOL.md, Sidecar File Information)."""
        found: dict[str, Any] = {
            "path": self.name,
            "sizeInBytes": self.size,
            "modificationTime": self.modification_time,
        }
        if self.reach is not None and self.source:
            said = {
                "source": self.source,
                "adds": self.num_adds,
                "removes": self.num_removes,
                "partitions": self.reach.partitions,
                "versions": self.reach.versions,
                "removedAt": self.reach.removed_at,
                "size": self.reach.size,
            }
            found["tags"] = {TAG: orjson.dumps(said).decode()}
        return found

    @classmethod
    def told(cls, body: Mapping[str, Any]) -> Sidecar | None:
        """Of a `sidecar` action; None where it isn't one that we wrote."""
        try:
            said = orjson.loads((body.get("tags") or {})[TAG])
            reach = Reach(
                (int(said["partitions"][0]), int(said["partitions"][1])),
                (int(said["versions"][0]), int(said["versions"][1])),
                int(said["removedAt"]),
                int(said["size"]),
            )
            return cls(
                str(body["path"]),
                int(body["sizeInBytes"]),
                int(body["modificationTime"]),
                int(said["adds"]),
                int(said["removes"]),
                reach,
                str(said["source"]),
            )
        except (KeyError, IndexError, TypeError, ValueError):
            return None


class Part:
    """A Parquet file that is being written, row group by row group."""

    def __init__(self, output: pa.NativeFile, name: str, schema: pa.Schema) -> None:
        self.name = name
        self.counts: dict[Kind, int] = {"add": 0, "remove": 0}
        self.reach: Reach | None = None
        self._schema = schema
        self._output = output
        self._writer = pq.ParquetWriter(
            output, schema, compression="snappy", store_schema=False, use_dictionary=_DICTIONARY
        )

    def write(self, columns: Mapping[str, pa.Array]) -> None:
        """Rows of some of the columns; the others are null."""
        count = len(next(iter(columns.values())))
        arrays = [
            columns[f.name] if f.name in columns else pa.nulls(count, f.type) for f in self._schema
        ]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        self._writer.write_table(table, row_group_size=max(count, 1))

    def write_files(self, kind: Kind, column: pa.StructArray, reach: Reach) -> None:
        """Rows of the column `add` or `remove`."""
        self.write({kind: column})
        self.counts[kind] += len(column)
        self.reach = reach if self.reach is None else self.reach | reach

    @property
    def files(self) -> int:
        """Live files and removes together."""
        return sum(self.counts.values())

    def close(self) -> int:
        """The file's bytes."""
        self._writer.close()
        size: int = self._output.tell()
        self._output.close()
        return size


_DICTIONARY = [
    f"{action}.{name}"
    for action in ("add", "remove")
    for name in ("partitionValues.key_value.key", "partitionValues.key_value.value", "dataChange")
]
"""Columns with few distinct values: one of paths or statistics would be as long as they."""
