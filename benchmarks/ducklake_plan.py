"""Plans of DuckLake: `python -m benchmarks.ducklake_plan fill|ask TARGET …`, in its environment.

`fill TARGET OURS FILES_TABLE` puts the live files of a table of ours (`OURS`: the URL of its
PostgreSQL database) with their statistics into a lake, as DuckLake itself would have written them.
`ask TARGET WHERE` tells how long it takes to the plan of `SELECT … WHERE`, an empty WHERE how long
the whole list with statistics takes. Each prints one JSON object. The catalog's files lead to one
file: where it is gone, a scan ends when it has its plan and opens the first file of it; where it is
there, without rows, `EXPLAIN ANALYZE` tells how many files the plan has.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.appender import lake
from benchmarks.memory import high_water_mb

# The columns of `benchmarks.synthetic`, with DuckLake's types, partition columns last.
COLUMNS = {
    "id": "BIGINT",
    "ts": "TIMESTAMPTZ",
    "uid": "BIGINT",
    "due": "DATE",
    "amt": "DOUBLE",
    "lat": "DOUBLE",
    "sku": "VARCHAR",
    "qty": "INTEGER",
    "date": "DATE",
    "region": "VARCHAR",
}
PARTITION_COLUMNS = ("date", "region")
_META = "__ducklake_metadata_lake"
_ROWS_READ = re.compile(r"Total Files Read: (\d+)")
_RECORDS = "CAST(stats->>'numRecords' AS BIGINT)"


def _file(given: dict[str, Any]) -> Path:
    return Path(given["data"]) / "file.parquet"


def fill(target: str, ours: str, files_table: str) -> dict[str, Any]:
    """Make the table, by DuckLake, and its files' rows in the catalog, by SQL."""
    given = json.loads(target)
    table = given["table"]
    connection = lake(target)
    run = connection.execute
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    run(f"CREATE TABLE lake.{table} ({columns})")
    run(f"ALTER TABLE lake.{table} SET PARTITIONED BY ({', '.join(PARTITION_COLUMNS)})")
    empty = ", ".join(f"CAST(NULL AS {kind}) AS {name}" for name, kind in COLUMNS.items())
    _file(given).parent.mkdir(parents=True, exist_ok=True)
    run(f"COPY (SELECT {empty} WHERE false) TO '{_file(given)}' (FORMAT parquet)")
    footer = int.from_bytes(_file(given).read_bytes()[-8:-4], "little")
    run(f"ATTACH '{ours}' AS ours (TYPE postgres, READ_ONLY)")
    run(f"ATTACH '{given['metadata']}' AS pg (TYPE postgres)")
    [table_id] = _one(connection, "SELECT max(table_id) FROM {meta}.ducklake_table")
    [snapshot] = _one(connection, "SELECT max(snapshot_id) FROM {meta}.ducklake_snapshot")
    [partition] = _one(connection, "SELECT max(partition_id) FROM {meta}.ducklake_partition_info")
    run(
        "CREATE TEMP TABLE files AS SELECT row_number() OVER () - 1 AS file, f.size, "
        "CAST(f.stats AS JSON) AS stats, CAST(p.partition_values AS JSON) AS parts "
        f"FROM ours.public.{files_table} f JOIN ours.public.dl_partitions p "
        f"USING (load_id, partition_id) WHERE f.removed_version = {2**63 - 1}"
    )
    [count] = _one(connection, "SELECT count(*) FROM files")
    run(
        "INSERT INTO pg.public.ducklake_data_file (data_file_id, table_id, begin_snapshot, path, "
        "path_is_relative, file_format, record_count, file_size_bytes, footer_size, row_id_start, "
        f"partition_id) SELECT file, {table_id}, {snapshot}, '{_file(given)}', false, 'parquet', "
        f"{_RECORDS}, size, {footer}, file * 100000, {partition} FROM files"
    )
    for number, (name, _) in enumerate(COLUMNS.items(), 1):
        if name in PARTITION_COLUMNS:
            low = high = f"parts->>'{name}'"
            nulls = "0"
        else:
            low, high = f"stats->'minValues'->>'{name}'", f"stats->'maxValues'->>'{name}'"
            nulls = f"coalesce(CAST(stats->'nullCount'->>'{name}' AS BIGINT), 0)"
        run(
            "INSERT INTO pg.public.ducklake_file_column_stats (data_file_id, table_id, column_id, "
            "column_size_bytes, value_count, null_count, min_value, max_value) SELECT file, "
            f"{table_id}, {number}, 1000, {_RECORDS} - {nulls}, {nulls}, {low}, {high} FROM files"
        )
    for place, name in enumerate(PARTITION_COLUMNS):
        run(
            "INSERT INTO pg.public.ducklake_file_partition_value (data_file_id, table_id, "
            f"partition_key_index, partition_value) SELECT file, {table_id}, {place}, "
            f"parts->>'{name}' FROM files"
        )
    run(f"UPDATE pg.public.ducklake_snapshot SET next_file_id = {count} WHERE true")
    return {"files": count}


def ask(target: str, where: str) -> dict[str, Any]:
    """Seconds from the connection to the plan (its extensions are loaded before), and its files."""
    import duckdb

    given = json.loads(target)
    table, file = given["table"], _file(given)
    loaded = lake(target)
    loaded.execute("DETACH lake")
    hidden = file.with_suffix(".hidden")
    file.rename(hidden)
    try:
        started = time.perf_counter()
        connection = lake(target, loaded)
        if where:
            try:
                connection.execute(f"SELECT * FROM lake.{table} WHERE {where}").fetchall()
            except duckdb.IOException as error:
                if file.name not in str(error):
                    raise
            else:
                raise RuntimeError("no file was opened")
            files = 0
        else:
            files = connection.execute(
                f"FROM ducklake_list_files('lake', '{table}')"
            ).to_arrow_table()
            stats = f"FROM {_META}.ducklake_file_column_stats"
            files = files.num_rows if connection.execute(stats).to_arrow_table().num_rows else 0
        seconds = time.perf_counter() - started
        peak = high_water_mb()
    finally:
        hidden.rename(file)
    if where:
        sql = f"EXPLAIN ANALYZE SELECT * FROM lake.{table} WHERE {where}"
        [[_, text]] = connection.execute(sql).fetchall()
        found = _ROWS_READ.search(text)
        files = int(found[1]) if found else 0
    return {"seconds": seconds, "files": files, "peak_mb": peak}


def _one(connection: Any, sql: str) -> Any:
    return connection.execute(sql.format(meta=_META)).fetchone()


if __name__ == "__main__":
    answer = fill(*sys.argv[2:]) if sys.argv[1] == "fill" else ask(*sys.argv[2:])
    print(json.dumps(answer))
