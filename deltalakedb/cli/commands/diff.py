"""`dl diff`: the catalog against the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.place import Place

if TYPE_CHECKING:
    from deltalakedb.parity.report import DiffReport


@click.command()
@options.database
@click.argument("table", required=False, metavar="TABLE")
@click.option("--table-id", metavar="TABLE", help="The same as TABLE: a uuid or a name.")
@click.option(
    "--log-dir",
    metavar="DIR",
    help=f"{options.log_dir_help}; by default the place it was imported from.",
)
@click.option(
    "--lag-threshold-seconds",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    metavar="S",
    help="How long the catalog may be behind the log, or the log behind the catalog.",
)
@click.option(
    "--max-drift-files",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="How many files may differ.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["human", "json"]),
    default="human",
    show_default=True,
    help="For people, or for programs.",
)
@options.json_output
@click.option(
    "--metrics-format",
    type=click.Choice(["none", "json", "prometheus"]),
    default="none",
    show_default=True,
    help="Write metrics as well.",
)
@click.option(
    "--metrics-output",
    type=click.Path(dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Where metrics go; by default to standard output.",
)
@options.storage_option
@options.places
@options.debug
def command(
    database: str,
    table: str | None,
    table_id: str | None,
    log_dir: str | None,
    lag_threshold_seconds: float,
    max_drift_files: int,
    output_format: str,
    json_output: str | None,
    metrics_format: str,
    metrics_output: str | None,
    storage_options: dict[str, str],
    workers: int | None,
    scheduler: str | None,
    local_directory: str | None,
) -> int:
    """Prove that the catalog and the log say the same of a table.

    Exit codes: 0 they do, and neither lags by more than the threshold; 2 they differ; 3 they
    agree where they meet, but one lags; 1 one of them can't be read.
    """
    if (table is None) == (table_id is None):
        raise click.UsageError("name the table to compare, by TABLE or by --table-id")
    place = Place(workers, scheduler, local_directory)
    output.check_target(json_output)
    output.check_target(metrics_output)
    if metrics_format == "none" and metrics_output is not None:
        raise click.UsageError("--metrics-output needs --metrics-format json or prometheus")
    from deltalakedb.cli.progress import display_progress

    with display_progress() as progress:
        progress.phase("opening the catalog")
        from deltalakedb.parity.run import diff_table

        with place.client(progress) as (client, _):
            progress.phase("opening the log")
            report = diff_table(
                table or table_id or "",
                database=options.with_pool(database),
                log_dir=log_dir,
                lag_threshold_seconds=lag_threshold_seconds,
                max_drift_files=max_drift_files,
                storage_options=storage_options,
                client=client,
                progress=progress,
            )
    _write(
        report,
        as_json=output_format == "json",
        json_output=json_output,
        metrics_format=metrics_format,
        metrics_output=metrics_output or "-",
    )
    return int(report.exit_code)


def _write(
    report: DiffReport,
    *,
    as_json: bool,
    json_output: str | None,
    metrics_format: str,
    metrics_output: str,
) -> None:
    """One machine-readable thing on standard output at most; the rest goes to standard error."""
    facts: dict[str, Any] = report.to_json()
    metrics_here = metrics_format != "none" and metrics_output == "-"
    json_here = as_json or json_output == "-"
    if metrics_here and json_here and metrics_format == "json":
        facts["metrics"] = report.metrics()
    if json_here:
        output.write_json(facts)
    if not as_json:
        (output.note if json_here or metrics_here else output.say)(str(report))
    if json_output not in (None, "-"):
        output.write_to(json_output, output.json_text(facts, indent=True) + b"\n")
    if metrics_format == "prometheus":
        text = report.prometheus()
        if metrics_here and json_here:
            output.note(text.rstrip("\n"))
        else:
            output.write_to(metrics_output, text.encode())
    elif metrics_format == "json" and not (metrics_here and json_here):
        output.write_to(metrics_output, output.json_text(report.metrics(), indent=True) + b"\n")
