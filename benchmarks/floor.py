"""The least that loading a table's rows can cost: bare decode, bare bulk load, bare index builds.

Rows come from an Arrow IPC file with the columns of `dl_files` as the import wrote them, so floor
and import move the same bytes. Nothing here knows the catalog beyond the names of its columns.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi
import orjson
import psycopg2
import pyarrow as pa
import pymysql
import pymysql.cursors
from sqlalchemy.engine import make_url

TABLE = "floor_files"
BATCH_ROWS = 50_000


@dataclass(frozen=True)
class Load:
    """Seconds of a bare bulk load and of the index builds after it."""

    rows: int
    load_seconds: float
    index_seconds: float


def decode(log_dir: str) -> dict[str, Any]:
    """Read every commit file and decode each line with orjson, on one core and nothing else."""
    names = sorted(
        p.name for p in Path(log_dir).iterdir() if p.suffix == ".json" and p.stem.isdigit()
    )
    actions = size = 0
    started = time.perf_counter()
    for name in names:
        with open(f"{log_dir}/{name}", "rb") as commit:
            data = commit.read()
        size += len(data)
        for line in data.splitlines():
            orjson.loads(line)
            actions += 1
    return {
        "seconds": time.perf_counter() - started,
        "commits": len(names),
        "actions": actions,
        "bytes": size,
    }


def save_rows(url: str, query: str, target: Path) -> int:
    """Copy the result of a query on PostgreSQL to an Arrow IPC file; returns the rows."""
    rows = 0
    with (
        adbc_driver_postgresql.dbapi.connect(libpq_url(url)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(query)
        reader = cursor.fetch_record_batch()
        with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_file(sink, reader.schema) as out:
            for batch in reader:
                out.write_batch(batch)
                rows += batch.num_rows
    return rows


def _batches(rows_file: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(rows_file)) as source:
        reader = pa.ipc.open_file(source)
        for index in range(reader.num_record_batches):
            batch = reader.get_batch(index)
            for offset in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(offset, BATCH_ROWS)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _schema(rows_file: Path) -> pa.Schema:
    with pa.memory_map(str(rows_file)) as source:
        return pa.ipc.open_file(source).schema


def postgresql(url: str, rows_file: Path, index_ddl: Sequence[str]) -> Load:
    """One ADBC COPY into a plain table, then the indexes; `{table}` in the DDL is its name."""
    with (
        adbc_driver_postgresql.dbapi.connect(libpq_url(url)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f"DROP TABLE IF EXISTS {TABLE}")
        cursor.adbc_ingest(TABLE, pa.Table.from_batches([], _schema(rows_file)), mode="create")
        connection.commit()
        reader = pa.RecordBatchReader.from_batches(_schema(rows_file), _batches(rows_file))
        started = time.perf_counter()
        rows = cursor.adbc_ingest(TABLE, reader, mode="append")
        connection.commit()
        load_seconds = time.perf_counter() - started
        started = time.perf_counter()
        for ddl in index_ddl:
            cursor.execute(ddl.format(table=TABLE))
        connection.commit()
        index_seconds = time.perf_counter() - started
        cursor.execute(f"DROP TABLE {TABLE}")
        connection.commit()
    return Load(rows, load_seconds, index_seconds)


def postgresql_indexes(url: str, table: str) -> list[str]:
    """The index DDL of a table, with `{table}` in place of its name and free index names."""
    with psycopg2.connect(libpq_url(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid)"
            " FROM pg_index WHERE indrelid = %s::regclass ORDER BY indexrelid",
            (table,),
        )
        found = cursor.fetchall()
    # From " USING " on nothing names the table or the index.
    return [
        f"CREATE {'UNIQUE ' if definition.startswith('CREATE UNIQUE') else ''}INDEX ON"
        " {table} USING " + definition.split(" USING ", 1)[1].replace("{", "{{").replace("}", "}}")
        for _, definition in found
    ]


SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA cache_size=-65536",
    "PRAGMA temp_store=MEMORY",
)


def sqlite(
    path: Path, rows_file: Path, index_ddl: Sequence[str], pragmas: Sequence[str] = SQLITE_PRAGMAS
) -> Load:
    """One transaction of executemany into a plain table; making Python rows is not counted."""
    schema = _schema(rows_file)
    kinds = ["INTEGER" if _is_number(f.type) else "TEXT" for f in schema]
    columns = ", ".join(f'"{f.name}" {kind}' for f, kind in zip(schema, kinds, strict=True))
    insert = f"INSERT INTO {TABLE} VALUES ({', '.join('?' * len(schema))})"
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    rows = 0
    load_seconds = 0.0
    try:
        for pragma in pragmas:
            connection.execute(pragma)
        connection.execute(f"CREATE TABLE {TABLE} ({columns})")
        connection.execute("BEGIN IMMEDIATE")
        for batch in _batches(rows_file):
            values = list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
            started = time.perf_counter()
            connection.executemany(insert, values)
            load_seconds += time.perf_counter() - started
            rows += len(values)
        started = time.perf_counter()
        connection.execute("COMMIT")
        load_seconds += time.perf_counter() - started
        started = time.perf_counter()
        for ddl in index_ddl:
            connection.execute(ddl.format(table=TABLE))
        index_seconds = time.perf_counter() - started
    finally:
        connection.close()
        path.unlink(missing_ok=True)
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
    return Load(rows, load_seconds, index_seconds)


def sqlite_indexes(path: Path, table: str) -> list[str]:
    """The index DDL of a SQLite table, with `{table}` in place of its name."""
    with sqlite3.connect(path) as connection:
        found = connection.execute(
            "SELECT name, sql FROM sqlite_master"
            " WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL",
            (table,),
        ).fetchall()
    return [
        f"CREATE INDEX floor_{name} ON {{table}} {sql[sql.index('(') :]}" for name, sql in found
    ]


def mariadb_indexes(url: str, table: str) -> list[str]:
    """The keys of a MariaDB table as DDL, with `{table}` in place of its name."""
    with _mariadb_connection(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"SHOW CREATE TABLE `{table}`")
        found = cursor.fetchone()
    lines = [line.strip().rstrip(",") for line in str(found[1] if found else "").splitlines()]
    keys = [line for line in lines if line.split(" ", 1)[0] in ("KEY", "UNIQUE", "PRIMARY")]
    return [f"ALTER TABLE {{table}} ADD {key}" for key in keys]


def _mariadb_connection(url: str) -> pymysql.Connection[pymysql.cursors.Cursor]:
    at = make_url(url)
    return pymysql.connect(
        host=at.host or "localhost",
        port=at.port or 3306,
        user=at.username,
        password=at.password or "",
        database=at.database,
        local_infile=True,
        charset="utf8mb4",
    )


def mariadb(url: str, rows_file: Path, index_ddl: Sequence[str], work: Path) -> Load:
    """LOAD DATA LOCAL INFILE of a file written beforehand into a plain table, then the indexes."""
    schema = _schema(rows_file)
    kinds = ["BIGINT" if _is_number(f.type) else "LONGTEXT" for f in schema]
    columns = ", ".join(f"`{f.name}` {kind}" for f, kind in zip(schema, kinds, strict=True))
    text_file = work / "floor.tsv"
    rows = _write_tsv(rows_file, text_file)
    connection = _mariadb_connection(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {TABLE}")
            cursor.execute(f"CREATE TABLE {TABLE} ({columns}) ENGINE=InnoDB CHARACTER SET utf8mb4")
            started = time.perf_counter()
            cursor.execute(
                f"LOAD DATA LOCAL INFILE '{text_file}' INTO TABLE {TABLE} CHARACTER SET utf8mb4"
            )
            connection.commit()
            load_seconds = time.perf_counter() - started
            started = time.perf_counter()
            for ddl in index_ddl:
                cursor.execute(ddl.format(table=TABLE))
            index_seconds = time.perf_counter() - started
            cursor.execute(f"DROP TABLE {TABLE}")
    finally:
        connection.close()
        text_file.unlink(missing_ok=True)
    return Load(rows, load_seconds, index_seconds)


def _write_tsv(rows_file: Path, target: Path) -> int:
    rows = 0
    with open(target, "w", encoding="utf-8", newline="") as out:
        for batch in _batches(rows_file):
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                out.write("\t".join(_field(value) for value in values) + "\n")
            rows += batch.num_rows
    return rows


def _field(value: object) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, str):
        return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
    return str(int(value)) if isinstance(value, bool) else str(value)


def libpq_url(url: str) -> str:
    """A SQLAlchemy URL as libpq takes it."""
    at = make_url(url)
    return at.set(drivername="postgresql").render_as_string(hide_password=False)
