"""`dl relocate`: follow a table whose log or data has moved."""

from __future__ import annotations

import click

from deltalakedb.cli import options, output


@click.command()
@options.table
@options.database
@click.option("--log-dir", metavar="DIR", help=f"{options.log_dir_help}, where it is now.")
@click.option("--table-location", metavar="DIR", help="Where the table's data is now.")
@options.storage_option
@options.debug
def command(
    table: str,
    database: str,
    log_dir: str | None,
    table_location: str | None,
    storage_options: dict[str, str],
) -> None:
    """Follow a table whose log or data has moved.

    The log must be the one that was imported: its commits are compared with what the catalog
    knows of them. Where the log stands in the table's folder, one of the two places is enough.
    """
    from deltalakedb.table.lifetime import relocate_table

    moved = relocate_table(
        table,
        database=database,
        log_dir=log_dir,
        table_location=table_location,
        storage_options=storage_options,
    )
    output.say(
        f"Table {output.shown(moved.name)} is at {output.shown(moved.location)} now, "
        f"its log at {output.shown(moved.log_location)}"
    )
