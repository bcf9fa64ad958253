"""Rows of tables with deletion vectors or column mapping: by us, by delta-rs, by DuckDB's own scan.

Each function runs in a fresh process. `delta_scan` does in an environment with DuckDB's extension,
where there is nothing else of ours.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Answer = dict[str, Any]
Form = Callable[[], int]
PROPERTIES = {
    "deletion vectors": {"delta.enableDeletionVectors": "true"},
    "column mapping": {"delta.columnMapping.mode": "name"},
}
QUERIES = {
    "all rows": "SELECT * FROM {0}",
    "aggregate": "SELECT k, sum(x) FROM {0} GROUP BY k",
    "one id": "SELECT * FROM {0} WHERE id = 11",
}
"""What each is asked, of the table `{0}`."""


def write_table(folder: str, database: str, kind: str, files: str, rows: str) -> Answer:
    """`files` of `rows` each, two a day; of deletion vectors every file has one, a row in 50."""
    import numpy as np
    import pyarrow as pa

    import deltalakedb
    from benchmarks.ours_read import table_uri

    random = np.random.default_rng(1)
    count, number = int(rows), int(files)
    total = count * number
    table = pa.table(
        {
            "day": pa.array(np.arange(total) // (2 * count)),
            "id": np.arange(total),
            "x": random.random(total),
            "k": random.integers(0, 50, total),
            "s": pa.array(random.integers(0, 10_000, total).astype(str)),
        }
    )
    made = deltalakedb.create_table(
        table_uri(database, Path(folder).name),
        table.schema,
        location=folder,
        partition_by=["day"],
        properties=PROPERTIES[kind],
    )
    for half in (table.filter(np.arange(total) // count % 2 == n) for n in (0, 1)):
        made.append(half)
    if kind == "deletion vectors":
        made.delete("k = 7")
    made.close()
    return {"rows": total}


def ours(database: str, folder: str, rounds: str) -> Answer:
    """CPU seconds of each query over an open snapshot, and how many rows it gave."""
    import deltalakedb
    from benchmarks.ours_read import table_uri

    snapshot = deltalakedb.connect_to_table(table_uri(database, Path(folder).name)).snapshot()

    def one_id() -> int:
        return len(snapshot.to_duckdb().filter("id = 11").fetchall())

    return _measured(
        {
            "all rows": lambda: int(snapshot.to_pyarrow_table().num_rows),
            "aggregate": lambda: len(snapshot.to_duckdb().aggregate("k, sum(x)").fetchall()),
            "one id": one_id,
        },
        int(rounds),
    )


def query_builder(folder: str, rounds: str) -> Answer:
    """The same by delta-rs's DataFusion, the table opened each time."""
    import pyarrow as pa
    from deltalake import DeltaTable, QueryBuilder

    def form(sql: str) -> Form:
        def ask() -> int:
            found = QueryBuilder().register("t", DeltaTable(folder)).execute(sql.format("t"))
            return int(pa.table(found).num_rows)

        return ask

    return _measured({name: form(sql) for name, sql in QUERIES.items()}, int(rounds))


def delta_scan(extension: str, folder: str, rounds: str) -> Answer:
    """The same by DuckDB's extension, which reads the log each time."""
    import duckdb

    connection: Any = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    connection.execute(f"LOAD '{extension}'")

    def form(sql: str) -> Form:
        scan = sql.format(f"delta_scan('{folder}')")
        return lambda: int(connection.execute(scan).to_arrow_table().num_rows)

    return _measured({name: form(sql) for name, sql in QUERIES.items()}, int(rounds))


def _measured(forms: dict[str, Form], rounds: int) -> Answer:
    """(Median of CPU seconds, rows) of each; the first round, which imports, doesn't count."""
    found: Answer = {}
    for name, call in forms.items():
        seconds = []
        for _ in range(rounds + 1):
            started = time.process_time()
            rows = call()
            seconds.append(time.process_time() - started)
        found[name] = [statistics.median(seconds[1:]), rows]
    return found


if __name__ == "__main__":
    print(json.dumps(delta_scan(*sys.argv[1:])))
