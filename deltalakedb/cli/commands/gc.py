"""`dl gc`: what dead imports left, and tables that have outgrown the heap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deltalakedb.cli import options, output
from deltalakedb.display.text import time_text

if TYPE_CHECKING:
    from deltalakedb.catalog.loads.garbage import DeadLoad


@click.command()
@options.database
@click.option("--dry-run", is_flag=True, help="Tell what would be removed, and remove nothing.")
@options.debug
def command(database: str, dry_run: bool) -> None:
    """Remove what dead imports left.

    Remove what dead imports left, and give large tables a place of their own.

    Tables that have grown by commits leave what small ones share; their readers and writers go
    on. Running imports and everything that a table shows stay as they are.
    """
    from deltalakedb.catalog.catalog import Catalog
    from deltalakedb.catalog.loads import heap
    from deltalakedb.catalog.loads.garbage import collect_garbage

    with Catalog(database) as catalog:
        found = collect_garbage(catalog, dry_run=dry_run)
        moved = [
            each
            for each in heap.outgrown(catalog)
            if dry_run or heap.move_out(catalog, each.table.table_id)
        ]
    would = "Would remove" if dry_run else "Removed"
    for run in found.runs:
        name, began = output.shown(run.table_name), time_text(run.started_at)
        output.say(f"{would} run {run.run_id} of {name}, begun {began} UTC: its process is gone")
    for load in found.loads:
        output.say(f"{would} {_described(load)}")
    for load in found.held:
        output.say(f"Left {_described(load)}: somebody reads it; run `dl gc` again later")
    if found.alive:
        output.say(f"{found.alive} import{'s run' if found.alive > 1 else ' runs'} now, left alone")
    for each in moved:
        name, rows = output.shown(each.table.full_name), f"{each.file_rows:,} file rows"
        output.say(f"{'Would move' if dry_run else 'Moved'} {name} ({rows}) to a table of its own")
    if not (found.runs or found.loads or found.held or moved):
        output.say("Nothing to remove")


def _described(load: DeadLoad) -> str:
    rows = f"{load.file_rows:,} file rows"
    return f"load {load.load_id} of {output.shown(load.table_name)} ({rows} in the ledger)"
