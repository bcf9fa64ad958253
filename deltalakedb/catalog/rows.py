"""From replayed state to catalog rows: Arrow tables with the columns of `catalog.tables`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.catalog.records import ADDED, REMOVED, SLOTS
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.few_files import Files, values_of
from deltalakedb.log.keys import SkippingColumn, keys_from_stats, keys_of_few
from deltalakedb.log.protocol import Protocol
from deltalakedb.log.rows import FILE_SCHEMA, LIVE
from deltalakedb.replay.intervals import StateInterval
from deltalakedb.replay.state import RangeState

_FILE_COLUMNS = tuple(
    # The values of a partition stand with the partition; half of the key is enough for an index.
    name
    for name in FILE_SCHEMA.names
    if name not in ("partition_values", "path_key2")
)


def file_rows(state: RangeState, load_id: int, skipping: Sequence[SkippingColumn]) -> pa.Table:
    """Rows of `dl_files` of the lives of a state, by partition, and what is live together.

    Removes that end no known life (their file was added before the known history) become rows
    of a life of no length: never visible, but kept for the tombstones of a checkpoint.
    """
    order = pc.sort_indices(
        state.files,
        [
            ("partition_id", "ascending"),
            ("removed_version", "ascending"),
            ("added_version", "ascending"),
        ],
    )
    files = state.files.take(order)
    table = keyed_files(files, load_id, skipping)
    if state.closings.num_rows:
        table = pa.concat_tables([table, _tombstones(state.closings, table.schema, load_id)])
    return table


def keyed_files(files: pa.Table, load_id: int, skipping: Sequence[SkippingColumn]) -> pa.Table:
    """Rows of `dl_files` of lives (FILE_SCHEMA) with their pruning keys, in the same order."""
    keys = keys_from_stats(files.column("stats").combine_chunks(), skipping)
    columns = {name: files.column(name) for name in _FILE_COLUMNS}
    columns["num_records"] = keys.num_records
    for slot in range(SLOTS):
        unused = pa.nulls(files.num_rows, pa.int64()) if slot >= len(skipping) else None
        columns[f"lo{slot}"] = keys.lo[slot] if unused is None else unused
        columns[f"hi{slot}"] = keys.hi[slot] if unused is None else unused
    load = pa.array(np.full(files.num_rows, load_id, dtype=np.int64))
    return pa.table({"load_id": load, **columns})


def few_keyed_files(
    files: Files, load_id: int, skipping: Sequence[SkippingColumn]
) -> dict[str, list[Any]]:
    """`keyed_files` of few rows, quicker: its columns as lists, without slots that aren't used."""
    values = {name: values_of(files, name) for name in _FILE_COLUMNS}
    keys = keys_of_few(values["stats"], skipping)
    values["num_records"] = keys.num_records
    for slot in range(len(skipping)):
        values[f"lo{slot}"] = keys.lo[slot]
        values[f"hi{slot}"] = keys.hi[slot]
    return {"load_id": [load_id] * files.num_rows, **values}


def _tombstones(closings: pa.Table, schema: pa.Schema, load_id: int) -> pa.Table:
    from deltalakedb.log.partition import partition_id

    count = closings.num_rows
    known = {
        "load_id": pa.array(np.full(count, load_id, dtype=np.int64)),
        "added_version": closings.column("removed_version"),
        "partition_id": pa.array(
            [partition_id(t) for t in closings.column("partition_values").to_pylist()], pa.int64()
        ),
    }
    for name in closings.column_names:
        if name in schema.names:
            known.setdefault(name, closings.column(name))
    return pa.table(
        [known.get(f.name, pa.nulls(count, f.type)) for f in schema],
        schema=schema,
    )


def partition_rows(state: RangeState) -> pa.Table:
    """Each distinct partition tuple: id, values, and the count and bytes of its live files.

    `emptied_at` is the last version that took a file, also where others are left.
    """
    files = state.files
    removed = files.column("removed_version")
    live = pc.equal(removed, LIVE)
    table = pa.table(
        {
            "partition_id": files.column("partition_id"),
            "partition_values": files.column("partition_values"),
            "num_files": live.cast(pa.int64()),
            "total_bytes": pc.if_else(live, pc.fill_null(files.column("size"), 0), 0),
            "emptied_at": pc.if_else(live, pa.scalar(None, pa.int64()), removed),
        }
    )
    return sum_partitions([table])


def sum_partitions(tables: list[pa.Table]) -> pa.Table:
    """Partition rows of several parts added up; two tuples with one id are refused."""
    every = pa.concat_tables(tables)
    # Arrow's sums of integers wrap.
    if (
        pc.sum(pc.abs(every.column("total_bytes").cast(pa.float64(), safe=False))).as_py() or 0
    ) >= 2**63:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_LOG,
            "the sizes of the table's files add up to 2^63 bytes or more; correct add.size in "
            "the log, or report this table if it is that large",
        )
    grouped = every.group_by(["partition_id", "partition_values"], use_threads=False).aggregate(
        [("num_files", "sum"), ("total_bytes", "sum"), ("emptied_at", "max")]
    )
    result = pa.table(
        {
            "partition_id": grouped.column("partition_id"),
            "partition_values": grouped.column("partition_values"),
            "num_files": grouped.column("num_files_sum"),
            "total_bytes": grouped.column("total_bytes_sum"),
            "emptied_at": grouped.column("emptied_at_max"),
        }
    )
    if len(pc.unique(result.column("partition_id"))) != result.num_rows:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_LOG,
            "two partitions share a 64-bit id; please report this table",
        )
    return result


