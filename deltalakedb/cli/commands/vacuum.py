"""`dl vacuum`: delete files that no version within the retention needs."""

from __future__ import annotations

import click

from deltalakedb.cli import options, output
from deltalakedb.display.text import count_text


@click.command()
@options.table
@options.database
@click.option("--retention-hours", type=float, metavar="HOURS", help="Else the table's.")
@click.option("--force", is_flag=True, help="Also with less than the table's retention.")
@click.option("--full", is_flag=True, help="List the folder, for files that nobody knows of.")
@click.option(
    "--keep-version", type=int, multiple=True, metavar="VERSION", help="It and all later ones stay."
)
@click.option("--dry-run", is_flag=True, help="Name the files, and delete none.")
@options.output_format
@options.storage_option
@options.debug
def command(
    table: str,
    database: str,
    retention_hours: float | None,
    force: bool,
    full: bool,
    keep_version: tuple[int, ...],
    dry_run: bool,
    output_format: str,
    storage_options: dict[str, str],
) -> None:
    """Delete files that no version needs.

    Delete files that no version within the retention needs, without a LIST."""
    from deltalakedb.table.connect import connect_to_table
    from deltalakedb.uri import table_uri

    opened = connect_to_table(table_uri(database, table), storage_options=storage_options)
    names = opened.vacuum(
        retention_hours, dry_run, not force, full=full, keep_versions=list(keep_version)
    )
    if output_format == "json":
        output.write_json({"table": opened.name, "dry_run": dry_run, "files": names})
        return
    if dry_run:
        for name in names:
            output.say(output.shown(name))
    would = "Would delete" if dry_run else "Deleted"
    output.say(f"{would} {count_text(len(names), 'file')} of {output.shown(opened.name)}")
