"""`dl restore`: an older version as the newest one."""

from __future__ import annotations

import click

from deltalakedb.cli import options, output


@click.command()
@options.table
@options.database
@click.option(
    "--to",
    "target",
    required=True,
    metavar="VERSION|TIME",
    help="Such as 12, or 2024-05-01T12:00:00Z.",
)
@click.option("--ignore-missing-files", is_flag=True, help="Do without files that are gone.")
@options.storage_option
@options.debug
def command(
    table: str,
    database: str,
    target: str,
    ignore_missing_files: bool,
    storage_options: dict[str, str],
) -> None:
    """Make a table what it was.

    Make a table what it was at a version or a time, by a commit that can be restored from."""
    from deltalakedb.table.connect import connect_to_table
    from deltalakedb.uri import table_uri

    opened = connect_to_table(table_uri(database, table), storage_options=storage_options)
    found = opened.restore(
        int(target) if target.isdigit() else target, ignore_missing_files=ignore_missing_files
    )
    output.say(
        f"Version {found['version']} of {output.shown(opened.name)}: "
        f"{found['numRestoredFile']:,} files came back, {found['numRemovedFile']:,} went"
    )
