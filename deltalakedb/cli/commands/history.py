"""`dl history`: the commits of a table."""

from __future__ import annotations

import json
from typing import Any

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.output import Column
from deltalakedb.cli.reading import open_catalog, read_table
from deltalakedb.display.text import size_text, time_text

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
    from deltalakedb.catalog.reading.commits import history
    from deltalakedb.table.history import history_entry

    with open_catalog(database) as catalog:
        rows = read_table(catalog, table, lambda row: history(catalog, row, limit))
    commits = [history_entry(row) for row in rows]
    if output_format == "json":
        output.write_json_lines(commits)
    else:
        output.print_table(_COLUMNS, [_cells(commit) for commit in commits])


def _cells(commit: dict[str, Any]) -> list[str]:
    counts = [commit["num_adds"], commit["num_removes"]]
    added, removed = ("" if n is None else f"{n:,}" for n in counts)
    return [
        str(commit["version"]),
        time_text(commit["timestamp"]),
        output.shown(commit["operation"] or ""),
        added,
        removed,
        size_text(commit["bytes_added"]),
        output.shown(commit["engine_info"] or ""),
        output.shown(_details(commit)),
    ]


def _details(commit: dict[str, Any]) -> str:
    """What the operation was asked to do, in few words."""
    told = [] if commit["readable"] else ["not readable"]
    parameters = commit["operation_parameters"]
    if isinstance(parameters, dict):
        told += [
            f"{name}={value if isinstance(value, str) else json.dumps(value)}"
            for name, value in parameters.items()
            if value not in (None, "", "[]", "{}", "null")
        ]
    return ", ".join(told)
