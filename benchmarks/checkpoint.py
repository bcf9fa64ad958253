"""Writes a classic single-file checkpoint as Spark does, with memory bounded by one row group."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_MAP = pa.map_(pa.string(), pa.string())
_DELETION_VECTOR = pa.struct(
    [
        ("storageType", pa.string()),
        ("pathOrInlineDv", pa.string()),
        ("offset", pa.int32()),
        ("sizeInBytes", pa.int32()),
        ("cardinality", pa.int64()),
        ("maxRowIndex", pa.int64()),
    ]
)
_ADD = pa.struct(
    [
        ("path", pa.string()),
        ("partitionValues", _MAP),
        ("size", pa.int64()),
        ("modificationTime", pa.int64()),
        ("dataChange", pa.bool_()),
        ("tags", _MAP),
        ("deletionVector", _DELETION_VECTOR),
        ("baseRowId", pa.int64()),
        ("defaultRowCommitVersion", pa.int64()),
        ("stats", pa.string()),
    ]
)
_REMOVE = pa.struct(
    [
        ("path", pa.string()),
        ("deletionTimestamp", pa.int64()),
        ("dataChange", pa.bool_()),
        ("extendedFileMetadata", pa.bool_()),
        ("partitionValues", _MAP),
        ("size", pa.int64()),
        ("deletionVector", _DELETION_VECTOR),
        ("baseRowId", pa.int64()),
        ("defaultRowCommitVersion", pa.int64()),
    ]
)
SCHEMA = pa.schema(
    [
        (
            "txn",
            pa.struct(
                [("appId", pa.string()), ("version", pa.int64()), ("lastUpdated", pa.int64())]
            ),
        ),
        ("add", _ADD),
        ("remove", _REMOVE),
        (
            "metaData",
            pa.struct(
                [
                    ("id", pa.string()),
                    ("name", pa.string()),
                    ("description", pa.string()),
                    ("format", pa.struct([("provider", pa.string()), ("options", _MAP)])),
                    ("schemaString", pa.string()),
                    ("partitionColumns", pa.list_(pa.string())),
                    ("configuration", _MAP),
                    ("createdTime", pa.int64()),
                ]
            ),
        ),
        (
            "protocol",
            pa.struct(
                [
                    ("minReaderVersion", pa.int32()),
                    ("minWriterVersion", pa.int32()),
                    ("readerFeatures", pa.list_(pa.string())),
                    ("writerFeatures", pa.list_(pa.string())),
                ]
            ),
        ),
        (
            "domainMetadata",
            pa.struct(
                [("domain", pa.string()), ("configuration", pa.string()), ("removed", pa.bool_())]
            ),
        ),
    ]
)
ROWS_PER_GROUP = 200_000
"""About 128 MB of plain values, parquet-mr's default row group."""

_SPILL = pa.schema(
    [
        ("path", pa.string()),
        ("date", pa.string()),
        ("region", pa.string()),
        ("size", pa.int64()),
        ("modificationTime", pa.int64()),
        ("stats", pa.string()),
    ]
)


class CheckpointWriter:
    """Collects live files, then writes the checkpoint.

    Spark spreads actions by the hash of the path and keeps version order inside a spread part;
    here a part is spilled to one Arrow file and becomes one row group.
    """

    def __init__(self, log_dir: Path, live: int, seed: int) -> None:
        self._log_dir = log_dir
        self._spill_dir = log_dir.parent / "_spill"
        self._spill_dir.mkdir()
        self._rng = np.random.default_rng([seed, 1_000_003])
        self._parts = max(1, -(-live // ROWS_PER_GROUP))
        self._files = [self._spill_dir / f"{p}.arrow" for p in range(self._parts)]
        self._writers = [pa.ipc.new_file(str(f), _SPILL) for f in self._files]
        self._live = 0

    def collect(self, columns: dict[str, list[Any]]) -> None:
        """Keep live files: lists `path`, `date`, `region`, `size`, `modificationTime`, `stats`."""
        batch = pa.record_batch([pa.array(columns[f.name], f.type) for f in _SPILL], schema=_SPILL)
        part = self._rng.integers(0, self._parts, batch.num_rows)
        for p, writer in enumerate(self._writers):
            writer.write_batch(batch.take(pa.array(np.flatnonzero(part == p))))
        self._live += batch.num_rows

    def finish(
        self,
        version: int,
        *,
        metadata: dict[str, Any],
        protocol: dict[str, Any],
        txn: dict[str, Any] | None,
        removes: list[dict[str, Any]],
    ) -> None:
        """Write `<version>.checkpoint.parquet` and `_last_checkpoint`."""
        for writer in self._writers:
            writer.close()
        target = self._log_dir / f"{version:020d}.checkpoint.parquet"
        singles: list[dict[str, Any]] = [{"metaData": metadata}, {"protocol": protocol}]
        if txn is not None:
            singles.append({"txn": txn})
        singles.extend({"remove": remove} for remove in removes)
        with pq.ParquetWriter(
            target, SCHEMA, compression="snappy", version="1.0", store_schema=False
        ) as out:
            for index, spilled in enumerate(self._files):
                table = _add_rows(pa.ipc.open_file(pa.memory_map(str(spilled))).read_all())
                if index == 0:
                    table = pa.concat_tables([pa.Table.from_pylist(singles, SCHEMA), table])
                out.write_table(table, row_group_size=ROWS_PER_GROUP * 2)
        shutil.rmtree(self._spill_dir)
        last = {
            "version": version,
            "size": self._live + len(singles),
            "sizeInBytes": target.stat().st_size,
            "numOfAddFiles": self._live,
        }
        (self._log_dir / "_last_checkpoint").write_text(json.dumps(last, separators=(",", ":")))


def _add_rows(spilled: pa.Table) -> pa.Table:
    rows = spilled.combine_chunks()
    count = rows.num_rows

    def column(name: str) -> pa.Array:
        chunked = rows.column(name)
        return chunked.chunk(0) if chunked.num_chunks else pa.array([], chunked.type)

    values = pa.concat_arrays([column("date"), column("region")]).take(
        pa.array(np.arange(2 * count).reshape(2, count).T.ravel())
    )
    partition_values = pa.MapArray.from_arrays(
        pa.array(np.arange(count + 1) * 2, pa.int32()),
        pa.array(["date", "region"] * count, pa.string()),
        values,
    )
    add = pa.StructArray.from_arrays(
        [
            column("path"),
            partition_values,
            column("size"),
            column("modificationTime"),
            pa.array(np.zeros(count, dtype=np.bool_)),
            pa.nulls(count, _MAP),
            pa.nulls(count, _DELETION_VECTOR),
            pa.nulls(count, pa.int64()),
            pa.nulls(count, pa.int64()),
            column("stats"),
        ],
        fields=list(_ADD),
    )
    return pa.table(
        [add if f.name == "add" else pa.nulls(count, f.type) for f in SCHEMA], schema=SCHEMA
    )
