"""`dl tables`: what is in the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.output import Column
from deltalakedb.cli.reading import open_catalog
from deltalakedb.display.text import size_text, time_text

if TYPE_CHECKING:
    from deltalakedb.catalog.records import TableRow

_COLUMNS = (
    Column("Table"),
    Column("Version", right=True),
    Column("Since", right=True, rank=3),
    Column("Files", right=True),
    Column("Size", right=True),
    Column("Updated (UTC)", rank=2),
    Column("Location", rank=1, elastic=True),
    Column("Id", rank=4),
)


@click.command()
@options.database
@options.output_format
@options.debug
def command(database: str, output_format: str) -> None:
    """List the tables of the catalog."""
    from deltalakedb.catalog.reading.queries import all_tables

    with open_catalog(database) as catalog:
        found = all_tables(catalog)
    if output_format == "json":
        output.write_json_lines(_json(row) for row in found)
    elif found:
        output.print_table(_COLUMNS, [_cells(row) for row in found])
    else:
        output.note("No tables yet; `dl import` brings one in.")


def _json(row: TableRow) -> dict[str, Any]:
    return {
        "table_id": row.table_id,
        "name": row.full_name,
        "location": row.location,
        "log_location": row.log_location,
        "authority": row.authority,
        "mode": row.mode,
        "version": row.head_version,
        "known_since": row.known_since,
        "num_files": row.num_files,
        "total_bytes": row.total_bytes,
        "unreadable_features": [f for f in row.unreadable_features.split(",") if f],
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def _cells(row: TableRow) -> list[str]:
    return [
        output.shown(row.full_name),
        str(row.head_version),
        str(row.known_since),
        f"{row.num_files:,}",
        size_text(row.total_bytes),
        time_text(row.updated_at),
        output.shown(row.location),
        row.table_id,
    ]
