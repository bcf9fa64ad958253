"""`dl tables`: what is in the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.commands.mirror import status_json
from deltalakedb.cli.output import Column
from deltalakedb.cli.reading import open_catalog
from deltalakedb.display.text import size_text, time_text

if TYPE_CHECKING:
    from deltalakedb.catalog.reading.catalog import LightCatalog
    from deltalakedb.catalog.records import TableRow
    from deltalakedb.mirror.status import MirrorStatus

_MIRROR_COLUMNS = (
    Column("Table"),
    Column("Authority", rank=2),
    Column("Version", right=True),
    Column("Published", right=True),
    Column("Durable", right=True),
    Column("Waiting", right=True),
    Column("Checkpoint", right=True, rank=1),
    Column("Marks"),
)
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
@click.argument("pattern", metavar="[PATTERN]", required=False)
@click.option("--mirror", is_flag=True, help="Show how far each log follows the catalog.")
@options.database
@options.output_format
@options.debug
def command(pattern: str | None, mirror: bool, database: str, output_format: str) -> None:
    """List the tables of the catalog.

    PATTERN names those that are wanted, such as 'sales.*'.
    """
    import fnmatch

    from deltalakedb.catalog.reading.queries import all_tables

    with open_catalog(database) as catalog:
        found = all_tables(catalog)
        if pattern is not None:
            found = [row for row in found if fnmatch.fnmatchcase(row.full_name, pattern)]
        states = _states(catalog, found) if mirror else None
    if output_format == "json":
        lines = [_json(row) for row in found]
        for line, row, state in zip(lines, found, states or (), strict=False):
            line["mirror"] = {
                **{k: v for k, v in status_json(row, state).items() if k not in line},
                "marks": state.marks,
            }
        output.write_json_lines(lines)
    elif not found:
        none = "No tables yet; `dl import` brings one in."
        output.note(none if pattern is None else f"No table fits {output.shown(pattern)}.")
    elif states is not None:
        cells = [_mirror_cells(*both) for both in zip(found, states, strict=True)]
        output.print_table(_MIRROR_COLUMNS, cells)
    else:
        output.print_table(_COLUMNS, [_cells(row) for row in found])


def _states(catalog: LightCatalog, found: list[TableRow]) -> list[MirrorStatus]:
    from deltalakedb.mirror.status import mirror_status

    return mirror_status(catalog, found) if found else []


def _mirror_cells(row: TableRow, state: MirrorStatus) -> list[str]:
    numbers = (
        row.head_version,
        state.published_version,
        state.durable_version,
        state.waiting,
        state.checkpoint_version,
    )
    return [
        output.shown(row.full_name),
        row.authority,
        *("" if number is None else str(number) for number in numbers),
        ", ".join(state.marks),
    ]


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
