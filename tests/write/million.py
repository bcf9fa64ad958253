"""A process that adds many files in one commit, then removes them all in one; its peak memory."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import deltalakedb as dl
from deltalakedb.commit.staged import StagedTable
from deltalakedb.log.partition import partition_id
from deltalakedb.log.rows import FILE_SCHEMA, LIVE, file_keys
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.operations.provenance import commit_info
from deltalakedb.table.transaction import ratify

_SOME = 20_000


def adds(count: int) -> pa.Table:
    """Rows of FILE_SCHEMA, files that nobody has: in little more memory than they take."""
    starts = range(0, count, _SOME)
    return pa.concat_tables([_adds(np.arange(at, min(count, at + _SOME))) for at in starts])


def _adds(numbers: np.ndarray) -> pa.Table:
    count = len(numbers)

    def text(values: np.ndarray) -> pa.Array:
        return pa.array(values).cast(pa.string())

    def joined(*parts: object) -> pa.Array:
        return pc.binary_join_element_wise(*parts, "")

    ids, places = text(numbers), text(numbers % 10)
    names = joined("p=", places, "/part-00000-", pc.utf8_lpad(ids, 32, "0"), ".snappy.parquet")
    least = joined('{"numRecords":1000,"minValues":{"id":', ids, ',"x":', text(numbers / 7), "}")
    most = joined(',"maxValues":{"id":', text(numbers + 5), ',"x":', text(numbers / 3), "}")
    columns = {
        "path": names,
        "partition_values": joined('{"p":"', places, '"}'),
        "size": pa.array(1000 + numbers),
        "modification_time": pa.repeat(1_700_000_000_000, count),
        "data_change": pa.repeat(True, count),
        "stats": joined(least, most, ',"nullCount":{"id":0,"x":0}}'),
        "added_version": pa.repeat(pa.scalar(0, pa.int64()), count),
        "removed_version": pa.repeat(pa.scalar(LIVE, pa.int64()), count),
    }
    ends = [partition_id(text) for text in columns["partition_values"].to_pylist()]
    keys = *file_keys(names.to_pylist(), [None] * count), ends
    columns |= zip(("path_key", "path_key2", "partition_id"), map(pa.array, keys), strict=True)
    given = [columns.get(f.name, pa.nulls(count, f.type)) for f in FILE_SCHEMA]
    return pa.table(given, schema=FILE_SCHEMA)


def peak() -> int:
    """Megabytes; of this process alone, where ru_maxrss begins with what its parent had."""
    [line] = [
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    ]
    return int(line.split()[1]) >> 10


def main(database: str, place: str, count: str) -> None:
    uri = f"deltasql://{database}?table=t"
    schema = pa.schema([("id", pa.int64()), ("x", pa.float64()), ("p", pa.string())])
    table = dl.create_table(uri, schema, location=place, partition_by="p")
    options = CommitOptions()
    files = adds(int(count))
    before = peak()
    staged = StagedTable(
        table=table._head.row,
        read_version=0,
        info=commit_info("WRITE", {"mode": "Append"}, {}, options, blind=True),
        added=files,
    )
    del files
    began = time.monotonic()
    [done] = ratify(table._catalog, [staged], options, {})
    added = time.monotonic() - began
    del staged
    print(json.dumps({"before": before, "added": peak(), "seconds": added, "v": done.version}))
    sys.stdout.flush()


def replace(database: str, place: str, count: str) -> None:
    table = dl.connect_to_table(f"deltasql://{database}?table=t", cache=False)
    began = time.monotonic()
    done = table.overwrite(pa.table({"id": [1], "x": [0.5], "p": ["0"]}))
    seconds = time.monotonic() - began
    print(json.dumps({"replaced": peak(), "seconds": seconds, "v": done.version}))


if __name__ == "__main__":
    (replace if sys.argv[1] == "replace" else main)(*sys.argv[2:])
