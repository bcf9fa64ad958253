"""What delta-rs takes for the same questions; each function opens the table and answers one.

They run in fresh processes (`run`), so time and memory are those of a cold start without imports.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

# Dataset's module is imported by to_pyarrow_dataset on use; imports are not part of the figures.
import pyarrow.dataset
from deltalake import DeltaTable, write_deltalake

from benchmarks import measure
from benchmarks.ours_write import bulk_rows, one_row

Answer = dict[str, Any]


def _filters(date: str, region: str) -> list[tuple[str, str, Any]]:
    return [("date", "=", date), ("region", "=", region)]


def open_table(path: str) -> Answer:
    """`DeltaTable(path)`."""
    return {"version": DeltaTable(path).version()}


def open_and_actions(path: str) -> Answer:
    """Open, and the add actions of all live files as Arrow (`get_add_actions()`)."""
    return {"files": pa.table(DeltaTable(path).get_add_actions()).num_rows}


def full_list(path: str) -> Answer:
    """The full list as Arrow with flat statistics columns."""
    return {"files": pa.table(DeltaTable(path).get_add_actions(flatten=True)).num_rows}


def file_uris(path: str) -> Answer:
    """The paths of all live files."""
    return {"files": len(DeltaTable(path).file_uris())}


def one_partition(path: str, date: str, region: str) -> Answer:
    """The files of one partition."""
    return {"files": len(DeltaTable(path).file_uris(_filters(date, region)))}


def point(path: str, column: str, value: str) -> Answer:
    """The files whose statistics admit `column = value`, by a filter over the add actions."""
    actions = pa.table(DeltaTable(path).get_add_actions(flatten=True))
    key = int(value)
    found = actions.filter(
        pc.and_(
            pc.less_equal(actions[f"min.{column}"], key),
            pc.greater_equal(actions[f"max.{column}"], key),
        )
    )
    return {"files": found.num_rows}


def middle_partition(path: str, version: str, date: str, region: str) -> Answer:
    """The files of one partition at an older version."""
    table = DeltaTable(path, version=int(version))
    return {"version": table.version(), "files": len(table.file_uris(_filters(date, region)))}


def dataset_partition(path: str, date: str, region: str) -> Answer:
    """`to_pyarrow_dataset(partitions=…)`, the plan alone."""
    dataset = DeltaTable(path).to_pyarrow_dataset(partitions=_filters(date, region))
    return {"files": len(list(dataset.get_fragments()))}


def dataset_all(path: str) -> Answer:
    """`to_pyarrow_dataset()` of all files, the plan alone."""
    return {"files": len(list(DeltaTable(path).to_pyarrow_dataset().get_fragments()))}


def as_of(path: str, timestamp_ms: str) -> Answer:
    """Open at a timestamp."""
    when = datetime.fromtimestamp(int(timestamp_ms) / 1000, UTC)
    table = DeltaTable(path)
    table.load_as_version(when)
    return {"version": table.version()}


def append_one(path: str) -> Answer:
    """Open and append a row."""
    began = time.perf_counter()
    table = DeltaTable(path)
    schema, partition_columns = pa.schema(table.schema()), table.metadata().partition_columns
    opened = time.perf_counter()
    rows = one_row(schema, partition_columns)
    made = time.perf_counter()
    write_deltalake(table, rows, mode="append")
    seconds = opened - began + time.perf_counter() - made
    return {"seconds": seconds, "version": table.version()}


def checkpoint(path: str) -> Answer:
    """A checkpoint of an open table."""
    table = DeltaTable(path)
    began = time.perf_counter()
    table.create_checkpoint()
    return {"seconds": time.perf_counter() - began}


def bulk(path: str, rows: str) -> Answer:
    """Append generated rows from memory."""
    data = bulk_rows(int(rows))
    table = DeltaTable.create(path, data.schema)
    began = time.perf_counter()
    write_deltalake(table, data, mode="append")
    return {"seconds": time.perf_counter() - began, "bytes": data.nbytes}


def run(operation: str, *arguments: str, repeat: int = 1) -> measure.Probe:
    """Run one of the functions above in fresh processes."""
    return measure.probe(f"benchmarks.delta_rs:{operation}", *arguments, repeat=repeat)
