"""`dl locks`: who holds the locks of writers."""

from __future__ import annotations

import click

from deltalakedb.cli import options, output


@click.command()
@click.argument("table", metavar="[TABLE]", required=False)
@options.database
@options.debug
def command(table: str | None, database: str) -> None:
    """Show the sessions in a writing transaction.

    Show the sessions in a writing transaction, the longest first, and who tends logs.

    A session that hangs is ended on the server: SELECT pg_terminate_backend(PID), or KILL ID; on
    SQLite by ending the process.
    """
    from deltalakedb.catalog.dialects.writer import Statement
    from deltalakedb.catalog.dialects.writers import writing
    from deltalakedb.catalog.reading.queries import find_table
    from deltalakedb.cli.reading import open_catalog

    with open_catalog(database) as catalog:
        row = None if table is None else find_table(catalog, table)
        with writing(catalog.reader.url) as writer:
            holders = writer.holders()
            leases = writer.select(
                Statement(
                    f"SELECT name, holder FROM dl_leases WHERE expires_at > {writer.now} "
                    "ORDER BY name"
                )
            )
    for holder in holders:
        output.say(output.shown(holder))
    for name, holder in leases:
        if row is None or name.endswith(f"/{row.table_id}"):
            output.say(f"lease {output.shown(name)} held by {output.shown(holder)}")
    if not holders:
        output.note("No session is in a writing transaction.")
