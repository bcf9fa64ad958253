"""`dl drop`: a table out of the catalog."""

from __future__ import annotations

import click

from deltalakedb.cli import options, output
from deltalakedb.display.text import count_text


@click.command()
@options.table
@options.database
@click.option("--purge", is_flag=True, help="Remove its data and its log too, for good.")
@click.option("--yes", is_flag=True, help="Purge without asking.")
@click.option(
    "--writers-stopped",
    is_flag=True,
    help="Purge a table whose log decides: nobody writes to its files any more.",
)
@options.storage_option
@options.debug
def command(
    table: str,
    database: str,
    purge: bool,
    yes: bool,
    writers_stopped: bool,
    storage_options: dict[str, str],
) -> None:
    """Take a table out of the catalog.

    Its data and its log stay as they are, so that it can be imported again; its name is free.
    With --purge they are removed.
    """
    from deltalakedb.table.lifetime import drop_table

    if purge and not yes:
        _confirm(table)
    dropped = drop_table(
        table,
        database=database,
        purge=purge,
        writers_stopped=writers_stopped,
        storage_options=storage_options,
    )
    if dropped.files_removed is None:
        what = f"its log stays at {output.shown(dropped.log_location)}"
    else:
        removed = count_text(dropped.files_removed, "file")
        what = f"removed {removed} in {output.shown(dropped.location)}"
    output.say(f"Dropped {output.shown(dropped.name)} ({dropped.table_id}); {what}")
    if not dropped.rows_removed:
        output.note("Somebody still reads its rows; run `dl gc` later to remove them.")


def _confirm(table: str) -> None:
    import sys

    if not sys.stdin.isatty():
        raise click.UsageError("--purge removes data and log for good; confirm it by --yes")
    click.confirm(f"Remove the data and the log of {output.shown(table)} for good?", abort=True)
