"""Tables whose rows tests change, and what others see of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import deltalake
import pyarrow.parquet as pq

import deltalakedb as dl
from deltalakedb.table.operations.base import Base
from deltalakedb.table.table import Table

VECTORS = {"delta.enableDeletionVectors": "true"}
CHANGES = {"delta.enableChangeDataFeed": "true"}


def rows_of(table: Table) -> list[dict[str, Any]]:
    """All rows, in an order of their own."""
    return sorted(table.snapshot().to_pyarrow_table().to_pylist(), key=str)


def seen_by_delta_rs(place: Path) -> list[dict[str, Any]]:
    """The same, by delta-rs (through DuckDB-less Arrow C data: it honours vectors there)."""
    table = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(str(place)))
    found = table.execute("SELECT * FROM t").read_all()
    return sorted((dict(row) for row in found.to_struct_array().to_pylist()), key=str)


def commit_of(place: Path, version: int) -> dict[str, list[dict[str, Any]]]:
    """The actions of a commit, by kind."""
    found: dict[str, list[dict[str, Any]]] = {}
    text = (place / "_delta_log" / f"{version:020d}.json").read_text()
    for line in text.splitlines():
        if line:
            [(kind, body)] = json.loads(line).items()
            found.setdefault(kind, []).append(body)
    return found


def changes_of(place: Path, version: int) -> list[tuple[str, dict[str, Any]]]:
    """The rows of a version's change data files, with partition values as text."""
    found = []
    for body in commit_of(place, version).get("cdc", []):
        for row in pq.ParquetFile(place / body["path"]).read().to_pylist():
            found.append((row.pop("_change_type"), row | body["partitionValues"]))
    return sorted(found, key=str)


def stale(table: Table) -> Base:
    """The newest version, to be kept while others commit."""
    found = Base.read(table._catalog, None, table.table_id, None)
    assert found is not None
    return found


def connected(uri: str, **options: Any) -> Table:
    return dl.connect_to_table(uri, **options)
