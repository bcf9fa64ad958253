"""The Parquet schema of checkpoints that we write, and the typed columns in it.

PROTOCOL.md, "Checkpoint Schema". Names in `partitionValues_parsed` and `stats_parsed` are physical.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import orjson
import pyarrow as pa

from deltalakedb.log.metadata import Metadata
from deltalakedb.log.partition import parse_partition_value
from deltalakedb.log.protocol import Protocol
from deltalakedb.log.schema import Leaf, PrimitiveType, arrow_type, column_mapping_mode
from deltalakedb.log.statistics.collect import statistics_leaves
from deltalakedb.log.statistics.typed import (
    MAX,
    MIN,
    NULL_COUNT,
    NUM_RECORDS,
    TIGHT_BOUNDS,
    WHOLE_FILE,
    has_bounds,
    typed_statistics,
)
from deltalakedb.log.table_properties import STATS_AS_JSON, STATS_AS_STRUCT, switch

TEXT_MAP = pa.map_(pa.string(), pa.string())
_LIST = pa.list_(pa.field("element", pa.string()))
VECTOR = pa.struct(
    [
        ("storageType", pa.string()),
        ("pathOrInlineDv", pa.string()),
        ("offset", pa.int32()),
        ("sizeInBytes", pa.int32()),
        ("cardinality", pa.int64()),
        ("maxRowIndex", pa.int64()),
    ]
)
REMOVE = pa.struct(
    [
        ("path", pa.string()),
        ("deletionTimestamp", pa.int64()),
        ("dataChange", pa.bool_()),
        ("extendedFileMetadata", pa.bool_()),
        ("partitionValues", TEXT_MAP),
        ("size", pa.int64()),
        ("deletionVector", VECTOR),
        ("baseRowId", pa.int64()),
        ("defaultRowCommitVersion", pa.int64()),
    ]
)
PROTOCOL = pa.struct(
    [
        ("minReaderVersion", pa.int32()),
        ("minWriterVersion", pa.int32()),
        ("readerFeatures", _LIST),
        ("writerFeatures", _LIST),
    ]
)
METADATA = pa.struct(
    [
        ("id", pa.string()),
        ("name", pa.string()),
        ("description", pa.string()),
        ("format", pa.struct([("provider", pa.string()), ("options", TEXT_MAP)])),
        ("schemaString", pa.string()),
        ("partitionColumns", _LIST),
        ("configuration", TEXT_MAP),
        ("createdTime", pa.int64()),
    ]
)
TXN = pa.struct([("appId", pa.string()), ("version", pa.int64()), ("lastUpdated", pa.int64())])
DOMAIN = pa.struct(
    [("domain", pa.string()), ("configuration", pa.string()), ("removed", pa.bool_())]
)
CHECKPOINT_METADATA = pa.struct([("version", pa.int64()), ("tags", TEXT_MAP)])
SIDECAR = pa.struct(
    [
        ("path", pa.string()),
        ("sizeInBytes", pa.int64()),
        ("modificationTime", pa.int64()),
        ("tags", TEXT_MAP),
    ]
)


@dataclass(frozen=True)
class AddColumns:
    """Which columns an `add` has in checkpoints of a table."""

    metadata: Metadata
    protocol: Protocol

    @property
    def _mapped(self) -> bool:
        mode = column_mapping_mode(self.metadata.configuration)
        return mode != "none" and self.protocol.supports_reader_feature("columnMapping")

    @property
    def as_json(self) -> bool:
        return switch(self.metadata.configuration, STATS_AS_JSON, default=True)

    @property
    def as_struct(self) -> bool:
        return switch(self.metadata.configuration, STATS_AS_STRUCT, default=False)

    @cached_property
    def partitions(self) -> dict[str, str]:
        """Delta type name by physical name of each partition column."""
        found = {}
        for name in self.metadata.partition_columns:
            field = self.metadata.schema.struct.field(name)
            if field is not None and isinstance(field.type, PrimitiveType):
                found[field.physical_name if self._mapped else name] = field.type.name
        return found

    @cached_property
    def _leaves(self) -> list[Leaf]:
        """The columns with statistics, each under a logical name that no other has."""
        leaves = statistics_leaves(
            self.metadata.schema.struct,
            self.metadata.partition_columns,
            self.metadata.configuration,
            mapped=self._mapped,
        )
        return [replace(leaf, path=(str(place),)) for place, leaf in enumerate(leaves)]

    @cached_property
    def _statistics(self) -> dict[str, dict[str, Any]]:
        """By key of `add.stats`, a tree: physical name -> place of the leaf, or a tree."""
        found: dict[str, dict[str, Any]] = {}
        for key in (MIN, MAX, NULL_COUNT):
            tree: dict[str, Any] = {}
            for place, leaf in enumerate(self._leaves):
                if key == NULL_COUNT or has_bounds(leaf):
                    *above, last = leaf.physical
                    node = tree
                    for name in above:
                        node = node.setdefault(name, {})
                    node[last] = place
            if tree:
                found[key] = tree
        return found

    @cached_property
    def type(self) -> pa.StructType:
        """The type of the column `add`."""
        fields: list[tuple[str, pa.DataType]] = [
            ("path", pa.string()),
            ("partitionValues", TEXT_MAP),
            ("size", pa.int64()),
            ("modificationTime", pa.int64()),
            ("dataChange", pa.bool_()),
            ("tags", TEXT_MAP),
            ("deletionVector", VECTOR),
            ("baseRowId", pa.int64()),
            ("defaultRowCommitVersion", pa.int64()),
            ("clusteringProvider", pa.string()),
        ]
        if self.as_json:
            fields.append(("stats", pa.string()))
        if self.as_struct:
            fields.append(("stats_parsed", self._stats_type))
            if self.partitions:
                fields.append(("partitionValues_parsed", self._partitions_type))
        return pa.struct(fields)

    @cached_property
    def _partitions_type(self) -> pa.StructType:
        return pa.struct(
            [(name, arrow_type(PrimitiveType(kind))) for name, kind in self.partitions.items()]
        )

    @cached_property
    def _stats_type(self) -> pa.StructType:
        def built(node: Any, key: str) -> pa.DataType:
            if isinstance(node, dict):
                return pa.struct([(name, built(child, key)) for name, child in node.items()])
            return pa.int64() if key == NULL_COUNT else arrow_type(self._leaves[node].type)

        return pa.struct(
            [
                (NUM_RECORDS, pa.int64()),
                *((key, built(tree, key)) for key, tree in self._statistics.items()),
                (TIGHT_BOUNDS, pa.bool_()),
            ]
        )

    def parsed_statistics(self, stats: pa.Array) -> pa.StructArray:
        """`stats_parsed` of each JSON text; null for null."""
        found = typed_statistics(pa.chunked_array([stats]), self._leaves)

        def built(node: Any, key: str, kind: pa.DataType) -> pa.Array:
            if isinstance(node, dict):
                children = [built(node[f.name], key, f.type) for f in kind]
                return pa.StructArray.from_arrays(children, fields=list(kind))
            return _whole(found[key][str(node)]).cast(kind)

        columns = []
        for member in self._stats_type:
            tree = self._statistics.get(member.name)
            if tree is None:
                columns.append(_whole(found[WHOLE_FILE][member.name]))
            else:
                columns.append(built(tree, member.name, member.type))
        mask = stats.is_null() if stats.null_count else None
        return pa.StructArray.from_arrays(columns, fields=list(self._stats_type), mask=mask)

    def parsed_partitions(self, texts: list[str]) -> pa.StructArray:
        """`partitionValues_parsed` of each canonical text of partition values."""
        values = [orjson.loads(text) for text in texts]
        columns = [
            pa.array([parse_partition_value(v.get(name), kind) for v in values], field.type)
            for (name, kind), field in zip(
                self.partitions.items(), self._partitions_type, strict=True
            )
        ]
        return pa.StructArray.from_arrays(columns, fields=list(self._partitions_type))


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        return pa.concat_arrays(column.chunks) if column.num_chunks else column.combine_chunks()
    return column


def text_map(values: Sequence[Mapping[str, str | None] | None]) -> pa.MapArray:
    """Maps of texts as a column."""
    return pa.array([None if v is None else list(v.items()) for v in values], TEXT_MAP)


def distinct(column: pa.ChunkedArray) -> tuple[list[str], pa.Array]:
    """Distinct texts of a column without nulls, and which of them each row has."""
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks)
    encoded = whole.dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices


def json_maps(texts: pa.Array) -> pa.MapArray:
    """JSON objects of texts as maps."""
    if texts.null_count == len(texts):
        return pa.nulls(len(texts), TEXT_MAP)
    return text_map([None if t is None else orjson.loads(t) for t in texts.to_pylist()])


def json_vectors(texts: pa.Array) -> pa.StructArray:
    """JSON of deletion vectors as structs."""
    if texts.null_count == len(texts):
        return pa.nulls(len(texts), VECTOR)
    values = [None if t is None else orjson.loads(t) for t in texts.to_pylist()]
    return pa.array(values, VECTOR)


def struct_column(columns: Mapping[str, pa.Array], kind: pa.StructType) -> pa.StructArray:
    """A column of structs, its members by name."""
    return pa.StructArray.from_arrays([columns[f.name] for f in kind], fields=list(kind))


def arrow_form(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body as Arrow takes it: maps of texts as pairs."""
    found = dict(body)
    if "configuration" in found and isinstance(found["configuration"], Mapping):
        found["configuration"] = list(found["configuration"].items())
    if isinstance(found.get("tags"), Mapping):
        found["tags"] = list(found["tags"].items())
    if "format" in found:
        found["format"] = {**found["format"], "options": list(found["format"]["options"].items())}
    return found
