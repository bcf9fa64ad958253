"""What a table's data files must be like: columns, partitions, names inside, statistics.

PROTOCOL.md, "Data Files", "Column Mapping" and "Per-file Statistics".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.metadata import Metadata
from deltalakedb.log.protocol import Protocol
from deltalakedb.log.schema import (
    ArrayType,
    DataType,
    MapType,
    PrimitiveType,
    StructField,
    StructType,
    arrow_type,
    column_mapping_mode,
    iter_leaves,
)
from deltalakedb.log.statistics.collect import (
    ColumnPlan,
    StatisticsCollector,
    statistics_leaves,
    string_prefix_length,
)
from deltalakedb.write.layout import Partitioning
from deltalakedb.write.properties import DEFAULT_PROPERTIES, WriterProperties
from deltalakedb.write.schema import RowConverter, is_void

TARGET_FILE_SIZE = "delta.targetFileSize"
DEFAULT_TARGET_FILE_SIZE = 100 * 1024 * 1024
_SIZE = re.compile(r"\s*(\d+)\s*([kmgt]?)i?b?\s*", re.IGNORECASE)
_FIELD_ID = "PARQUET:field_id"


@dataclass(frozen=True)
class FileTarget:
    """The table as its data files know it. `tight_bounds`: whether statistics say they are.

    `unlisted`: columns of files that the table doesn't have.
    """

    schema: StructType
    partition_columns: tuple[str, ...]
    configuration: Mapping[str, str]
    mapped: bool
    tight_bounds: bool = False
    unlisted: tuple[StructField, ...] = ()

    @classmethod
    def of(cls, metadata: Metadata, protocol: Protocol) -> FileTarget:
        """The target of a table's metadata and protocol."""
        mode = column_mapping_mode(metadata.configuration)
        return cls(
            metadata.schema.struct,
            tuple(metadata.partition_columns),
            metadata.configuration,
            mode != "none" and protocol.supports_reader_feature("columnMapping"),
            protocol.supports_reader_feature("deletionVectors"),
        )

    @cached_property
    def partitioning(self) -> Partitioning:
        for name in self.partition_columns:
            field = self.schema.field(name)
            if field is not None and (
                not isinstance(field.type, PrimitiveType) or field.type.name == "variant"
            ):
                raise DeltaLakeError(
                    DeltaLakeErrorKind.INVALID_ARGUMENT,
                    f"a table can't be partitioned by column {name!r}: its values have no text; "
                    "partition by a column of a primitive type",
                    column=name,
                )
        found = Partitioning.of(self.schema, self.partition_columns, mapped=self.mapped)
        if self.partition_columns and len(self.partition_columns) == len(self.schema.fields):
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                "all columns are partition columns, so files would hold none; leave one out",
            )
        return found

    @cached_property
    def stored(self) -> list[StructField]:
        """The columns that files hold: no partition columns, none of type void."""
        away = set(self.partition_columns)
        own = [f for f in self.schema.fields if f.name not in away and not is_void(f)]
        return [*own, *self.unlisted]

    @cached_property
    def file_schema(self) -> pa.Schema:
        """The Parquet schema, by physical names, with field ids under column mapping.

        UNSUPPORTED_FEATURE naming a column whose values Parquet can't hold.
        """
        return pa.schema([self._file_field(field, ()) for field in self.stored])

    def _file_field(self, field: StructField, path: tuple[str, ...]) -> pa.Field:
        type = self._file_type(field.type, (*path, field.name))
        if not self.mapped:
            return pa.field(field.name, type)
        metadata = None if field.column_id is None else {_FIELD_ID: str(field.column_id)}
        return pa.field(field.physical_name, type, metadata=metadata)

    def _file_type(self, type: DataType, path: tuple[str, ...]) -> pa.DataType:
        if isinstance(type, StructType):
            if not type.fields:
                raise _unstorable(path, "a struct without members")
            return pa.struct([self._file_field(f, path) for f in type.fields])
        if isinstance(type, ArrayType):
            return pa.list_(pa.field("element", self._file_type(type.element, path)))
        if isinstance(type, MapType):
            return pa.map_(self._file_type(type.key, path), self._file_type(type.value, path))
        if type.name == "void":
            raise _unstorable(path, "void inside another type")
        return arrow_type(type, ".".join(path))

    @cached_property
    def physical_names(self) -> dict[str, str]:
        """Dotted physical path by dotted logical path of each column."""
        return {
            ".".join(leaf.path): ".".join(leaf.physical)
            for leaf in iter_leaves(self.schema, mapped=self.mapped)
        }

    @cached_property
    def _plans(self) -> list[ColumnPlan]:
        leaves = statistics_leaves(
            self.schema, self.partition_columns, self.configuration, mapped=self.mapped
        )
        prefix = string_prefix_length(self.configuration)
        return [ColumnPlan.of(self.schema, leaf, prefix) for leaf in leaves]

    def converter(self, source: pa.Schema) -> RowConverter:
        """What makes rows of a source those of the table; kept for the next source like it."""
        kept: tuple[pa.Schema, RowConverter] | None = self.__dict__.get("_converter")
        if kept is None or not kept[0].equals(source, check_metadata=True):
            kept = self.__dict__["_converter"] = (source, RowConverter(source, self.schema))
        return kept[1]

    def collector(self) -> StatisticsCollector:
        """A collector of one file's statistics."""
        return StatisticsCollector(self._plans)

    def in_file(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Rows by logical names as those of a file; nothing is copied."""
        columns = [rows.column(field.name) for field in self.stored]
        if self.mapped:
            columns = [
                column.view(kind.type)
                for column, kind in zip(columns, self.file_schema, strict=True)
            ]
        return pa.RecordBatch.from_arrays(columns, schema=self.file_schema)

    def arguments(self, properties: WriterProperties) -> dict[str, Any]:
        """What Parquet's writer is called with; the caller's own to change."""
        if properties is not DEFAULT_PROPERTIES:
            return properties.arguments(self.file_schema, self.physical_names)
        return dict(self._default_arguments)

    @cached_property
    def _default_arguments(self) -> dict[str, Any]:
        return DEFAULT_PROPERTIES.arguments(self.file_schema, self.physical_names)

    @cached_property
    def target_file_size(self) -> int:
        """Bytes, by the table's property (`100mb`, `1g`, plain bytes), else 100 MiB."""
        return parse_size(self.configuration.get(TARGET_FILE_SIZE)) or DEFAULT_TARGET_FILE_SIZE


def _unstorable(path: tuple[str, ...], what: str) -> DeltaLakeError:
    column = ".".join(path)
    return DeltaLakeError(
        DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
        f"column {column} is {what}, which Parquet files can't hold; drop the column, or write "
        "with the engine that made the table",
        column=column,
    )


def parse_size(text: str | None) -> int | None:
    """Bytes of a size such as 104857600, 100mb or 1g; None when it is none."""
    found = _SIZE.fullmatch(text or "")
    if not found:
        return None
    return int(found[1]) << (10 * " kmgt".index(found[2].lower() or " "))
