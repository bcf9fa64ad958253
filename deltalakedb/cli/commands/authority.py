"""`dl authority`: who ratifies a table's commits."""

from __future__ import annotations

import click

from deltalakedb.cli import options, output


@click.command()
@options.table
@options.database
@click.option(
    "--set",
    "wanted",
    type=click.Choice(["log", "sql", "fence"]),
    help="Hand the table over: to its log, to the catalog, or to the catalog behind a fence that "
    "file-based writers have to respect.",
)
@options.output_format
@options.storage_option
@options.debug
def command(
    table: str,
    database: str,
    wanted: str | None,
    output_format: str,
    storage_options: dict[str, str],
) -> None:
    """Show who ratifies a table's commits, or hand it over."""
    from dataclasses import asdict

    from deltalakedb.cli.reading import open_catalog
    from deltalakedb.table.operations.authority import authority_of, set_authority
    from deltalakedb.table.operations.base import Base

    with open_catalog(database) as catalog:
        base = Base.named(catalog, table, storage_options)
        if wanted is None:
            found = authority_of(catalog, base)
        else:
            found = set_authority(catalog, base, wanted)  # type: ignore[arg-type]
    if output_format == "json":
        output.write_json(asdict(found))
        return
    fence = ", behind a fence" if found.fenced else ""
    output.say(
        f"{output.shown(found.table)}: {found.authority}{fence} since epoch {found.epoch}; version "
        f"{found.version}, {found.published_version} in the log"
    )
