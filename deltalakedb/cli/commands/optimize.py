"""`dl optimize`: fewer, larger or better ordered files."""

from __future__ import annotations

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.place import Place


@click.command()
@options.table
@options.database
@click.option("--z-order", metavar="A,B", help="Order rows by these columns at once, too.")
@click.option("--where", metavar="SQL", help="Of the partitions that this condition is true of.")
@click.option("--target-size", type=click.IntRange(1), metavar="BYTES", help="Of a file.")
@options.output_format
@options.storage_option
@options.places
@options.debug
def command(
    table: str,
    database: str,
    z_order: str | None,
    where: str | None,
    target_size: int | None,
    output_format: str,
    storage_options: dict[str, str],
    workers: int | None,
    scheduler: str | None,
    local_directory: str | None,
) -> None:
    """Write small files, and those with many deleted rows, anew.

    A bin of files is a commit. Writers go on meanwhile: a bin whose files they change is done
    again. What is finished isn't read again.
    """
    place = Place(workers, scheduler, local_directory)
    from deltalakedb.cli.progress import display_progress
    from deltalakedb.display.text import size_text
    from deltalakedb.table.connect import connect_to_table
    from deltalakedb.uri import table_uri

    opened = connect_to_table(table_uri(database, table), storage_options=storage_options)
    with display_progress() as progress, place.client(progress) as (client, _):
        if z_order is None:
            found = opened.optimize.compact(where, target_size, client=client)
        else:
            columns = [name.strip() for name in z_order.split(",")]
            found = opened.optimize.z_order(columns, where, target_size, client=client)
    if output_format == "json":
        output.write_json(found)
        return
    added, removed = found["filesAdded"], found["filesRemoved"]
    output.say(
        f"{removed['totalFiles']:,} files of {size_text(removed['totalSize'])} became "
        f"{added['totalFiles']:,} of {size_text(added['totalSize'])}, in "
        f"{len(found['versions']):,} commits; {found['totalFilesSkipped']:,} were fine"
    )
    if found["numBinsLost"]:
        output.note(f"{found['numBinsLost']:,} bins are left: others went on changing their files")
