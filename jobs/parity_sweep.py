"""Prove that catalog and logs agree: `python -m jobs.parity_sweep --help`."""

from __future__ import annotations

import time

import click

from deltalakedb import diff_table
from jobs.catalogued import longest_unproven, tables_of
from jobs.frame import Run, job
from jobs.outcome import DONE, DRIFT, LAG, TableOutcome

_STATUS = {DONE: "parity", DRIFT: "drift", LAG: "lag"}


@job
@click.option(
    "--lag-threshold",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="How long a head may be behind the other.",
)
@click.option("--max-drift-files", type=click.IntRange(min=0), default=0, metavar="N")
@click.argument("patterns", nargs=-1)
def main(run: Run, lag_threshold: float, max_drift_files: int, patterns: tuple[str, ...]) -> None:
    """Compare each table (whose name matches any of PATTERNS) with its log, file by file.

    Whatever was proven longest ago comes first. Tables that the deadline left are stale, and the
    exit code (75) says so.
    """
    tables = longest_unproven(run.database, tables_of(run.database, patterns))
    rows = {row.full_name: row for row in tables}
    with run.client() as client:

        def work(table: str) -> TableOutcome:
            began = time.monotonic()
            report = diff_table(
                rows[table].table_id,
                database=run.database,
                lag_threshold_seconds=lag_threshold,
                max_drift_files=max_drift_files,
                storage_options=run.storage_options or None,
                client=client,
            )
            return TableOutcome(
                table,
                _STATUS[report.exit_code],
                report.exit_code,
                time.monotonic() - began,
                facts=report.to_json(),
            )

        run.each(rows, work)


if __name__ == "__main__":
    main()
