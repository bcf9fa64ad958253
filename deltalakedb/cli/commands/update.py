"""`dl update`: new values in rows of a table."""

from __future__ import annotations

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.place import Place


@click.command()
@options.table
@options.database
@click.option(
    "--set",
    "settings",
    multiple=True,
    required=True,
    metavar="COLUMN=SQL",
    help="What a column becomes, over the old values; may be given often.",
)
@click.option("--where", "predicate", metavar="SQL", help="Which rows: those for which it is TRUE.")
@click.option("--all", "every", is_flag=True, help="All rows.")
@click.option("--if-version", type=int, metavar="N", help="Only while the table is at version N.")
@click.option("--token", metavar="TEXT", help="Names this call: run again, it changes no more.")
@options.json_output
@options.storage_option
@options.places
@options.debug
def command(
    table: str,
    database: str,
    settings: tuple[str, ...],
    predicate: str | None,
    every: bool,
    if_version: int | None,
    token: str | None,
    json_output: str | None,
    storage_options: dict[str, str],
    workers: int | None,
    scheduler: str | None,
    local_directory: str | None,
) -> None:
    """Set columns of rows to the values of expressions."""
    place = Place(workers, scheduler, local_directory)
    output.check_target(json_output)
    if (predicate is None) != every:
        raise click.UsageError("say which rows to update: --where SQL, or --all")
    updates = {}
    for setting in settings:
        column, equals, sql = setting.partition("=")
        if not equals or not column.strip() or not sql.strip():
            raise click.UsageError(f"--set takes COLUMN=SQL, not {setting}")
        updates[column.strip()] = sql
    from deltalakedb.cli.progress import display_progress
    from deltalakedb.table.connect import connect_to_table
    from deltalakedb.uri import table_uri

    opened = connect_to_table(table_uri(database, table), storage_options=storage_options)
    with display_progress() as progress, place.client(progress) as (client, _):
        found = opened.update(
            updates, predicate=predicate, if_version=if_version, token=token, client=client
        )
    if json_output is not None:
        output.write_to(json_output, output.json_text(found, indent=True) + b"\n")
    if json_output != "-":
        output.say(
            f"Version {found['version']} of {output.shown(opened.name)}: "
            f"{found['num_updated_rows']:,} rows updated"
        )
