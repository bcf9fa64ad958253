"""`dl plan`: how the files of a query are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.output import Column
from deltalakedb.cli.reading import open_catalog, read_table
from deltalakedb.display.text import size_text

if TYPE_CHECKING:
    from deltalakedb.catalog.records import TableRow
    from deltalakedb.planning.explain import Explanation

_COLUMNS = (
    Column("Step"),
    Column("Files left", right=True),
    Column("Time", right=True),
    Column("How", elastic=True),
)


@click.command()
@options.table
@options.database
@options.version
@options.where
@options.output_format
@options.debug
def command(
    table: str, database: str, version: int | None, where: str | None, output_format: str
) -> None:
    """Explain which files a query would read.

    Explain which files a query would read, and how they are found."""
    with open_catalog(database, "deltalakedb.planning.plan") as catalog:
        from deltalakedb.catalog.reading.versions import state_to_read
        from deltalakedb.snapshot.snapshot import Snapshot

        def ask(row: TableRow) -> Explanation:
            at = row.head_version if version is None else version
            return Snapshot(catalog, row, state_to_read(catalog, row, at)).explain(where)

        found = read_table(catalog, table, ask)
    if output_format == "json":
        output.write_json(found.to_json())
    else:
        _print(found)


def _print(found: Explanation) -> None:
    name = output.shown(found.table)
    output.say(output.heading(f"{name} version {found.version}"))
    if found.predicate:
        output.say(f"where {output.shown(found.predicate)}")
    for line in found.parts():
        output.say(output.shown(line))
    output.say()
    output.print_table(
        _COLUMNS,
        [
            [
                step.name,
                "" if step.files is None else f"{step.files:,}",
                f"{step.milliseconds:.1f} ms",
                output.shown(step.detail),
            ]
            for step in found.steps
        ],
    )
    output.say()
    files = f"{found.planned_files:,} of {found.num_files:,} files"
    size = f"{size_text(found.planned_bytes)} of {size_text(found.total_bytes)}"
    output.say(f"{files}, {size}, found in {found.milliseconds:.1f} ms")
