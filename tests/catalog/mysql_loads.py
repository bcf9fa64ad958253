"""Loads made by hand for the tests of MySQL: rows with every kind of character."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.dialects.mysql.dialect import MySqlDialect
from deltalakedb.catalog.loads import ledger
from deltalakedb.catalog.loads.swap import TableFacts, index_load, swap
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.records import load_files_name
from deltalakedb.catalog.tables import files
from deltalakedb.log.rows import LIVE

TEXTS = [
    "plain",
    "plain ",
    "plain\t",
    " plain",
    "",
    " ",
    "\\",
    "\\N",
    "NULL",
    "back\\slash\\",
    "tab\there",
    "line\nfeed\r\n",
    "nul\0inside",
    "'single' \"double\" `back`",
    "comma,(paren),'; DROP TABLE dl_files; --",
    "percent %s %(x)s %%",
    "separators \x1d \x1e \x1f \x1dN \x1d\x1d",
    "umlaut äöüß",
    "e\u0301 or \u00e9",
    "emoji 🦆👩‍👩‍👧",
    "last plane \U0010ffff",
    "\ufeffmark",
    "\x1a\x08\x7f",
    "PLAIN",
]
"""Distinct, also where only case, form or trailing space tell them apart."""


def mysql_of(catalog: Catalog) -> MySqlDialect:
    assert isinstance(catalog.dialect, MySqlDialect)
    return catalog.dialect


def arrow_schema() -> pa.Schema:
    kinds = {sa.Boolean: pa.bool_(), sa.BigInteger: pa.int64()}
    return pa.schema([(c.name, kinds.get(type(c.type), pa.string())) for c in files.columns])


def file_rows(load_id: int, paths: Sequence[str], stats: Sequence[str | None]) -> pa.Table:
    """Rows of `dl_files`: integers at both ends of their range, booleans of all kinds."""
    rows: list[dict[str, Any]] = [
        {
            "load_id": load_id,
            "path": path,
            "dv_id": None if number % 2 else path,
            "partition_id": -(2**63) + number,
            "size": None if number % 5 == 0 else number * 10,
            "data_change": (True, False, None)[number % 3],
            "stats": text,
            "added_version": number,
            "removed_version": LIVE,
            "path_key": number,
            "lo0": -(2**63),
            "hi0": 2**63 - 1,
        }
        for number, (path, text) in enumerate(zip(paths, stats, strict=True))
    ]
    return pa.Table.from_pylist(rows, arrow_schema())


def new_run(catalog: Catalog, parts: int = 1) -> ledger.Run:
    """A running import with its ledger and its empty table of files."""
    run = ledger.start_run(
        catalog, table_id="t", table_name="t", location="/t", mode="fast", workers=1
    )
    ledger.plan_parts(catalog, run, [ledger.Part(i, 0, 0, 0) for i in range(parts)])
    ledger.begin_load(catalog, run, run.run_key)
    return run


def put(catalog: Catalog, run: ledger.Run, rows: pa.Table, part: int = 0) -> bool:
    """Load a part of files; False when it was loaded already."""
    with catalog.dialect.errors(), catalog.dialect.loader() as loader:
        if not loader.claim(run.run_key, part):
            return False
        loader.append(load_files_name(run.run_key), rows)
        loader.commit(run.run_key, part, rows.num_rows)
    return True


def finish(catalog: Catalog, run: ledger.Run, name: str) -> None:
    """Index the load and make it the table's live one."""
    index_load(catalog, run.run_key, [("path_key",), ("partition_id", "removed_version")])
    location = f"/{name}"
    facts = TableFacts(
        table_id=f"00000000-0000-0000-0000-{int(re.sub('[^0-9]', '', name) or 0):012}",
        namespace="",
        name=name,
        location=location,
        log_location=f"/{name}/_delta_log",
        mode="fast",
        head_version=0,
        known_since=0,
        num_files=0,
        total_bytes=0,
        skipping="[]",
        unreadable_features="",
    )
    expected = queries.table_at(catalog, location)
    swap(catalog, run, facts, load_id=run.run_key, expected=expected, summary={})


def read(catalog: Catalog, load_id: int, where: str = "1 = 1", **options: Any) -> pa.Table:
    """The rows of a load, by path as the dialect orders it."""
    schema = arrow_schema()
    sql = (
        f"SELECT {', '.join(schema.names)} FROM {load_files_name(load_id)} WHERE {where} "
        f"ORDER BY {catalog.dialect.binary_order('path')}"
    )
    return pa.Table.from_batches(catalog.dialect.stream(sql, schema, **options), schema)