def change_rows(table_key: int, files: pa.Table, ended: pa.Table) -> pa.Table:
    """Rows of `dl_changes`: lives that begin, and may end, and the end of lives from before.

    `ended`: (version, path_key, partition_id). What a remove said of dataChange is not known of
    lives; it is null then.
    """
    lives = files.filter(pc.less(files.column("added_version"), files.column("removed_version")))
    over = lives.filter(pc.less(lives.column("removed_version"), LIVE))
    names = ("version", "path_key", "partition_id", "data_change", "kind")

    def rows_of(source: pa.Table, version: str, kind: int) -> pa.Table:
        count = source.num_rows
        said = source.column("data_change") if kind == ADDED else pa.nulls(count, pa.bool_())
        columns = [source.column(n) for n in (version, "path_key", "partition_id")]
        kinds = pa.array(np.full(count, kind, dtype=np.int16))
        return pa.table([*columns, said, kinds], names=names)

    found = pa.concat_tables(
        [
            rows_of(lives, "added_version", ADDED),
            rows_of(over, "removed_version", REMOVED),
            rows_of(ended, "version", REMOVED),
        ]
    ).sort_by("version")
    versions = found.column("version").to_numpy()
    starts = np.searchsorted(versions, versions, "left")
    position = pa.array((np.arange(len(versions)) - starts).astype(np.int32))
    key = pa.array(np.full(len(versions), table_key, dtype=np.int64))
    return found.append_column("position", position).append_column("table_key", key)


def settled_partitions(partitions: pa.Table) -> pa.Table:
    """Rows of `dl_partitions` that count all files: `emptied_at` stands where there are none."""
    empty = pc.equal(partitions.column("num_files"), 0)
    settled = pc.if_else(empty, partitions.column("emptied_at"), pa.scalar(None, pa.int64()))
    place = partitions.column_names.index("emptied_at")
    return partitions.set_column(place, "emptied_at", settled)


def version_rows(
    versions: pa.Table, load_id: int, times: Sequence[int], readable: Sequence[bool]
) -> pa.Table:
    """Rows of `dl_versions`; `times` and `readable` are aligned with `versions`."""
    columns = {name: versions.column(name) for name in versions.column_names}
    return pa.table(
        {
            "load_id": pa.array(np.full(versions.num_rows, load_id, dtype=np.int64)),
            "readable": pa.array(readable, pa.bool_()),
            "commit_time": pa.array(times, pa.int64()),
            **columns,
        }
    )


def with_load(table: pa.Table, load_id: int) -> pa.Table:
    """The table with a `load_id` column before the others."""
    load = pa.array(np.full(table.num_rows, load_id, dtype=np.int64))
    return table.add_column(0, "load_id", load)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def schema_of(body: dict[str, Any]) -> str | None:
    """schemaString of a metaData action, verbatim; None when it has none."""
    text = body.get("schemaString")
    return text if isinstance(text, str) and text else None


def metadata_row(interval: StateInterval) -> dict[str, Any]:
    """A row of `dl_metadata`; `body` is the action as in the log."""
    body = interval.body
    layout = body.get("format") or {}
    return _span(interval) | {
        "metadata_id": body.get("id"),
        "name": body.get("name"),
        "description": body.get("description"),
        "format_provider": layout.get("provider"),
        "schema_string": schema_of(body),
        "partition_columns": _json(body.get("partitionColumns") or []),
        "configuration": json.dumps(body.get("configuration") or {}, sort_keys=True),
        "created_time": body.get("createdTime"),
        "body": _json(body),
    }


def protocol_row(interval: StateInterval) -> dict[str, Any]:
    """A row of `dl_protocols`; `body` is the action as in the log."""
    protocol = Protocol.from_action(interval.body)
    readers = protocol.reader_features if protocol.min_reader_version >= 3 else None
    writers = protocol.writer_features if protocol.min_writer_version >= 7 else None
    return _span(interval) | {
        "min_reader_version": protocol.min_reader_version,
        "min_writer_version": protocol.min_writer_version,
        "reader_features": None if readers is None else _json(sorted(readers)),
        "writer_features": None if writers is None else _json(sorted(writers)),
        "body": _json(interval.body),
    }


def txn_row(interval: StateInterval) -> dict[str, Any]:
    """A row of `dl_txns`."""
    return _span(interval) | {
        "app_id": interval.key,
        "version": interval.body.get("version"),
        "last_updated": interval.body.get("lastUpdated"),
    }


def domain_row(interval: StateInterval) -> dict[str, Any]:
    """A row of `dl_domains`."""
    return _span(interval) | {
        "domain": interval.key,
        "configuration": interval.body.get("configuration") or "",
    }


def _span(interval: StateInterval) -> dict[str, Any]:
    return {
        "added_version": interval.added_version,
        "removed_version": interval.removed_version,
    }


STATE_TABLES = {
    "metaData": ("dl_metadata", metadata_row),
    "protocol": ("dl_protocols", protocol_row),
    "txn": ("dl_txns", txn_row),
    "domainMetadata": ("dl_domains", domain_row),
}


def state_rows(intervals: Iterable[StateInterval], load_id: int) -> dict[str, list[dict[str, Any]]]:
    """Rows of the four state tables, by table name."""
    found: dict[str, list[dict[str, Any]]] = {}
    for interval in intervals:
        table, build = STATE_TABLES[interval.action]
        found.setdefault(table, []).append({"load_id": load_id, **build(interval)})
    return found
