"""Memory stays bounded, however much is written; measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

_MEASURE = """
def most_megabytes():
    # Not ru_maxrss, which begins with what the parent had.
    [line] = [line for line in open("/proc/self/status") if "VmHWM" in line]
    return int(line.split()[1]) >> 10
"""

_CHECKPOINT = """
import json, sys
import pyarrow as pa
from deltalakedb.log.checkpoint_writer import CheckpointState, CheckpointWriter
from deltalakedb.log.action_tables import file_rows
from deltalakedb.log.commit_writer import add_body
from deltalakedb.log.metadata import Metadata, TableSchema
from deltalakedb.log.protocol import Protocol

folder, as_struct = sys.argv[1:]
columns = [("id", "long"), ("a", "double"), ("s", "string"), ("t", "timestamp"), ("p", "integer")]
schema = {"type": "struct", "fields": [
    {"name": n, "type": t, "nullable": True, "metadata": {}} for n, t in columns]}
metadata = Metadata("m", None, None, "parquet", 0, TableSchema(json.dumps(schema)), ["p"],
                    {"delta.checkpoint.writeStatsAsStruct": as_struct})
stats = ('{"numRecords":1000,"minValues":{"id":%d,"a":%f,"s":"abcdefghij%d",'
         '"t":"2024-01-01T00:00:00.000Z"},"maxValues":{"id":%d,"a":%f,"s":"zzzz%d",'
         '"t":"2024-01-02T00:00:00.000Z"},"nullCount":{"id":0,"a":0,"s":0,"t":0}}')
state = CheckpointState(0, Protocol(1, 2), metadata)
writer = CheckpointWriter(lambda name: pa.OSFile(f"{folder}/{name}", "wb"), state)
for start in range(0, 1_000_000, 20_000):
    rows = range(start, start + 20_000)
    writer.add_files(file_rows([
        add_body(f"p={i % 100}/part-00000-{i:032d}.snappy.parquet", {"p": str(i % 100)}, i, i,
                 stats=stats % (i, i / 7, i, i + 5, i / 3, i)) for i in rows]))
written = writer.finish()
print(json.dumps([written.num_adds, most_megabytes()]))
"""

_PARTITIONS = """
import json, sys
import numpy as np
import pyarrow as pa
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.open import open_store
from deltalakedb.write.files import write_files
from deltalakedb.write.schema import schema_of
from deltalakedb.write.target import FileTarget

random = np.random.default_rng(0)
schema = pa.schema([("n", pa.int64()), ("x", pa.float64()), ("s", pa.string()), ("p", pa.int64())])

def batches():
    for _ in range(100):
        x = random.random(100_000)
        yield pa.record_batch([pa.array(random.integers(0, 2**60, 100_000)), pa.array(x),
                               pa.array(x).cast(pa.string()),
                               pa.array(random.integers(0, 300, 100_000))], schema)

store = open_store(StoreSpec(sys.argv[1]))
target = FileTarget(schema_of(schema), ("p",), {}, False)
written = write_files(store, target, pa.RecordBatchReader.from_batches(schema, batches()), "w")
print(json.dumps([len(written.adds), written.num_rows,
                  most_megabytes()]))
"""


def run(program: str, *arguments: str) -> Any:
    found = subprocess.run(
        [sys.executable, "-c", _MEASURE + program, *arguments],
        capture_output=True,
        text=True,
        timeout=280,
        check=True,
    )
    return json.loads(found.stdout)


@pytest.mark.parametrize("as_struct", ["false", "true"])
def test_a_checkpoint_of_a_million_files(tmp_path: Path, as_struct: str) -> None:
    adds, megabytes = run(_CHECKPOINT, str(tmp_path), as_struct)
    assert adds == 1_000_000
    assert megabytes <= 400


def test_many_partitions_of_an_unsorted_input(tmp_path: Path) -> None:
    """Half a gigabyte of rows, those of 300 partitions mixed: a file a partition."""
    files, rows, megabytes = run(_PARTITIONS, str(tmp_path))
    assert (files, rows) == (300, 10_000_000)
    assert megabytes <= 900
