"""The live adds in the form of delta-rs's `get_add_actions`: typed values, typed statistics."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.metadata import Metadata
from deltalakedb.log.partition import partition_scalar
from deltalakedb.log.schema import PrimitiveType, iter_leaves, readable_type
from deltalakedb.log.statistics.typed import MAX, MIN, NULL_COUNT, Columns, typed_statistics

_PREFIXES = {NULL_COUNT: "null_count", MIN: "min", MAX: "max"}


def add_actions(files: pa.Table, metadata: Metadata, *, mapped: bool, flatten: bool) -> pa.Table:
    """`files`: a plan with all columns; `mapped`: whether files know columns by physical names.

    Columns as delta-rs names them: path (as in the log), size_bytes, modification_time (ms),
    num_records, and null_count, min, max, partition as structs, or flattened (`min.a`). Columns
    of the table have their logical names, and are there whether or not a file has statistics.
    A statistic that is missing, or not of its column's type, is null; a partition column of a type
    that Arrow hasn't is text. Raises INVALID_LOG, naming the file, for a partition value that is
    none of its column's type.
    """
    columns: Columns = {
        "path": files.column("path"),
        "size_bytes": files.column("size"),
        "modification_time": files.column("modification_time"),
        "num_records": files.column("num_records"),
    }
    partition_columns = set(metadata.partition_columns)
    leaves = [
        leaf
        for leaf in iter_leaves(metadata.schema.struct, mapped=mapped)
        if leaf.path[0] not in partition_columns
    ]
    statistics = typed_statistics(files.column("stats"), leaves)
    groups = {_PREFIXES[key]: found for key, found in statistics.items() if key in _PREFIXES}
    groups["partition"] = _partitions(files, metadata, mapped=mapped)
    for prefix, members in groups.items():
        if flatten:
            columns |= {f"{prefix}.{name}": array for name, array in members.items()}
        elif members:
            arrays = [_one_chunk(array) for array in members.values()]
            columns[prefix] = pa.StructArray.from_arrays(arrays, names=list(members))
    return pa.table(columns)


def _one_chunk(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _partitions(files: pa.Table, metadata: Metadata, *, mapped: bool) -> Columns:
    texts = pc.dictionary_encode(files.column("partition_values").combine_chunks())
    tuples = [json.loads(text) for text in texts.dictionary.to_pylist()]
    found: Columns = {}
    by_name = {leaf.path[0]: leaf for leaf in iter_leaves(metadata.schema.struct, mapped=mapped)}
    for name in metadata.partition_columns:
        leaf = by_name.get(name)
        if leaf is None or not isinstance(leaf.type, PrimitiveType):
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_LOG,
                f"partition column {name!r} is not a primitive column of the table's schema; "
                "repair the metaData action of the log",
                column=name,
            )
        known = readable_type(leaf.type)
        kind, type_name = (known, leaf.type.name) if known is not None else (pa.string(), "string")
        values = []
        for number, each in enumerate(tuples):
            try:
                values.append(partition_scalar(each.get(leaf.physical[0]), type_name, kind))
            except DeltaLakeError as error:
                row = pc.index(texts.indices, pa.scalar(number, texts.indices.type)).as_py()
                path = files.column("path")[row].as_py()
                facts: dict[str, Any] = {"path": path, "column": name, **error.facts}
                message = f"file {path!r}, column {name}: {error.message}"
                raise DeltaLakeError(error.kind, message, **facts) from error
        found[name] = pa.array(values, kind).take(texts.indices)
    return found
