"""`dl sweep`: all tables against their logs, cheaply, each night."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.place import Place

if TYPE_CHECKING:
    from deltalakedb.catalog.records import TableRow
    from deltalakedb.sweep.run import SweepReport

_SHOWN = 50


@click.command()
@click.argument("patterns", nargs=-1)
@options.database
@click.option(
    "--lag-threshold",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="How long a head may be behind the other.",
)
@click.option(
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Begin no further table after so long; those that are left are stale, not green.",
)
@click.option(
    "--requests-at-once",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    metavar="N",
    help="To the store.",
)
@click.option("--no-data-files", is_flag=True, help="Don't look whether data files are there.")
@click.option(
    "--html", type=click.Path(dir_okay=False), metavar="FILE", help="The report for people."
)
@options.places
@options.storage_option
@options.output_format
@options.json_output
@options.debug
def command(
    patterns: tuple[str, ...],
    database: str,
    lag_threshold: float,
    deadline: float | None,
    requests_at_once: int,
    no_data_files: bool,
    html: str | None,
    workers: int | None,
    scheduler: str | None,
    local_directory: str | None,
    storage_options: dict[str, str],
    output_format: str,
    json_output: str | None,
) -> None:
    """Hold all tables (whose name matches any of PATTERNS) against their logs.

    Every night: rows, listings, totals, the newest checkpoint, a share of the data files; a seventh
    of the bytes in full. Exit codes: 0, 2 drift, 3 lag alone, 1 a look failed, 75 tables were left.
    """
    from deltalakedb.catalog.reading.patterns import check_matched, matches
    from deltalakedb.cli.progress import display_progress
    from deltalakedb.sweep.run import SweepOptions, sweep

    output.check_target(json_output)
    output.check_target(html)

    def wanted(row: TableRow) -> bool:
        return matches(row, patterns)

    chosen = SweepOptions(
        lag_threshold=lag_threshold,
        deadline=deadline,
        requests_at_once=requests_at_once,
        data_files=not no_data_files,
        storage_options=storage_options,
    )
    place = Place(workers, scheduler, local_directory)
    with display_progress() as display, place.client(display) as (client, _):
        report = sweep(database, chosen, wanted=wanted, client=client)
    check_matched(patterns, len(report.tables))
    if html is not None:
        from deltalakedb.sweep.page import write_page

        write_page(html, report, database, {"deadline": str(deadline or "none")})
    if json_output is not None:
        output.write_to(json_output, output.json_text(report.to_json(), indent=True) + b"\n")
    _show(report, output_format)
    if report.exit_code:
        raise click.exceptions.Exit(report.exit_code)


def _show(report: SweepReport, output_format: str) -> None:
    if output_format == "json":
        output.write_json_lines([t.to_json() for t in report.tables])
        output.note(report.verdict)
        return
    output.say(report.verdict)
    # What differs comes before what only lags, so that many of these don't hide it.
    told = [t for status in report.counts for t in report.of(status) if t.findings or t.error]
    for table in told[:_SHOWN]:
        name = table.row.full_name
        for finding in table.findings:
            output.say(f"  {output.shown(name)}: {finding.kind}: {output.shown(finding.text)}")
        if table.error:
            output.say(f"  {output.shown(name)}: {table.error}")
        if table.findings:
            output.say(f"    -> {table.findings[0].command(name)}")
    if len(told) > _SHOWN:
        output.say(f"  and {len(told) - _SHOWN} more; --html FILE or --json-output FILE has them")
