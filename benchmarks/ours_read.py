"""What we take for the questions of `delta_rs`; each function connects and answers one.

They run in fresh processes (`benchmarks.probe`), their imports before the clock, the connection to
the database after it. `cache` names the folder of cached file lists: an empty one is a cold cache,
one that another process filled a warm one, "" stands for none.
"""

from __future__ import annotations

import time
from typing import Any

import deltalakedb

Answer = dict[str, Any]


def table_uri(database: str, table: str) -> str:
    """`deltasql://` URI of a table in a database given as a URL or as the path of a SQLite file."""
    if "://" not in database:
        return f"deltasql://sqlite:///{database}?table={table}"
    return f"deltasql://{database}?table={table}"


def _open(uri: str, cache: str) -> Any:
    config = deltalakedb.CacheConfig(directory=cache) if cache else False
    return deltalakedb.connect_to_table(uri, cache=config)


def _where(date: str, region: str) -> list[tuple[str, str, Any]]:
    return [("date", "=", date), ("region", "=", region)]


def one_partition(uri: str, cache: str, date: str, region: str) -> Answer:
    """The files of one partition, with all that a plan tells of them."""
    table = _open(uri, cache)
    return {"files": table.snapshot().plan(_where(date, region)).num_rows}


def point(uri: str, cache: str, column: str, value: str) -> Answer:
    """The files whose statistics admit `column = value`."""
    table = _open(uri, cache)
    return {"files": table.snapshot().plan([(column, "=", int(value))]).num_rows}


def middle_partition(uri: str, cache: str, version: str, date: str, region: str) -> Answer:
    """The files of one partition at an older version."""
    snapshot = _open(uri, cache).snapshot(version=int(version))
    return {"version": snapshot.version, "files": snapshot.plan(_where(date, region)).num_rows}


def full_list(uri: str, cache: str) -> Answer:
    """The full list as Arrow, statistics included."""
    return {"files": _open(uri, cache).snapshot().to_arrow().num_rows}


def dataset_partition(uri: str, cache: str, date: str, region: str) -> Answer:
    """`to_pyarrow_dataset(partitions=…)`, the plan alone."""
    snapshot = _open(uri, cache).snapshot()
    dataset = snapshot.to_pyarrow_dataset(partitions=_where(date, region))
    return {"files": len(list(dataset.get_fragments()))}


def second_snapshot(uri: str, cache: str) -> Answer:
    """A second snapshot in a process that has one: its seconds, and questions to the database."""
    from deltalakedb.catalog.dialects.reader import Reader

    table = _open(uri, cache)
    table.snapshot()
    asked: list[str] = []
    ask = Reader.rows

    def counted(reader: Reader, sql: str, params: Any = ()) -> list[tuple[Any, ...]]:
        asked.append(sql)
        return ask(reader, sql, params)

    Reader.rows = counted  # type: ignore[method-assign, assignment]
    started = time.perf_counter()
    version = table.snapshot().version
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "questions": len(asked), "version": version}
