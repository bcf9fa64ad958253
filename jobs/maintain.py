"""Do what is due for tables: `python -m jobs.maintain --help`."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict

import click

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.maintain import maintain
from deltalakedb.uri import parse_database
from jobs.catalogued import tables_of
from jobs.frame import Run, job
from jobs.outcome import TableOutcome


@job
@click.option("--dry-run", is_flag=True, help="Tell what is due, and do nothing.")
@click.argument("patterns", nargs=-1)
def main(run: Run, dry_run: bool, patterns: tuple[str, ...]) -> None:
    """Compact, checkpoint, vacuum and forget what is due for tables (that match any of PATTERNS).

    What is done is not due any more, so it may be stopped and run again at any time.
    """
    rows = {row.full_name: row for row in tables_of(run.database, patterns)}
    with closing(LightCatalog(parse_database(run.database))) as catalog:

        def work(table: str) -> TableOutcome:
            began = time.monotonic()
            base = Base.named(catalog, rows[table].table_id, run.storage_options)
            found = [asdict(each) for each in maintain(catalog, base, dry_run=dry_run)]
            due = any(each["due"] for each in found)
            return TableOutcome(
                table,
                "due" if due and dry_run else "maintained" if due else "nothing due",
                seconds=time.monotonic() - began,
                facts={"maintenance": found},
            )

        run.each(rows, work)


if __name__ == "__main__":
    main()
