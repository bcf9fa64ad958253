"""Small logs in numbers, and what a catalog holds of them without what differs from run to run."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

SCHEMA = json.dumps(
    {
        "type": "struct",
        "fields": [
            {"name": n, "type": t, "nullable": True, "metadata": {}}
            for n, t in (("id", "long"), ("d", "string"))
        ],
    }
)


def write_log(
    table: Path, commits: int = 3, first: int = 0, engine: str = "delta-rs:1.6.6"
) -> Path:
    """Append commits to a table's log; each adds a file of 10 rows (which isn't written)."""
    log = table / "_delta_log"
    log.mkdir(parents=True, exist_ok=True)
    for version in range(first, first + commits):
        (log / f"{version:020d}.json").write_text(
            "\n".join(json.dumps(action) for action in _actions(table.name, version, engine)) + "\n"
        )
    return table


def _actions(name: str, version: int, engine: str) -> list[dict[str, Any]]:
    info = {
        "timestamp": 1_700_000_000_000 + version * 1000,
        "operation": "WRITE",
        "operationParameters": {"mode": "Append"},
        "engineInfo": engine,
        "userName": "ada",
    }
    actions: list[dict[str, Any]] = [{"commitInfo": info}]
    if version == 0:
        metadata = {
            "id": f"id-{name}",
            "format": {"provider": "parquet", "options": {}},
            "schemaString": SCHEMA,
            "partitionColumns": ["d"],
            "configuration": {},
            "createdTime": 1_700_000_000_000,
        }
        protocol = {"minReaderVersion": 1, "minWriterVersion": 2}
        actions += [{"protocol": protocol}, {"metaData": metadata}]
    stats = {
        "numRecords": 10,
        "minValues": {"id": version * 10},
        "maxValues": {"id": version * 10 + 9},
        "nullCount": {"id": 0},
    }
    add = {
        "path": f"d=2024-01-{version + 1:02d}/part-{version}.parquet",
        "partitionValues": {"d": f"2024-01-{version + 1:02d}"},
        "size": 1000 + version,
        "modificationTime": 1_700_000_000_000 + version,
        "dataChange": True,
        "stats": json.dumps(stats),
    }
    return [*actions, {"add": add}]


def fleet_of(folder: Path, count: int, commits: int = 3) -> list[Path]:
    """Tables `t000`, `t001`, … below a folder."""
    return [write_log(folder / f"t{n:03d}", commits) for n in range(count)]


_OWN = {
    "load_id",
    "run_key",
    "run_id",
    "table_id",
    "table_key",
    "live_load",
    "created_at",
    "updated_at",
    "started_at",
    "finished_at",
    "seconds",
    "workers",
    "location",
    "log_location",
    "location_hash",
}
_TABLES = (
    "dl_tables",
    "dl_heads",
    "dl_mirror",
    "dl_files_heap",
    "dl_versions",
    "dl_partitions",
    "dl_metadata",
    "dl_protocols",
    "dl_txns",
    "dl_domains",
    "dl_change_files",
    "dl_other_actions",
    "dl_import_runs",
)


def content(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of a SQLite catalog, sorted, without ids and times that a run makes up."""
    found = {}
    with sqlite3.connect(database) as connection:
        for table in _TABLES:
            columns = [r[1] for r in connection.execute(f"PRAGMA table_info({table})")]
            kept = ", ".join(c for c in columns if c not in _OWN)
            rows = connection.execute(f"SELECT {kept} FROM {table}").fetchall()
            found[table] = sorted(rows, key=repr)
    connection.close()
    return found


def write_data(table: Path, commits: int = 3, first: int = 0) -> None:
    """Files of the size that the log gives them."""
    for version in range(first, first + commits):
        path = table / f"d=2024-01-{version + 1:02d}" / f"part-{version}.parquet"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(1000 + version))


def add_actions(table: Path, version: int, *actions: dict[str, Any]) -> None:
    """More actions in a commit that is there."""
    path = table / "_delta_log" / f"{version:020d}.json"
    with path.open("a") as file:
        file.writelines(json.dumps(action) + "\n" for action in actions)
