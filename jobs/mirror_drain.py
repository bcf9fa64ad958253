"""Publish what waits for the logs: `python -m jobs.mirror_drain --help`."""

from __future__ import annotations

import time
from contextlib import closing

import click

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.mirror import publish, tend
from deltalakedb.uri import parse_database
from jobs.catalogued import tables_of
from jobs.frame import Run, job
from jobs.outcome import TRY_AGAIN, TableOutcome


@job
@click.argument("patterns", nargs=-1)
def main(run: Run, patterns: tuple[str, ...]) -> None:
    """Publish, verify and make durable what was committed to tables that the catalog ratifies."""
    rows = {
        row.full_name: row for row in tables_of(run.database, patterns) if row.authority != "log"
    }
    with closing(LightCatalog(parse_database(run.database))) as catalog:

        def work(table: str) -> TableOutcome:
            began = time.monotonic()
            row = rows[table]
            log = publish.log_of(row, run.storage_options)
            tended = tend.tend_now(catalog.reader.url, row, log)
            facts = {"durable_version": tended.durable_version, "waiting": tended.waiting}
            return TableOutcome(
                table,
                "waiting" if tended.waiting else "drained",
                TRY_AGAIN if tended.waiting else 0,
                time.monotonic() - began,
                facts=facts,
            )

        run.each(rows, work)


if __name__ == "__main__":
    main()
