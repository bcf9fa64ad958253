"""`dl write`: rows of a file into a table."""

from __future__ import annotations

from typing import Any

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.progress import display_progress
from deltalakedb.cli.rows import FORMATS, rows_of_file


@click.command()
@options.table
@click.argument("file", metavar="FILE", type=click.Path(exists=True, allow_dash=True))
@options.database
@click.option(
    "--mode",
    type=click.Choice(["append", "overwrite", "error", "ignore"]),
    default="append",
    show_default=True,
    help="What to do with the rows that are there.",
)
@click.option(
    "--input-format",
    type=click.Choice(FORMATS),
    help="Of FILE; else told by its ending. Standard input (-) is an Arrow stream unless told.",
)
@click.option("--location", metavar="URL", help="Where a new table is to be.")
@click.option("--partition-by", metavar="A,B", help="Partition columns of a new table.")
@click.option(
    "--schema-mode", type=click.Choice(["merge", "overwrite"]), help="Let the schema grow."
)
@click.option("--where", "predicate", metavar="SQL", help="Overwrite only the rows of a predicate.")
@click.option("--dynamic", is_flag=True, help="Overwrite only the partitions that FILE has.")
@click.option(
    "--txn",
    metavar="APP:VERSION",
    help="The application's own version: written once, however often this is run.",
)
@click.option("--if-version", type=int, metavar="N", help="Only while the table is at version N.")
@click.option(
    "--token", metavar="TEXT", help="Names this write: run again, it commits nothing more."
)
@click.option("--async", "asynchronous", is_flag=True, help="Don't wait for the log.")
@options.json_output
@options.storage_option
@options.debug
def command(
    table: str,
    file: str,
    database: str,
    mode: str,
    input_format: str | None,
    location: str | None,
    partition_by: str | None,
    schema_mode: str | None,
    predicate: str | None,
    dynamic: bool,
    txn: str | None,
    if_version: int | None,
    token: str | None,
    asynchronous: bool,
    json_output: str | None,
    storage_options: dict[str, str],
) -> None:
    """Write the rows of a file to a table.

    Write the rows of a Parquet, CSV or Arrow file to a table, which is made if need be."""
    output.check_target(json_output)
    from deltalakedb.table.operations.properties import CommitProperties
    from deltalakedb.table.writing import write_deltalake
    from deltalakedb.uri import table_uri

    properties = None if txn is None else CommitProperties(app_transactions=[_transaction(txn)])
    with display_progress() as shown:
        done = write_deltalake(
            table_uri(database, table),
            rows_of_file(file, input_format),
            mode=mode,  # type: ignore[arg-type]
            location=location,
            partition_by=[c.strip() for c in partition_by.split(",")] if partition_by else None,
            schema_mode=schema_mode,  # type: ignore[arg-type]
            predicate=predicate,
            partition_overwrite="dynamic" if dynamic else "static",
            commit_properties=properties,
            if_version=if_version,
            token=token,
            mirror="async" if asynchronous else None,
            storage_options=storage_options,
            progress=lambda rows: shown("write", rows, 0, rows),
        )
    if json_output is not None:
        output.write_to(json_output, output.json_text(_json(done), indent=True) + b"\n")
    if json_output != "-":
        again = " (written before)" if done.repeated else ""
        rows = done.metrics.get("numOutputRows")
        what = "" if rows is None else f": {rows:,} rows in {done.metrics['numFiles']:,} files"
        output.say(f"Version {done.version} of {output.shown(done.table)}{again}{what}")


def _json(done: Any) -> dict[str, Any]:
    return {
        "table_name": done.table,
        "version": done.version,
        "timestamp": done.timestamp,
        "metrics": dict(done.metrics),
        "published": done.published,
        "repeated": done.repeated,
    }


def _transaction(text: str) -> Any:
    from deltalakedb.table.operations.properties import AppTransaction

    app, colon, version = text.rpartition(":")
    if not colon or not app or not version.isdigit():
        raise click.BadParameter(f"{text!r} has no form APP:VERSION", param_hint="--txn")
    return AppTransaction(app, int(version))
