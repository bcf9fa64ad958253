"""Opening catalogued tables in tests, and counting what reading them asks of the database."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from deltalakedb.catalog.dialects.reader import Reader
from deltalakedb.config import CacheConfig
from deltalakedb.importing.run import import_table
from deltalakedb.table.connect import connect_to_table
from deltalakedb.table.table import Table
from tests.log.made_logs import Action, write_commit

NAME = "sales"
"""Of the generated table."""


def table_uri(database: str, name: str = NAME) -> str:
    joint = "&" if "?" in database else "?"
    return f"deltasql://{database}{joint}table={quote(name, safe='').replace('.', '%2E')}"


def open_table(
    database: str, name: str = NAME, *, cache: CacheConfig | bool | None = False
) -> Table:
    """Without the local cache, unless it is asked for."""
    return connect_to_table(table_uri(database, name), cache=cache)


class Asked(list[str]):
    """The statements that were sent, small and streamed ones, in order."""

    @property
    def streams(self) -> list[str]:
        return [text for text in self if text.startswith("stream: ")]


@contextmanager
def asked(table: Table) -> Iterator[Asked]:
    """What is asked of the table's database meanwhile, by whatever uses its connection."""
    reader = table._catalog.reader
    statements = Asked()
    rows, stream = reader.rows, reader.dialect.stream

    def noted_rows(sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        statements.append(sql)
        return rows(sql, params)

    def noted_stream(sql: str, *rest: Any, **options: Any) -> Iterator[pa.RecordBatch]:
        statements.append("stream: " + sql)
        return stream(sql, *rest, **options)

    reader.__dict__["rows"] = noted_rows
    reader.dialect.__dict__["stream"] = noted_stream
    try:
        yield statements
    finally:
        del reader.__dict__["rows"], reader.dialect.__dict__["stream"]


def end_session(reader: Reader) -> None:
    """Have PostgreSQL end the reader's connection, as a restart or a firewall would."""
    import psycopg2

    [(pid,)] = reader.rows("SELECT pg_backend_pid()")
    other = psycopg2.connect(reader.url.render("postgresql", {}))
    other.autocommit = True
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    other.close()


SCHEMA = (
    '{"type":"struct","fields":['
    '{"name":"id","type":"long","nullable":true,"metadata":{}},'
    '{"name":"day","type":"date","nullable":true,"metadata":{}}]}'
)


def first_actions(**configuration: str) -> list[Action]:
    """What makes a table of id and day, partitioned by day."""
    features = {"writerFeatures": ["inCommitTimestamp"]} if configuration else {}
    protocol = {"minReaderVersion": 1, "minWriterVersion": 7 if features else 2, **features}
    metadata = {
        "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9",
        "format": {"provider": "parquet", "options": {}},
        "schemaString": SCHEMA,
        "partitionColumns": ["day"],
        "configuration": configuration,
        "createdTime": 1_700_000_000_000,
    }
    return [{"protocol": protocol}, {"metaData": metadata}]


def add(name: str, day: str = "2024-05-01", size: int = 100, least: int = 0) -> Action:
    """A file with ids from `least` to `least` + 9."""
    stats = (
        f'{{"numRecords":10,"minValues":{{"id":{least}}},"maxValues":{{"id":{least + 9}}},'
        '"nullCount":{"id":0}}'
    )
    return {
        "add": {
            "path": f"day={day}/{name}.parquet",
            "partitionValues": {"day": day},
            "size": size,
            "modificationTime": 1_700_000_000_000,
            "dataChange": True,
            "stats": stats,
        }
    }


def remove(name: str, day: str = "2024-05-01") -> Action:
    path = f"day={day}/{name}.parquet"
    return {"remove": {"path": path, "deletionTimestamp": 1_700_000_000_000, "dataChange": True}}


def committed_ms(version: int) -> int:
    """The file time of a commit: a minute after the one before."""
    return 1_700_000_000_000 + version * 60_000


class GrowingTable:
    """A small table whose log grows, and the catalog that follows it."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder / NAME
        self.database = database
        self._log = self.folder / "_delta_log"
        self._log.mkdir(parents=True)
        self._next = 0

    def commit(self, *actions: Action) -> int:
        """Write the next version, without telling the catalog."""
        self.rewrite(self._next, *actions)
        self._next += 1
        return self._next - 1

    def rewrite(self, version: int, *actions: Action) -> None:
        """Put another commit in the place of one."""
        path = write_commit(self._log, version, list(actions))
        moment = committed_ms(version) * 1_000_000
        os.utime(path, ns=(moment, moment))

    def imported(self, **options: Any) -> None:
        import_table(
            str(self.folder), database=self.database, **{"mode": "full-history", **options}
        )

    def open(self, *, cache: CacheConfig | bool | None = False) -> Table:
        return open_table(self.database, cache=cache)
