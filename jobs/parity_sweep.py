"""Prove that catalog and logs agree: `python -m jobs.parity_sweep --help`."""

from __future__ import annotations

import logging
from contextlib import suppress

import click

from deltalakedb.catalog.reading.patterns import check_matched, matches
from deltalakedb.catalog.records import TableRow
from deltalakedb.error import DeltaLakeError
from deltalakedb.sweep.night import TableNight
from deltalakedb.sweep.page import write_page
from deltalakedb.sweep.run import SweepOptions, not_looked_at, sweep
from jobs.frame import Run, job, target
from jobs.outcome import DONE, DRIFT, FAILED, LAG, TableOutcome

log = logging.getLogger("deltalakedb.jobs")
_CODES = {"verified": DONE, "drift": DRIFT, "lag": LAG, "failed": FAILED}


@job
@click.option(
    "--lag-threshold",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="How long a head may be behind the other.",
)
@click.option(
    "--requests-at-once",
    type=click.IntRange(min=1),
    default=16,
    metavar="N",
    help="To the store; 16 by default.",
)
@click.option("--html", metavar="FILE", callback=target, help="The report for people.")
@click.argument("patterns", nargs=-1)
def main(
    run: Run,
    lag_threshold: float,
    requests_at_once: int,
    html: str | None,
    patterns: tuple[str, ...],
) -> None:
    """Hold each table (whose name matches any of PATTERNS) against its log, as `dl sweep` does.

    Whatever was proven longest ago comes first. Tables that the deadline left are stale, and the
    exit code (75) says so.
    """

    def wanted(row: TableRow) -> bool:
        return matches(row, patterns)

    def note(done: int, total: int, table: TableNight) -> None:
        if table.status == "stale":
            run.summary.left.append(table.row.full_name)
            run.summary.left_facts[table.row.full_name] = table.to_json()
        else:
            run.note(_outcome(table))

    options = SweepOptions(
        lag_threshold=lag_threshold,
        deadline=run.seconds_left,
        requests_at_once=requests_at_once,
        storage_options=run.storage_options,
    )
    try:
        with run.client() as client:
            report = sweep(run.database, options, wanted=wanted, client=client, progress=note)
    except BaseException:
        if not run.summary.outcomes and not run.summary.left:
            # It ended before it had begun, such as for want of its cluster: all of them are stale.
            with suppress(DeltaLakeError):
                for number, table in enumerate(not_looked_at(run.database, wanted)):
                    note(number, 0, table)
        raise
    check_matched(patterns, len(report.tables))
    log.info(report.verdict)
    if html is not None:
        write_page(html, report, run.database, {"job": "parity_sweep"})


def _outcome(table: TableNight) -> TableOutcome:
    first = table.findings[0].text if table.findings else table.error
    return TableOutcome(
        table.row.full_name,
        "parity" if table.status == "verified" else table.status,
        _CODES[table.status],
        table.seconds,
        error=first,
        error_kind=table.findings[0].kind if table.findings else None,
        facts=table.to_json(),
    )


if __name__ == "__main__":
    main()
