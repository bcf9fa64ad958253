"""`python -m benchmarks.appender KIND TARGET --seconds S --rows N`: one process that appends.

It prints `ready`, waits for a line on standard input, appends until the time is over, and prints
one JSON object: failures by their text, the seconds of each acknowledged append, CPU seconds.
KIND is one of KINDS, `bare` being the floor; TARGET is what that kind is given.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import changers

Append = Callable[[int], float | None]
"""Appends; returns the seconds from COMMIT until the version was in the log, where known."""
PUT_SECONDS = 0.03


def rows_of(number: int, count: int) -> pa.Table:
    """`count` rows whose ids nobody else writes."""
    first = (os.getpid() << 32) + number * count
    return pa.table(
        {
            "id": pa.array(range(first, first + count), pa.int64()),
            "day": pa.array(["2024-05-01"] * count),
            "value": pa.array([float(i) for i in range(count)]),
        }
    )


def ours(target: str, count: int) -> Append:
    """Appends by our commit path; TARGET is a `deltasql://` URI."""
    import deltalakedb
    import deltalakedb.table.writing  # what the first append would import

    table = deltalakedb.connect_to_table(target)
    return lambda number: table.append(rows_of(number, count)).publish_seconds


def slow_puts(target: str, count: int) -> Append:
    """`ours` where each put into the log takes 30 ms longer, as in an object store."""
    from deltalakedb.storage.local import LocalStore
    from deltalakedb.storage.store import Content

    put = LocalStore.put_if_absent

    def slow(self: LocalStore, name: str, data: Content) -> bool:
        time.sleep(PUT_SECONDS)
        return put(self, name, data)

    LocalStore.put_if_absent = slow  # type: ignore[method-assign]
    return ours(target, count)


def unpublished(target: str, count: int) -> Append:
    """`slow_puts` by calls that don't wait for the log, of which few versions may be behind."""
    import deltalakedb
    from benchmarks.section_conditions import MAX_UNPUBLISHED
    from deltalakedb.table import transaction

    transaction.MAX_UNPUBLISHED = MAX_UNPUBLISHED
    slow_puts(target, count)
    table = deltalakedb.connect_to_table(target)

    def append(number: int) -> None:
        table.append(rows_of(number, count), mirror="async")

    return append


def some_tables(target: str, count: int) -> Append:
    """Transactions over tables chosen at random.

    TARGET is JSON: `database`, the `tables`, and how many of them a transaction writes (`some`).
    """
    import deltalakedb
    import deltalakedb.table.writing

    given = json.loads(target)
    chance = random.Random(os.getpid())
    uri = f"deltasql://{given['database']}?table="
    opened = {name: deltalakedb.connect_to_table(uri + name) for name in given["tables"]}
    deltalakedb.begin(given["database"]).rollback()  # what the first one would import

    def append(number: int) -> None:
        chosen = chance.sample(given["tables"], given["some"])
        rows = rows_of(number, count)
        if len(chosen) == 1:
            opened[chosen[0]].append(rows)
            return
        with deltalakedb.begin(given["database"]) as tx:
            for name in chosen:
                tx.append(name, rows)

    return append


def delta_rs(target: str, count: int) -> Append:
    """Appends by delta-rs with its defaults; TARGET is a folder."""
    from deltalake import DeltaTable, write_deltalake

    table = DeltaTable(target)
    return lambda number: write_deltalake(table, rows_of(number, count), mode="append")


def lake(target: str, connection: Any = None) -> Any:
    """A connection of DuckDB with a lake attached as `lake`; see `benchmarks.ducklake`.

    `connection`: one that has the extensions.
    """
    given = json.loads(target)
    if connection is None:
        import duckdb

        connection = duckdb.connect(config={"allow_unsigned_extensions": "true", "threads": "1"})
        for extension in given["extensions"]:
            connection.execute(f"LOAD '{extension}'")
    connection.execute(
        f"ATTACH 'ducklake:postgres:{given['metadata']}' AS lake "
        f"(DATA_PATH '{given['data']}', DATA_INLINING_ROW_LIMIT 0)"
    )
    return connection


