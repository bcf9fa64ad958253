"""`dl rollback-points`: versions that can be gone back to."""

from __future__ import annotations

import time

import click

from deltalakedb.cli import options, output

_COLUMNS = (
    output.Column("version", right=True),
    output.Column("reason"),
    output.Column("authority"),
    output.Column("created"),
    output.Column("pruned"),
    output.Column("note"),
)


@click.command("rollback-points")
@options.table
@options.database
@click.option("--create", is_flag=True, help="Keep a version: the newest, or --version.")
@options.version
@click.option("--note", metavar="TEXT", help="What to remember of it.")
@click.option("--prune", is_flag=True, help="Let go of the points, all but the newest --keep.")
@click.option("--keep", type=click.IntRange(min=0), default=0, metavar="N", help="Of --prune.")
@click.option("--all", "retired", is_flag=True, help="List those that were pruned too.")
@options.output_format
@options.debug
def command(
    table: str,
    database: str,
    create: bool,
    version: int | None,
    note: str | None,
    prune: bool,
    keep: int,
    retired: bool,
    output_format: str,
) -> None:
    """List, make or prune the rollback points of a table.

    Neither vacuum nor log cleanup takes what a point's version needs; `dl restore TABLE --to N`
    goes back to it.
    """
    from deltalakedb.migrate.points import (
        create_rollback_point,
        prune_rollback_points,
        rollback_points,
    )

    if create and prune:
        raise click.UsageError("--create and --prune exclude each other.")
    if create:
        found = [create_rollback_point(table, database=database, version=version, note=note)]
    elif prune:
        found = prune_rollback_points(table, database=database, keep=keep)
    else:
        found = rollback_points(table, database=database, retired=retired)
    if output_format == "json":
        output.write_json_lines([each.to_json() for each in found])
        return
    output.print_table(
        _COLUMNS,
        [
            [
                str(each.version),
                each.reason,
                each.authority,
                _time(each.created_at),
                "" if each.retired_at is None else _time(each.retired_at),
                output.shown(each.note or ""),
            ]
            for each in found
        ],
    )


def _time(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(milliseconds / 1000))
