"""A process that adds many files in one commit, then removes them all in one; its peak memory."""

from __future__ import annotations

import json
import resource
import sys
import time

import pyarrow as pa

import deltalakedb as dl
from deltalakedb.commit.staged import StagedTable
from deltalakedb.log.action_tables import file_rows
from deltalakedb.log.commit_writer import add_body
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.operations.provenance import commit_info
from deltalakedb.table.transaction import ratify

STATS = (
    '{"numRecords":1000,"minValues":{"id":%d,"x":%f},"maxValues":{"id":%d,"x":%f},'
    '"nullCount":{"id":0,"x":0}}'
)
_BATCH = 20_000


def adds(count: int) -> pa.Table:
    """Rows of FILE_SCHEMA; files that nobody has."""
    parts = []
    for start in range(0, count, _BATCH):
        numbers = range(start, min(count, start + _BATCH))
        parts.append(
            file_rows(
                [
                    add_body(
                        f"p={i % 10}/part-00000-{i:032d}.snappy.parquet",
                        {"p": str(i % 10)},
                        1000 + i,
                        1_700_000_000_000,
                        stats=STATS % (i, i / 7, i + 5, i / 3),
                    )
                    for i in numbers
                ]
            )
        )
    return pa.concat_tables(parts)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


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
