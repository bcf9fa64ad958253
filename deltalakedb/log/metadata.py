"""Metadata and protocol of a version, as attributes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from deltalakedb.log.protocol import Protocol
from deltalakedb.log.schema import StructType, parse_schema
from deltalakedb.record import record

if TYPE_CHECKING:
    import pyarrow as pa


@record(frozen=True)
class TableSchema:
    """A table's schema: `schema_string` verbatim as in the log, and what it says."""

    schema_string: str

    @cached_property
    def struct(self) -> StructType:
        return parse_schema(self.schema_string)

    def to_arrow(self) -> pa.Schema:
        """Logical names and types in Arrow. Raises UNSUPPORTED_FEATURE for unknown types."""
        from deltalakedb.log.schema import arrow_schema

        return arrow_schema(self.struct)

    def __str__(self) -> str:
        return self.schema_string


@record(frozen=True)
class Metadata:
    """A metaData action (PROTOCOL.md, Change Metadata)."""

    id: str | None
    name: str | None
    description: str | None
    format_provider: str | None
    created_time: int | None
    schema: TableSchema
    partition_columns: list[str]
    configuration: dict[str, str]

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Metadata:
        return cls(
            id=found["id"],
            name=found["name"],
            description=found["description"],
            format_provider=found["format_provider"],
            created_time=found["created_time"],
            schema=TableSchema(found["schema_string"]),
            partition_columns=list(found["partition_columns"]),
            configuration=dict(found["configuration"]),
        )

    @classmethod
    def from_action(cls, body: Mapping[str, Any]) -> Metadata:
        """Of the body of a `metaData` action that has a schema."""
        return cls(
            id=body.get("id"),
            name=body.get("name"),
            description=body.get("description"),
            format_provider=(body.get("format") or {}).get("provider"),
            created_time=body.get("createdTime"),
            schema=TableSchema(body["schemaString"]),
            partition_columns=list(body.get("partitionColumns") or []),
            configuration=dict(body.get("configuration") or {}),
        )


@record(frozen=True)
class PartitionNames:
    """Physical names of the partition columns, as files know them, to those of the schema."""

    logical: dict[str, str]

    @classmethod
    def of(cls, metadata: Metadata, *, mapped: bool) -> PartitionNames:
        """`mapped`: whether the table has column mapping (PROTOCOL.md, Column Mapping)."""
        fields = {f.name: f for f in metadata.schema.struct.fields}
        return cls(
            {
                fields[name].physical_name if mapped and name in fields else name: name
                for name in metadata.partition_columns
            }
        )

    def values(self, text: str) -> dict[str, str | None]:
        """Partition values (canonical JSON) by logical name, in the table's order of columns."""
        given: dict[str, str | None] = json.loads(text)
        return {name: given.get(physical) for physical, name in self.logical.items()}


def protocol_of(found: Mapping[str, Any]) -> Protocol:
    """The protocol as the log's own type."""

    def features(name: str) -> tuple[str, ...] | None:
        value = found[name]
        return None if value is None else tuple(value)

    return Protocol(
        found["min_reader_version"],
        found["min_writer_version"],
        features("reader_features"),
        features("writer_features"),
    )
