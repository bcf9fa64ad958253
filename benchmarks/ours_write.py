"""Our writes, each in a fresh process (`benchmarks.probe`)."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa

import deltalakedb
from benchmarks.appender import rows_of
from deltalakedb.table import writing as writing  # what the first append would wait for

Answer = dict[str, Any]
BEAT_SECONDS = 0.005


def append_one(uri: str) -> Answer:
    """Open a table and append a row, null but in the partition columns."""
    began = time.perf_counter()
    table = deltalakedb.connect_to_table(uri, cache=False)
    schema, partition_columns = table.snapshot().schema, table.metadata.partition_columns
    opened = time.perf_counter()
    # The caller's: with the first array that it makes of values pyarrow imports pandas.
    rows = one_row(schema, partition_columns)
    made = time.perf_counter()
    version = table.append(rows).version
    return {"seconds": opened - began + time.perf_counter() - made, "version": version}


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


def ten_tables(rounds: str, *uris: str) -> Answer:
    """Appends to each of some tables, one by one and in one transaction, in turns."""
    tables = [deltalakedb.connect_to_table(uri, cache=False) for uri in uris]
    database = uris[0].removeprefix("deltasql://").partition("?")[0]
    alone, together = [], []
    for number in range(int(rounds) + 1):
        rows = rows_of(number, 10)
        began = time.perf_counter()
        for table in tables:
            table.append(rows)
        between = time.perf_counter()
        with deltalakedb.begin(database) as tx:
            for table in tables:
                tx.append(table, rows)
        alone.append(between - began)
        together.append(time.perf_counter() - between)
    # The first round imports and connects.
    medians = {"alone": median(alone[1:]), "together": median(together[1:])}
    return {"seconds": sum(together), **medians}


def snapshots(*uris: str) -> Answer:
    """Snapshots one after the other, then by the event loop beside a heartbeat."""

    async def load() -> tuple[float, float]:
        late = 0.0

        async def beat() -> None:
            nonlocal late
            while True:
                expected = time.perf_counter() + BEAT_SECONDS
                await asyncio.sleep(BEAT_SECONDS)
                late = max(late, time.perf_counter() - expected)

        heart = asyncio.create_task(beat())
        operations = deltalakedb.AsyncDeltaLakeOperations()
        await asyncio.gather(*[operations.snapshot_async(uri) for uri in uris[:4]])
        late = 0.0
        began = time.perf_counter()
        found = await asyncio.gather(*[operations.snapshot_async(uri) for uri in uris])
        seconds = time.perf_counter() - began
        heart.cancel()
        assert [each.version for each in found] == [0] * len(uris)
        return seconds, late

    together, late = asyncio.run(load())
    began = time.perf_counter()
    for uri in uris:
        assert deltalakedb.connect_to_table(uri, cache=False).snapshot().version == 0
    one_by_one = time.perf_counter() - began
    return {"seconds": together, "together": together, "one_by_one": one_by_one, "late": late}


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
