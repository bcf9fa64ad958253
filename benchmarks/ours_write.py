"""Our writes, each in a fresh process (`benchmarks.probe`)."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pyarrow as pa

import deltalakedb
from deltalakedb.table import writing as writing  # what the first append would wait for

Answer = dict[str, Any]


def append_one(uri: str) -> Answer:
    """Open a table and append a row, null but in the partition columns."""
    began = time.perf_counter()
    table = deltalakedb.connect_to_table(uri, cache=False)
    rows = one_row(table.snapshot().schema, table.metadata.partition_columns)
    version = table.append(rows).version
    return {"seconds": time.perf_counter() - began, "version": version}


def checkpoint(uri: str) -> Answer:
    """A full checkpoint of the newest version."""
    table = deltalakedb.connect_to_table(uri, cache=False)
    began = time.perf_counter()
    name = table.create_checkpoint()
    return {"seconds": time.perf_counter() - began, "name": name}


def bulk(uri: str, rows: str) -> Answer:
    """Append generated rows from memory."""
    data = bulk_rows(int(rows))
    table = deltalakedb.connect_to_table(uri, cache=False)
    began = time.perf_counter()
    table.append(data)
    return {"seconds": time.perf_counter() - began, "bytes": data.nbytes}


def one_row(schema: pa.Schema, partition_columns: list[str]) -> pa.Table:
    """A row of the synthetic tables' schema."""
    values: dict[str, Any] = {"date": "2024-05-01", "region": "eu"}
    row = {name: values.get(name, "1") for name in partition_columns}
    columns = [
        pa.array([row.get(field.name)]).cast(field.type)
        if field.name in row
        else pa.nulls(1, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, names=schema.names)


def bulk_rows(rows: int) -> pa.Table:
    """Integers that climb, doubles without order, texts of 20,000 kinds: some 26 bytes a row."""
    numbers = np.random.default_rng(1)
    texts = pa.array([f"text-{i:05}" for i in range(20_000)])
    return pa.table(
        {
            "id": pa.array(np.arange(rows, dtype=np.int64)),
            "value": pa.array(numbers.random(rows)),
            "kind": texts.take(pa.array(numbers.integers(0, 20_000, rows))),
        }
    )
