"""`dl create`: an empty table."""

from __future__ import annotations

import click

from deltalakedb.cli import options, output


@click.command()
@options.table
@options.database
@click.option(
    "--schema",
    "schema_text",
    required=True,
    metavar="COLUMNS",
    help='Columns as "name type [NOT NULL], …", a Delta schema as JSON, or a Parquet file with '
    "such columns.",
)
@click.option("--location", metavar="URL", help="Where the table is to be; else in the warehouse.")
@click.option("--partition-by", metavar="A,B", help="Partition columns, in order.")
@click.option(
    "--property",
    "properties",
    multiple=True,
    metavar="NAME=VALUE",
    callback=options.parse_pairs,
    help="A table property, such as delta.appendOnly=true; may be repeated.",
)
@click.option(
    "--authority",
    type=click.Choice(["sql", "log"]),
    default="sql",
    show_default=True,
    help="Who ratifies commits: the catalog, or the log for a table with file-based writers.",
)
@options.storage_option
@options.debug
def command(
    table: str,
    database: str,
    schema_text: str,
    location: str | None,
    partition_by: str | None,
    properties: dict[str, str],
    authority: str,
    storage_options: dict[str, str],
) -> None:
    """Make an empty table; an empty database gets its catalog."""
    from deltalakedb.cli.schema_text import read_schema
    from deltalakedb.table.writing import create_table
    from deltalakedb.uri import table_uri

    made = create_table(
        table_uri(database, table),
        read_schema(schema_text),
        location=location,
        partition_by=[c.strip() for c in partition_by.split(",")] if partition_by else None,
        properties=properties,
        authority=authority,
        storage_options=storage_options,
    )
    output.say(
        f"Created {output.shown(made.name)} ({made.table_id}) at {output.shown(made.location)}"
    )
