"""Checkpoints: Arrow batches of a Parquet part (or decoded JSON actions) to `ActionRows`.

PROTOCOL.md, "Checkpoints" and "Checkpoint Schema". Pure; columns are taken by name, so that
classic, multi-part and V2 checkpoints of any writer are one case. Vectorised: a checkpoint holds
the whole table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deltalakedb.log import rows
from deltalakedb.log.action_tables import ADD_FIELDS
from deltalakedb.log.commit import STATE_ACTIONS, ActionRows, StateChange
from deltalakedb.log.deletion_vector import unique_ids
from deltalakedb.log.fields import body_fault, check_vectors, column_fault
from deltalakedb.log.partition import PartitionTexts
from deltalakedb.log.plain_arrow import plain_batch
from deltalakedb.log.statistics.text import stats_json_from_parsed

CHECKPOINT_COLUMNS = ("add", "remove", "metaData", "protocol", "txn", "domainMetadata", "sidecar")


def parquet_file(source: pa.NativeFile) -> pq.ParquetFile:
    """A part of a checkpoint. Raises what Arrow does.

    INT96, in which Spark keeps bounds of timestamps, is read as microseconds: years before 1678
    and after 2262 would come out as others in nanoseconds.
    """
    return pq.ParquetFile(source, coerce_int96_timestamp_unit="us")


def batches(
    file: pq.ParquetFile, size: int, groups: Sequence[int], columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Rows of row groups, at most `size` at a time; what is in INT96 is in UTC."""
    leaves = (file.schema.column(place) for place in range(len(file.schema)))
    instants = {leaf.path for leaf in leaves if leaf.physical_type == "INT96"}
    for batch in file.iter_batches(size, row_groups=list(groups), columns=list(columns)):
        yield _in_utc(batch, instants) if instants else batch


def _in_utc(batch: pa.RecordBatch, instants: Set[str]) -> pa.RecordBatch:
    fields = [_instant(field, field.name, instants) for field in batch.schema]
    return batch.cast(pa.schema(fields, batch.schema.metadata))


def _instant(field: pa.Field, path: str, instants: Set[str]) -> pa.Field:
    kind = field.type
    if pa.types.is_struct(kind):
        children = [_instant(child, f"{path}.{child.name}", instants) for child in kind]
        return field.with_type(pa.struct(children))
    if path in instants and pa.types.is_timestamp(kind):
        return field.with_type(pa.timestamp(kind.unit, "UTC"))
    return field


def plain(value: Any, kind: pa.DataType) -> Any:
    """An Arrow value as the JSON of a log would hold it: maps as objects, nulls left out."""
    if value is None:
        return None
    if pa.types.is_map(kind):
        return {k: plain(v, kind.item_type) for k, v in value}
    if pa.types.is_struct(kind):
        return {f.name: plain(value[f.name], f.type) for f in kind if value.get(f.name) is not None}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [plain(v, kind.value_type) for v in value]
    return value


def _json(value: Any) -> str:
    """The JSON text of a plain value; of what JSON hasn't (bytes, decimals), its usual text."""
    return orjson.dumps(value, default=_usual_text, option=orjson.OPT_NON_STR_KEYS).decode()


