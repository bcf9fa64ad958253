"""`dl maintain`: what is due for one table or all of them."""

from __future__ import annotations

import click

from deltalakedb.cli import options, output


@click.command()
@click.argument("table", required=False)
@options.database
@click.option("--all", "every", is_flag=True, help="All tables of the catalog, one by one.")
@click.option("--dry-run", is_flag=True, help="Tell what is due, and do nothing.")
@options.output_format
@options.storage_option
@options.debug
def command(
    table: str | None,
    database: str,
    every: bool,
    dry_run: bool,
    output_format: str,
    storage_options: dict[str, str],
) -> None:
    """Do what is due for tables.

    Compact, checkpoint, vacuum and forget what is due for TABLE or --all, and say why.

    A table that fails doesn't keep the others from theirs; the exit code is 1 then.
    """
    from dataclasses import asdict

    from deltalakedb.catalog.reading import queries
    from deltalakedb.cli.reading import open_catalog
    from deltalakedb.error import DeltaLakeError
    from deltalakedb.table.operations.base import Base
    from deltalakedb.table.operations.maintain import maintain

    if (table is None) != every:
        raise click.UsageError("name one table, or give --all")
    failed: list[DeltaLakeError] = []
    with open_catalog(database) as catalog:
        rows = queries.all_tables(catalog) if every else [queries.find_table(catalog, str(table))]
        for row in rows:
            try:
                base = Base.named(catalog, row.table_id, storage_options)
                found = maintain(catalog, base, dry_run=dry_run)
            except DeltaLakeError as error:
                output.note(f"{output.shown(row.full_name)}: {error}")
                failed.append(error)
                continue
            if output_format == "json":
                output.write_json_lines([{"table": row.full_name, **asdict(e)} for e in found])
                continue
            for each in found:
                what = "due" if each.due else "not due"
                done = f" -> {each.done}" if each.done else ""
                output.say(f"{output.shown(row.full_name)} {each.what}: {what}, {each.why}{done}")
    if failed:
        raise failed[0]
