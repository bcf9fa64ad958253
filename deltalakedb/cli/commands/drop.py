"""`dl drop`: a table out of the catalog."""

from __future__ import annotations

import click

from deltalakedb.cli import options, output


@click.command()
@options.table
@options.database
@options.debug
def command(table: str, database: str) -> None:
    """Take a table out of the catalog.

    Its data and its log stay as they are, so that it can be imported again; its name is free.
    """
    from deltalakedb.table.lifetime import drop_table

    dropped = drop_table(table, database=database)
    output.say(
        f"Dropped {output.shown(dropped.name)} ({dropped.table_id}); "
        f"its log stays at {output.shown(dropped.log_location)}"
    )
    if not dropped.rows_removed:
        output.note("Somebody still reads its rows; run `dl gc` later to remove them.")
