"""Rows by us and by delta-rs in turns, and warm plans; each function runs in a fresh process."""

from __future__ import annotations

import datetime
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake

import deltalakedb
from benchmarks.ours_read import table_uri

Answer = dict[str, Any]
FIRST_DAY = datetime.date(2024, 1, 1)
WANTED = 7
"""The value that a lookup asks for."""


def write_rows(folder: str, files: str, rows: str) -> Answer:
    """A plain table: `files` of `rows` each, four a day, `id` ascending."""
    random = np.random.default_rng(1)
    count = int(rows)
    for number in range(int(files)):
        day = FIRST_DAY + datetime.timedelta(days=number // 4)
        table = pa.table(
            {
                "day": pa.array([day] * count, pa.date32()),
                "id": np.arange(number * count, (number + 1) * count),
                "x": random.random(count),
                "k": random.integers(0, 100, count),
                "s": pa.array(random.integers(0, 10_000, count).astype(str)),
                "m": pa.array(random.integers(0, 1_000, count), pa.int32()),
            }
        )
        write_deltalake(folder, table, mode="append", partition_by=["day"])
    return {}


def write_partitions(folder: str, adds: str, partitions: str) -> Answer:
    """A log of one commit whose adds are spread over partitions; it has no data files."""
    log = Path(folder) / "_delta_log"
    log.mkdir(parents=True)
    names = {"p": "string", "id": "long"}
    fields = [{"name": n, "type": t, "nullable": True, "metadata": {}} for n, t in names.items()]
    metadata = {
        "id": "00000000-0000-4000-8000-000000000001",
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps({"type": "struct", "fields": fields}),
        "partitionColumns": ["p"],
        "configuration": {},
        "createdTime": 0,
    }
    with open(log / f"{0:020}.json", "w") as commit:
        protocol = {"minReaderVersion": 1, "minWriterVersion": 2}
        commit.write(json.dumps({"protocol": protocol}) + "\n")
        commit.write(json.dumps({"metaData": metadata}) + "\n")
        for number in range(int(adds)):
            value = f"k{number % int(partitions)}"
            bounds = {"minValues": {"id": number}, "maxValues": {"id": number}}
            add = {
                "path": f"p={value}/{number}.parquet",
                "partitionValues": {"p": value},
                "size": 1000,
                "modificationTime": 1,
                "dataChange": True,
                "stats": json.dumps({"numRecords": 1, **bounds, "nullCount": {"id": 0}}),
            }
            commit.write(json.dumps({"add": add}) + "\n")
    return {}


def import_table(folder: str, database: str) -> Answer:
    """The table into a SQLite file of its own."""
    deltalakedb.import_table(folder, database=database, mode="full-history")
    return {}


def in_turns(database: str, folder: str, rounds: str) -> Answer:
    """CPU seconds of every form, ours and delta-rs's: (medians of ours, of theirs) by name."""
    snapshot = deltalakedb.connect_to_table(table_uri(database, Path(folder).name)).snapshot()
    day = FIRST_DAY + datetime.timedelta(days=1)
    few = (pc.field("day") == day) & (pc.field("k") > 90)

    def theirs() -> DeltaTable:
        return DeltaTable(folder)

    def aggregate(frame: pl.LazyFrame) -> int:
        return frame.group_by("k").agg(pl.col("x").sum()).collect().height

    def one_id(frame: pl.LazyFrame) -> int:
        return frame.filter(pl.col("id") == WANTED).collect().height

    def of_delta_rs() -> Any:
        return duckdb.from_arrow(theirs().to_pyarrow_dataset())

    forms: dict[str, tuple[Callable[[], int], Callable[[], int]]] = {
        "to_pyarrow_table": (
            lambda: snapshot.to_pyarrow_table().num_rows,
            lambda: theirs().to_pyarrow_table().num_rows,
        ),
        "to_pandas": (
            lambda: len(snapshot.to_pandas()),
            lambda: len(theirs().to_pandas()),
        ),
        "to_pyarrow_table, filtered": (
            lambda: snapshot.to_pyarrow_table(few).num_rows,
            lambda: theirs().to_pyarrow_table(filters=few).num_rows,
        ),
        "Polars, aggregate": (
            lambda: aggregate(snapshot.to_polars()),
            lambda: aggregate(pl.scan_delta(folder)),
        ),
        "Polars, one id": (
            lambda: one_id(snapshot.to_polars()),
            lambda: one_id(pl.scan_delta(folder)),
        ),
        "DuckDB, aggregate": (
            lambda: len(snapshot.to_duckdb().aggregate("k, sum(x)").fetchall()),
            lambda: len(of_delta_rs().aggregate("k, sum(x)").fetchall()),
        ),
        "DuckDB, one id": (
            lambda: len(snapshot.to_duckdb().filter(f"id = {WANTED}").fetchall()),
            lambda: len(of_delta_rs().filter(f"id = {WANTED}").fetchall()),
        ),
    }
    found: Answer = {}
    for name, sides in forms.items():
        seconds: tuple[list[float], list[float]] = ([], [])
        answers: tuple[set[int], set[int]] = (set(), set())
        for number in range(int(rounds) + 1):
            for side, call in enumerate(sides):
                started = time.process_time()
                answers[side].add(call())
                if number:  # the first imports
                    seconds[side].append(time.process_time() - started)
        if answers[0] != answers[1] or len(answers[0]) != 1:
            raise AssertionError(f"{name}: {answers}")
        found[name] = [statistics.median(each) for each in seconds]
    return found


def warm_plans(database: str, folder: str, rounds: str) -> Answer:
    """CPU seconds of a plan of one partition on a snapshot that has planned before (median)."""
    uri = table_uri(database, Path(folder).name)
    snapshot = deltalakedb.connect_to_table(uri, cache=False).snapshot()
    condition = f"p = 'k{WANTED}'"
    files = [snapshot.plan(condition).num_rows for _ in range(3)][-1]
    seconds = []
    for _ in range(int(rounds)):
        started = time.process_time()
        snapshot.plan(condition)
        seconds.append(time.process_time() - started)
    return {"seconds": statistics.median(seconds), "files": files}
