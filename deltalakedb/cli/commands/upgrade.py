"""`dl upgrade`: the catalog's schema."""

from __future__ import annotations

import click

from deltalakedb.cli import options, output


@click.command()
@options.database
@options.debug
def command(database: str) -> None:
    """Bring the catalog's schema up to this program's."""
    from deltalakedb.catalog.upgrade import upgrade_catalog

    before, after = upgrade_catalog(database)
    if before == after:
        output.say(f"The catalog has schema {after} already, the newest")
    else:
        output.say(f"Upgraded the catalog from schema {before} to {after}")
