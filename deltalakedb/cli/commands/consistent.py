"""`dl consistent`: versions of several tables that belong together, from their logs."""

from __future__ import annotations

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.output import Column
from deltalakedb.display.text import time_text

_COLUMNS = (
    Column("Path", elastic=True),
    Column("Version", right=True),
    Column("Newest", right=True),
    Column("Committed (UTC)"),
)


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@options.output_format
@options.storage_option
@options.debug
def command(paths: tuple[str, ...], output_format: str, storage_options: dict[str, str]) -> None:
    """Find versions of tables that fit together.

    Find versions of the tables at PATH... that hold all of a transaction or nothing.

    Reads the logs alone; no catalog is asked.
    """
    from deltalakedb.table.consistent import consistent_versions

    found = consistent_versions(paths, storage_options=storage_options)
    if output_format == "json":
        output.write_json_lines(
            {
                "path": path,
                "version": version,
                "newest": found.newest[path],
                "timestamp": found.timestamps[path],
                "known": path not in found.unknown,
            }
            for path, version in found.items()
        )
        return
    cells = []
    for path, version in found.items():
        time = found.timestamps[path]
        cells.append(
            [
                output.shown(path),
                str(version),
                str(found.newest[path]),
                "" if time is None else time_text(time),
            ]
        )
    output.print_table(_COLUMNS, cells)
    for path in found.unknown:
        output.note(f"{path}: its log was cleaned up too far back to tell of all transactions")