def _usual_text(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def checked(batch: pa.RecordBatch) -> pa.Table:
    """The actions of a batch in plain Arrow types, each column held to `log.fields`.

    Raises ValueError naming the column for a type that is none of its field's, and for bytes in a
    string that are no UTF-8: Parquet readers don't look.
    """
    batch = plain_batch(batch)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name in CHECKPOINT_COLUMNS:
            if (why := column_fault(name, column.type)) is not None:
                raise ValueError(why)
            _validate(column, name)
    return pa.Table.from_batches([batch])


def _validate(column: pa.Array, name: str) -> None:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        if pa.types.is_struct(column.type):
            for field, child in zip(column.type, column.flatten(), strict=True):
                _validate(child, f"{name}.{field.name}")
        raise ValueError(f"column {name} is damaged: {error}") from error


def sidecar_names(batch: pa.Table) -> list[str]:
    """Paths of the sidecars that a V2 checkpoint's top file names, as they stand."""
    if "sidecar" not in batch.column_names:
        return []
    paths = pc.struct_field(batch.column("sidecar"), "path")
    return [p for p in paths.to_pylist() if p is not None]


def state_changes(batch: pa.Table, version: int) -> list[StateChange]:
    """The metaData, protocol, txn and domainMetadata rows of a checkpoint part."""
    found: list[StateChange] = []
    for action in sorted(STATE_ACTIONS & set(batch.column_names)):
        column = batch.column(action).combine_chunks()
        required = _required_child(column.type)
        column = column.filter(_valid(column, required))
        for value in column.to_pylist():
            body = plain(value, column.type)
            if (why := body_fault(action, body)) is not None:
                raise ValueError(why)
            key = body.get("appId", "") if action == "txn" else body.get("domain", "")
            found.append(StateChange(version, action, key, body))
    return found


def _required_child(kind: pa.StructType) -> str:
    names = {f.name for f in kind}
    for name in ("appId", "domain", "minReaderVersion", "id", "path"):
        if name in names:
            return name
    return str(kind.field(0).name)


def _valid(column: pa.Array, child: str) -> pa.Array:
    """Rows that hold the action: some writers leave the struct non-null and its fields null."""
    return pc.and_(pc.is_valid(column), pc.is_valid(pc.struct_field(column, child)))


def action_rows(batch: pa.Table, version: int) -> ActionRows:
    """All actions of a checkpoint part (or of some of its row groups) as of `version`."""
    return ActionRows(
        files=_files(batch, version),
        closings=_closings(batch, version),
        versions=rows.VERSION_SCHEMA.empty_table(),
        changes=rows.CHANGE_SCHEMA.empty_table(),
        others=rows.OTHER_SCHEMA.empty_table(),
        state=state_changes(batch, version),
    )


def _actions(batch: pa.Table, name: str) -> pa.StructArray | None:
    if name not in batch.column_names:
        return None
    column = batch.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else None
    if column is None or "path" not in {f.name for f in column.type}:
        return None
    column = column.filter(_valid(column, "path"))
    return column if len(column) else None


class _Fields:
    """Children of a filtered struct, cast to the catalog's types; null where absent."""

    def __init__(self, column: pa.StructArray) -> None:
        self._column = column
        self.names = {f.name for f in column.type}

    def __len__(self) -> int:
        return len(self._column)

    def get(self, name: str, kind: pa.DataType) -> pa.Array:
        if name not in self.names:
            return pa.nulls(len(self._column), kind)
        child = pc.struct_field(self._column, name)
        return child if child.type == kind else child.cast(kind)

    def raw(self, name: str) -> pa.Array | None:
        if name not in self.names:
            return None
        child = pc.struct_field(self._column, name)
        return None if child.null_count == len(child) else child

    def texts(self, name: str) -> pa.Array:
        child = self.raw(name)
        if child is None:
            return pa.nulls(len(self), pa.string())
        kind = child.type
        return pa.array(
            [None if v is None else _json(plain(v, kind)) for v in child.to_pylist()],
            pa.string(),
        )

    def dv_ids(self) -> pa.Array:
        child = self.raw("deletionVector")
        if child is None:
            return pa.nulls(len(self), pa.string())
        kind = child.type
        # Some writers leave the struct non-null and its fields null.
        vectors = [
            None if v is None or v.get("storageType") is None else plain(v, kind)
            for v in child.to_pylist()
        ]
        check_vectors([v for v in vectors if v is not None])
        return pa.array(unique_ids(vectors), pa.string())

    def vectors(self, ids: pa.Array) -> pa.Array:
        return pc.if_else(pc.is_valid(ids), self.texts("deletionVector"), None)

    def extras(self, known: frozenset[str]) -> pa.Array:
        unknown = sorted(n for n in self.names - known if self.raw(n) is not None)
        if not unknown:
            return pa.nulls(len(self), pa.string())
        parts = [(n, pc.struct_field(self._column, n)) for n in unknown]
        columns = [[(n, plain(v, c.type)) for v in c.to_pylist()] for n, c in parts]
        return pa.array(
            [
                _json(found) if (found := {n: v for n, v in row if v is not None}) else None
                for row in zip(*columns, strict=True)
            ],
            pa.string(),
        )


def _partitions(column: pa.Array | None, count: int) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Canonical text and id of each row's partitionValues."""
    texts = PartitionTexts()
    if column is None:
        empty, number = texts.of({})
        return pa.array([empty] * count, pa.string()), np.full(count, number, dtype=np.int64)
    offsets = column.offsets.to_numpy()
    width = int(offsets[1] - offsets[0]) if count else 0
    uniform = column.null_count == 0 and bool((np.diff(offsets) == width).all())
    if not uniform or width == 0:
        found = [texts.of(None if v is None else dict(v)) for v in column.to_pylist()]
        return (
            pa.array([f[0] for f in found], pa.string()),
            np.asarray([f[1] for f in found], dtype=np.int64),
        )
    # The usual case: each row has the same number of values. Encode key and value of each
    # place as dictionaries, and spell out only the distinct combinations.
    first = int(offsets[0])
    keys = column.keys.slice(first, count * width)
    items = column.items.slice(first, count * width)
    codes = np.zeros(count, dtype=np.int64)
    for place in range(width):
        take = pa.array(np.arange(place, count * width, width))
        for part in (keys.take(take), items.take(take)):
            encoded = part.dictionary_encode("encode")
            size = max(len(encoded.dictionary), 1)
            index = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
            _, codes = np.unique(codes * size + index, return_inverse=True)
    distinct, first_row, inverse = np.unique(codes, return_index=True, return_inverse=True)
    sample = column.take(pa.array(first_row)).to_pylist()
    found = [texts.of(dict(v)) for v in sample]
    text = pa.array([f[0] for f in found], pa.string()).take(pa.array(inverse))
    ident = np.asarray([f[1] for f in found], dtype=np.int64)[inverse]
    assert len(distinct) == len(found)
    return text, ident


def _files(batch: pa.Table, version: int) -> pa.Table:
    column = _actions(batch, "add")
    if column is None:
        return rows.FILE_SCHEMA.empty_table()
    fields = _Fields(column)
    count = len(fields)
    path = fields.get("path", pa.string())
    dv_ids = fields.dv_ids()
    key, key2 = rows.file_keys(path.to_pylist(), dv_ids.to_pylist())
    text, ident = _partitions(fields.raw("partitionValues"), count)
    stats = fields.get("stats", pa.string())
    parsed = fields.raw("stats_parsed")
    if stats.null_count and parsed is not None:
        stats = pc.coalesce(stats, stats_json_from_parsed(parsed))
    columns: dict[str, Any] = {
        "path": path,
        "dv_id": dv_ids,
        "partition_values": text,
        "size": fields.get("size", pa.int64()),
        "modification_time": fields.get("modificationTime", pa.int64()),
        "data_change": fields.get("dataChange", pa.bool_()),
        "num_records": pa.nulls(count, pa.int64()),
        "stats": stats,
        "tags": fields.texts("tags"),
        "dv": fields.vectors(dv_ids),
        "base_row_id": fields.get("baseRowId", pa.int64()),
        "default_row_commit_version": fields.get("defaultRowCommitVersion", pa.int64()),
        "clustering_provider": fields.get("clusteringProvider", pa.string()),
        "extra": fields.extras(ADD_FIELDS),
        "added_version": np.full(count, version, dtype=np.int64),
        "removed_version": np.full(count, rows.LIVE, dtype=np.int64),
        "removed_at": pa.nulls(count, pa.int64()),
        "path_key": key,
        "path_key2": key2,
        "partition_id": ident,
    }
    return _table(columns, rows.FILE_SCHEMA)


def _closings(batch: pa.Table, version: int) -> pa.Table:
    column = _actions(batch, "remove")
    if column is None:
        return rows.CLOSING_SCHEMA.empty_table()
    fields = _Fields(column)
    count = len(fields)
    path = fields.get("path", pa.string())
    dv_ids = fields.dv_ids()
    key, key2 = rows.file_keys(path.to_pylist(), dv_ids.to_pylist())
    columns: dict[str, Any] = {
        "path": path,
        "dv_id": dv_ids,
        "partition_values": _partitions(fields.raw("partitionValues"), count)[0],
        "size": fields.get("size", pa.int64()),
        "data_change": fields.get("dataChange", pa.bool_()),
        "dv": fields.vectors(dv_ids),
        "tags": fields.texts("tags"),
        "extra": pa.nulls(count, pa.string()),
        "removed_version": np.full(count, version, dtype=np.int64),
        "removed_at": fields.get("deletionTimestamp", pa.int64()),
        "path_key": key,
        "path_key2": key2,
    }
    return _table(columns, rows.CLOSING_SCHEMA)


def _table(columns: dict[str, Any], schema: pa.Schema) -> pa.Table:
    arrays = [
        columns[f.name] if isinstance(columns[f.name], pa.Array) else pa.array(columns[f.name])
        for f in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