def ducklake(target: str, count: int) -> Append:
    """Appends by DuckLake; TARGET is JSON with `metadata`, `data`, `table`, `extensions`."""
    connection = lake(target)
    table = json.loads(target)["table"]

    def append(number: int) -> None:
        connection.register("rows", rows_of(number, count))
        connection.execute(f"INSERT INTO lake.{table} SELECT * FROM rows")

    return append


def bare(target: str, count: int) -> Append:
    """The floor: a Parquet file, one transaction with nothing checked, a link into the log.

    TARGET is JSON with `database` (a libpq URL), `folder` and `table` (a number).
    """
    import psycopg2

    given = json.loads(target)
    folder = Path(given["folder"])
    log = folder / "_delta_log"
    connection = psycopg2.connect(given["database"])
    connection.autocommit = True  # BEGIN and COMMIT stand in the statements
    cursor = connection.cursor()
    table = given["table"]

    def append(number: int) -> None:
        name = f"part-{uuid.uuid4()}.parquet"
        pq.write_table(rows_of(number, count), folder / name)
        size = (folder / name).stat().st_size
        stats = json.dumps({"numRecords": count, "minValues": {}, "maxValues": {}})
        cursor.execute("BEGIN; SELECT head FROM heads WHERE id = %s FOR UPDATE", (table,))
        version = cursor.fetchone()[0] + 1
        add = {"path": name, "partitionValues": {}, "size": size, "modificationTime": 0}
        lines = [
            json.dumps(
                {"commitInfo": {"timestamp": int(time.time() * 1000), "operation": "WRITE"}}
            ),
            json.dumps({"add": {**add, "dataChange": True, "stats": stats}}),
        ]
        body = "\n".join(lines).encode() + b"\n"
        cursor.execute(
            "INSERT INTO files VALUES (%s, %s, %s, %s, %s);"
            "INSERT INTO versions VALUES (%s, %s, 1);"
            "INSERT INTO outbox VALUES (%s, %s, %s);"
            "UPDATE heads SET head = %s WHERE id = %s; COMMIT",
            (
                table,
                version,
                name,
                size,
                stats,
                table,
                version,
                table,
                version,
                body,
                version,
                table,
            ),
        )
        temporary = log / f".{name}.tmp"
        temporary.write_bytes(body)
        os.link(temporary, log / f"{version:020}.json")
        temporary.unlink()

    return append


BARE_SCHEMA = (
    "CREATE TABLE heads (id int PRIMARY KEY, head bigint) WITH (fillfactor = 20);"
    "CREATE TABLE files (id int, version bigint, path text, size bigint, stats text);"
    "CREATE INDEX ON files (id, version);"
    "CREATE TABLE versions (id int, version bigint, files bigint, PRIMARY KEY (id, version));"
    "CREATE TABLE outbox (id int, version bigint, bytes bytea, PRIMARY KEY (id, version))"
)

KINDS: dict[str, Callable[[str, int], Append]] = {
    "ours": ours,
    "ours-grouped": ours,
    "ours-slow-puts": slow_puts,
    "ours-slow-puts-grouped": slow_puts,
    "ours-unpublished": unpublished,
    "ours-some-tables": some_tables,
    "delta-rs": delta_rs,
    "ducklake": ducklake,
    "bare": bare,
    **changers.KINDS,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rows", type=int, default=10)
    given = parser.parse_args()
    append = KINDS[given.kind](given.target, given.rows)
    # What Arrow imports with its first table and file (pandas, if it is there) is no append.
    pq.write_table(rows_of(0, given.rows), pa.BufferOutputStream())
    print("ready", flush=True)
    sys.stdin.readline()
    before = time.process_time()
    end = time.monotonic() + given.seconds
    taken: list[float] = []
    lags: list[float] = []
    failures: Counter[str] = Counter()
    number = 0
    while (begun := time.monotonic()) < end:
        number += 1
        try:
            lag = append(number)
        except Exception as error:  # noqa: BLE001 - peers fail; how often is the figure
            failures[_short(error)] += 1
        else:
            taken.append(time.monotonic() - begun)
            if lag is not None:
                lags.append(lag)
    result: dict[str, Any] = {
        "seconds": taken,
        "lags": lags,
        "failures": dict(failures),
        "cpu": time.process_time() - before,
    }
    print(json.dumps(result), flush=True)


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else ''}"


if __name__ == "__main__":
    main()
