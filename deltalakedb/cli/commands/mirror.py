"""`dl mirror`: how far logs follow the catalog, and what to do where they don't."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.reading import open_catalog

if TYPE_CHECKING:
    from deltalakedb.catalog.records import TableRow
    from deltalakedb.mirror.status import MirrorStatus

_COLUMNS = (
    output.Column("table"),
    output.Column("authority"),
    output.Column("version", right=True),
    output.Column("published", right=True),
    output.Column("durable", right=True),
    output.Column("checkpoint", right=True),
    output.Column("foreign", right=True),
)


@click.group()
def command() -> None:
    """The logs of tables, which follow what the catalog ratifies."""


@command.command()
@click.argument("table", metavar="[TABLE]", required=False)
@options.database
@options.output_format
@options.debug
def status(table: str | None, database: str, output_format: str) -> None:
    """Tell how far each log follows; `foreign` is a version that others have put there."""
    from deltalakedb.catalog.reading.queries import all_tables, find_table
    from deltalakedb.mirror.status import mirror_status

    with open_catalog(database) as catalog:
        rows = all_tables(catalog) if table is None else [find_table(catalog, table)]
        states = mirror_status(catalog, rows)
    found = [status_json(row, state) for row, state in zip(rows, states, strict=True)]
    if output_format == "json":
        output.write_json_lines(found)
        return
    output.print_table(
        _COLUMNS,
        [
            [output.shown(each["name"]), each["authority"]]
            + [
                "" if each[name] is None else str(each[name])
                for name in (
                    "version",
                    "published_version",
                    "durable_version",
                    "checkpoint_version",
                    "foreign_version",
                )
            ]
            for each in found
        ],
    )


def status_json(row: TableRow, found: MirrorStatus) -> dict[str, Any]:
    """What is told of a table's log."""
    return {
        "table_id": row.table_id,
        "name": row.full_name,
        "authority": row.authority,
        "epoch": row.epoch,
        "version": row.head_version,
        "published_version": found.published_version,
        "durable_version": found.durable_version,
        "checkpoint_version": found.checkpoint_version,
        "foreign_version": found.foreign_version,
        "waiting": found.waiting,
        "lag_seconds": found.lag_seconds(time.time_ns() // 1_000_000),
    }


@command.command()
@options.table
@options.database
@options.storage_option
@options.debug
def drain(table: str, database: str, storage_options: dict[str, str]) -> None:
    """Publish what waits, verify it, and make it durable.

    Of what was verified before it is looked whether it is still there.
    """
    from deltalakedb.catalog.reading.queries import find_table
    from deltalakedb.mirror import publish, tend
    from deltalakedb.table.operations.rebuild import check_there

    with open_catalog(database) as catalog:
        row = find_table(catalog, table)
        log = publish.log_of(row, storage_options)
        check_there(catalog, row, log)
        found = tend.tend_now(catalog.reader.url, row, log)
    output.say(
        f"{output.shown(row.full_name)}: version {found.durable_version} is durable in the log, "
        f"{found.waiting} wait"
    )


@command.command()
@options.table
@options.database
@options.storage_option
@options.debug
def checkpoint(table: str, database: str, storage_options: dict[str, str]) -> None:
    """Make a checkpoint of the newest version."""
    from deltalakedb.catalog.reading.queries import find_table
    from deltalakedb.mirror import checkpoint, publish, tend

    with open_catalog(database) as catalog:
        row = find_table(catalog, table)
        log = publish.log_of(row, storage_options)
        found = tend.tend_now(catalog.reader.url, row, log, checkpoint=False)
        name = checkpoint.checkpoint_now(catalog.reader.url, row, log, found.durable_version)
    output.say(f"Wrote {name}" if name else "The table's checkpoint protection forbids it")


@command.command()
@options.table
@options.database
@options.storage_option
@options.debug
def rebuild(table: str, database: str, storage_options: dict[str, str]) -> None:
    """Write a lost log anew: a checkpoint, and the commits that the catalog still has."""
    from deltalakedb.table.operations.rebuild import rebuild_log

    with open_catalog(database) as catalog:
        found = rebuild_log(catalog, table, storage_options)
    output.say(
        f"{output.shown(found.table)}: the log begins with a checkpoint of version "
        f"{found.checkpoint_version}; version {found.version} records that"
    )


@command.command()
@options.table
@options.database
@click.option(
    "--recommit",
    is_flag=True,
    help="Commit again what a rollback without the catalog has stranded: appends, as they were.",
)
@options.storage_option
@options.output_format
@options.debug
def repair(
    table: str,
    database: str,
    recommit: bool,
    storage_options: dict[str, str],
    output_format: str,
) -> None:
    """Bring a catalog that was restored, or has lost versions, up to the table's log."""
    from deltalakedb.migrate.recover import repair_table

    if recommit:
        _recommit(table, database, storage_options, output_format)
        return
    found = repair_table(table, database=database, storage_options=storage_options)
    if output_format == "json":
        output.write_json(found.to_json())
        return
    adopted = "nothing was missing"
    if found.adopted is not None:
        adopted = f"versions {found.adopted[0]} to {found.adopted[1]} are adopted from its log"
    output.say(f"{output.shown(found.table)}: {adopted}; version {found.version}")
    for each in found.stranded:
        output.say(
            f"Version {each.version} ({each.operation or 'unknown'}) never came into the log; a "
            f"copy is _delta_log/{each.copy}"
        )


def _recommit(
    table: str, database: str, storage_options: dict[str, str], output_format: str
) -> None:
    from deltalakedb.migrate.recommit import recommit_stranded

    done = recommit_stranded(table, database=database, storage_options=storage_options)
    if output_format == "json":
        output.write_json({"done": [list(pair) for pair in done.done], "left": list(done.left)})
        return
    for before, now in done.done:
        output.say(f"{output.shown(table)}: version {before} then is version {now} now")
    for copy in done.left:
        output.say(f"Left, as it is no append that stays the same: _delta_log/{copy}")


@command.command()
@options.table
@options.database
@click.option("--retry", is_flag=True, help="The foreign file is gone or ours again: go on.")
@options.storage_option
@options.debug
def resolve(table: str, database: str, retry: bool, storage_options: dict[str, str]) -> None:
    """Show a foreign version in the log and the ways out; with --retry, go on."""
    from deltalakedb.catalog.reading.queries import find_table
    from deltalakedb.mirror import publish
    from deltalakedb.mirror.resolve import examine, go_on

    with open_catalog(database) as catalog:
        row = find_table(catalog, table)
        log = publish.log_of(row, storage_options)
        if retry:
            found = go_on(catalog.reader.url, row, log)
        else:
            found = examine(catalog.reader.url, row, log)
    for line in found:
        output.say(output.shown(line))
