"""`dl migrate --discover …`: many tables into a catalog, or up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.place import Place
from deltalakedb.display.text import count_text, size_text

if TYPE_CHECKING:
    from deltalakedb.migrate.assess import Assessment
    from deltalakedb.migrate.batch import Outcome
    from deltalakedb.migrate.fleet import FleetReport
    from deltalakedb.migrate.mapping import Entry
    from deltalakedb.migrate.sources import Sources

_SHOWN = 50
"""Tables that are told one by one; the rest are counted."""


@click.command("fleet")
@click.option(
    "--database",
    envvar="DL_DATABASE",
    show_envvar=True,
    metavar="DATABASE",
    help="The catalog: a SQLite file or a database URL; or database.url of --config.",
)
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="YAML with database, migration and tables (discover, locations, mapping, namespace).",
)
@options.fleet
@click.option("--assess", "assessing", is_flag=True, help="Tell what will be met; change nothing.")
@click.option("--dry-run", is_flag=True, help="Tell what would be done; change nothing.")
@click.option(
    "--write-mapping",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="With --assess or --dry-run: a mapping to edit, and to run with.",
)
@click.option(
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Begin no further table after so long.",
)
@options.places
@options.storage_option
@options.output_format
@options.json_output
@options.debug
def command(
    locations: tuple[str, ...],
    database: str | None,
    config: str | None,
    roots: tuple[str, ...],
    mapping: str | None,
    namespace: str | None,
    assessing: bool,
    dry_run: bool,
    write_mapping: str | None,
    mode: str | None,
    until: Literal["imported", "ready", "sql"],
    retry_failed: bool,
    fail_fast: bool,
    deadline: float | None,
    workers: int | None,
    scheduler: str | None,
    local_directory: str | None,
    storage_options: dict[str, str],
    output_format: str,
    json_output: str | None,
) -> None:
    """Import many tables, or catch up with them.

    One that fails stops no other: the end tells what to do about each, and the exit code is 1
    (75 when another try may do). Run it again to go on after an interruption, or with new commits;
    what is unchanged costs a listing. Several runs share the tables.
    """
    from deltalakedb.migrate.sources import Sources, known_tables

    place = Place(workers, scheduler, local_directory)
    output.check_target(json_output)
    if write_mapping and not (assessing or dry_run):
        raise click.UsageError("--write-mapping goes with --assess or --dry-run")
    given = Sources(locations, roots, mapping, namespace, storage_options=storage_options)
    sources, database = _configured(given, config, database)
    known = known_tables(database)
    entries = sources.entries(known, output.note)
    if assessing or dry_run:
        _look(
            entries, sources, database, assessing, write_mapping, output_format, json_output, known
        )
        return
    from deltalakedb.migrate.fleet import FleetOptions, migrate_fleet
    from deltalakedb.migrate.mapping import check_entries

    check_entries(entries, known)
    fleet = FleetOptions(mode, storage_options, retry_failed, fail_fast, deadline, until=until)
    with _progress(len(entries)) as tell:
        report = migrate_fleet(entries, database, fleet, lambda: _client(place), tell)
    _show(report, output_format)
    if json_output is not None:
        output.write_to(json_output, output.json_text(report.to_json(), indent=True) + b"\n")
    if report.exit_code:
        raise click.exceptions.Exit(report.exit_code)


def _configured(given: Sources, config: str | None, database: str | None) -> tuple[Sources, str]:
    """What the command line says, then what the file says."""
    from deltalakedb.config import ConfigFactory, ConfigLoader, database_url
    from deltalakedb.migrate.sources import as_configured

    if config is not None:
        sections = ConfigLoader.load_yaml_config(config)
        given = as_configured(given, sections)
        if database is None and "database" in sections:
            settings = ConfigFactory.create_sql_config(sections["database"])
            database = str(database_url(settings).secret.reveal())
    database = database or options.default_database()
    if database is None:
        raise click.UsageError("Missing option '--database'")
    return given, database


@contextmanager
def _client(place: Place) -> Iterator[tuple[Any, str | None]]:
    from deltalakedb.cli.progress import display_progress

    if not place.needs_client:
        yield None, place.local_directory
        return
    with display_progress() as progress, place.client(progress) as found:
        yield found


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    """One line on a terminal that counts; elsewhere only failures are told as they come."""
    import sys

    live = sys.stderr.isatty()

    def tell(done: int, _total: int, outcome: Outcome) -> None:
        if outcome.status == "failed":
            lead = "\r\x1b[K" if live else ""
            output.note(f"{lead}{output.shown(outcome.table)}: {outcome.error}")
        if live:
            click.echo(f"\r\x1b[K{done:,} of {total:,} tables", err=True, nl=False)

    yield tell
    if live:
        click.echo("\r\x1b[K", err=True, nl=False)


def _look(
    entries: list[Entry],
    sources: Sources,
    database: str,
    assessing: bool,
    write_mapping: str | None,
    output_format: str,
    json_output: str | None,
    known: Any,
) -> None:
    from deltalakedb.migrate.mapping import check_entries
    from deltalakedb.migrate.mapping import write_mapping as write

    found: list[Assessment] = []
    if assessing:
        from deltalakedb.migrate.assess import assess

        wanted = [e for e in entries if not e.skip]
        found = assess(wanted, sources.storage_options, database)
    if write_mapping:
        told = {a.entry.location: a.told() for a in found}
        write(write_mapping, entries, told if assessing else None)
        output.note(
            f"{write_mapping} names {count_text(len(entries), 'table')}; edit it, then run "
            f"with --mapping {write_mapping}"
        )
    lines = [a.to_json() for a in found] if assessing else [_planned(e, known) for e in entries]
    if json_output is not None:
        output.write_to(json_output, output.json_text(lines, indent=True) + b"\n")
    if output_format == "json":
        output.write_json_lines(lines)
    elif not lines:
        output.note("0 tables: nothing to do")
    elif assessing:
        _print_assessments(found)
    else:
        _print_planned(lines)
    check_entries(entries, known)


def _planned(entry: Entry, known: Any) -> dict[str, Any]:
    what = "skip" if entry.skip else "catch up" if entry.location in known else "import"
    return {
        "table": entry.full_name,
        "location": entry.location,
        "what": what,
        "strategy": entry.strategy,
        "owner": entry.owner,
    }


def _print_planned(lines: list[dict[str, Any]]) -> None:
    columns = [
        output.Column("table", elastic=True),
        output.Column("what"),
        output.Column("strategy", rank=1),
        output.Column("location", elastic=True, rank=2),
    ]
    names = ("table", "what", "strategy", "location")
    output.print_table(columns, [[output.shown(line[n]) for n in names] for line in lines])


def _print_assessments(found: list[Assessment]) -> None:
    columns = [
        output.Column("table", elastic=True),
        output.Column("version", right=True),
        output.Column("files", right=True),
        output.Column("size", right=True, rank=1),
        output.Column("log", right=True, rank=1),
        output.Column("seconds", right=True, rank=1),
        output.Column("writers", elastic=True, rank=2),
        output.Column("refusal", elastic=True),
    ]
    output.print_table(
        columns,
        [
            [
                output.shown(a.entry.full_name),
                "" if a.found is None else str(a.found.version),
                "" if a.found is None else f"{a.found.total_files:,}",
                "" if a.found is None else size_text(a.found.total_bytes),
                "" if a.found is None else size_text(a.found.log_bytes),
                f"{a.seconds:.1f}",
                output.shown("; ".join(a.writers)),
                output.shown(a.refusal or "; ".join(a.limits)),
            ]
            for a in found
        ],
    )
    refused = sum(a.refusal is not None for a in found)
    total = sum(a.seconds for a in found)
    requests = sum(a.requests for a in found)
    asked = f", {requests:,} requests to the store" if requests else ""
    output.say(
        f"{count_text(len(found), 'table')}, {refused} refused, about {total:,.0f} s of work, "
        f"{size_text(sum(a.found.log_bytes for a in found if a.found))} of log{asked}"
    )


def _show(report: FleetReport, output_format: str) -> None:
    from deltalakedb.migrate.fleet import summary_line

    if output_format == "json":
        output.write_json_lines(report.to_json()["tables"])
        output.note(summary_line(report))
        return
    output.say(f"{summary_line(report)} in {report.seconds:.1f} s")
    for outcome in report.failed[:_SHOWN]:
        owner = f" (ask {output.shown(outcome.owner)})" if outcome.owner else ""
        output.say(f"  {output.shown(outcome.table)}{owner}: {outcome.error}")
        output.say(f"    -> {outcome.what_to_do}")
    if len(report.failed) > _SHOWN:
        output.say(f"  and {len(report.failed) - _SHOWN} more; --json-output FILE has them all")
    if report.count("elsewhere"):
        output.say("  what is elsewhere is imported by another run at this moment")
