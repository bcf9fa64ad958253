"""`dl init`: a catalog, and where its new tables go."""

from __future__ import annotations

import click

from deltalakedb.cli import options, output


@click.command()
@options.database
@click.option(
    "--warehouse",
    metavar="URL",
    help="The folder below which new tables go: a path, file:// or s3://.",
)
@options.debug
def command(database: str, warehouse: str | None) -> None:
    """Make a catalog in an empty database, or set its warehouse.

    A new table without a location goes to WAREHOUSE/NAMESPACE/NAME.
    """
    from deltalakedb.catalog.catalog import Catalog
    from deltalakedb.catalog.settings import set_warehouse

    with Catalog(database, create=True) as catalog:
        output.say(f"Catalog {catalog.catalog_id}")
        if warehouse is not None:
            output.say(f"New tables go below {output.shown(set_warehouse(catalog, warehouse))}")
