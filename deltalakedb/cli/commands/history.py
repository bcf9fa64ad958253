"""`dl history`: the commits of a table."""

from __future__ import annotations

import json
from typing import Any

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.output import Column
from deltalakedb.cli.reading import open_catalog, read_table

_COLUMNS = (
    Column("Version", right=True),
    Column("Time (UTC)"),
    Column("Operation"),
    Column("Added", right=True, rank=1),
    Column("Removed", right=True, rank=2),
    Column("Bytes added", right=True, rank=4),
    Column("Engine", rank=5, elastic=True),
    Column("Details", rank=3, elastic=True),
)


@click.command()
@options.table
@options.database
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The newest N only.")
@options.output_format
@options.debug
def command(table: str, database: str, limit: int | None, output_format: str) -> None:
    """List a table's commits, the newest first."""
    from deltalakedb.catalog.reading import queries

    with open_catalog(database) as catalog:
        found = read_table(catalog, table, lambda row: queries.history(catalog, row, limit))
    if output_format == "json":
        output.write_json_lines(_json(commit) for commit in found)
    else:
        output.print_table(_COLUMNS, [_cells(commit) for commit in found])


def _json(commit: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": commit["version"],
        "timestamp": _timestamp(commit),
        "operation": commit["operation"],
        "operation_parameters": _object(commit["operation_parameters"]),
        "operation_metrics": _object(commit["operation_metrics"]),
        "engine_info": commit["engine_info"],
        "txn_id": commit["txn_id"],
        "read_version": commit["read_version"],
        "isolation_level": commit["isolation_level"],
        "is_blind_append": commit["is_blind_append"],
        "user_metadata": commit["user_metadata"],
        "commit_time": commit["commit_time"],
        "in_commit_timestamp": commit["in_commit_time"],
        "file_time": commit["file_time"],
        "num_adds": commit["num_adds"],
        "num_removes": commit["num_removes"],
        "bytes_added": commit["bytes_added"],
        "readable": bool(commit["readable"]),
    }


def _timestamp(commit: dict[str, Any]) -> int:
    """What the writer says in commitInfo; the commit's time where it says nothing."""
    told = commit["info_time"]
    return int(commit["commit_time"] if told is None else told)


def _object(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _cells(commit: dict[str, Any]) -> list[str]:
    counts = [commit["num_adds"], commit["num_removes"]]
    added, removed = ("" if n is None else f"{n:,}" for n in counts)
    return [
        str(commit["version"]),
        output.time_text(_timestamp(commit)),
        output.shown(commit["operation"] or ""),
        added,
        removed,
        output.size_text(commit["bytes_added"]),
        output.shown(commit["engine_info"] or ""),
        output.shown(_details(commit)),
    ]


def _details(commit: dict[str, Any]) -> str:
    """What the operation was asked to do, in few words."""
    told = [] if commit["readable"] else ["not readable"]
    parameters = _object(commit["operation_parameters"])
    if isinstance(parameters, dict):
        told += [
            f"{name}={value if isinstance(value, str) else json.dumps(value)}"
            for name, value in parameters.items()
            if value not in (None, "", "[]", "{}", "null")
        ]
    return ", ".join(told)
