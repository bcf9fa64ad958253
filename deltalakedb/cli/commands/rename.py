"""`dl rename`: another name for a table."""

from __future__ import annotations

import click

from deltalakedb.cli import options, output


@click.command()
@options.table
@click.argument("new_name", metavar="NEW-NAME")
@options.database
@options.debug
def command(table: str, new_name: str, database: str) -> None:
    """Call a table NEW-NAME, which is [namespace.]name.

    Whoever has the table open goes on; its old name is free.
    """
    from deltalakedb.table.lifetime import rename_table

    moved = rename_table(table, new_name, database=database)
    output.say(f"Table {moved.table_id} is called {output.shown(moved.name)} now")
