"""`dl cutover`: a table's writers from files to SQL."""

from __future__ import annotations

from typing import Any

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.commands.migrate import move_options, moving, pacing, show


@click.command()
@options.table
@options.database
@click.option("--at", metavar="TIME", help="Not before: HH:MM, or ISO 8601.")
@click.option("--window", metavar="HH:MM-HH:MM", help="Only within, in this machine's time zone.")
@moving
@pacing
@options.storage_option
@options.output_format
@options.debug
def command(
    table: str,
    database: str,
    at: str | None,
    window: str | None,
    storage_options: dict[str, str],
    output_format: str,
    hooks: dict[str, str],
    **given: Any,
) -> None:
    """Hand a table over to SQL: prove it, keep file-based writers out, end their time.

    Until its time it is kept caught up. Where others always come first it is tried again a little
    later, and at last given up; the table is writable whatever fails, and the command may be
    repeated.
    """
    from deltalakedb.migrate.cut import Appointment, cutover_table
    from deltalakedb.migrate.steps import Hooks

    appointment = Appointment.of(at, window) if at or window else None
    chosen = move_options(given, storage_options=storage_options)
    if appointment is not None and not appointment.has_come():
        click.echo(f"{output.shown(table)}: kept caught up until {appointment}", err=True)
    done = cutover_table(
        table,
        database=options.with_pool(database),
        options=chosen,
        appointment=appointment,
        on=Hooks(hooks),
    )
    show(done, output_format)
