"""`dl import`: a Delta log into the catalog."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.place import Place
from deltalakedb.cli.signals import if_cut_off

if TYPE_CHECKING:
    from deltalakedb.importing.result import ImportResult


@click.command("import")
@options.database
@click.option("--log-dir", metavar="DIR", help=f"{options.log_dir_help}.")
@click.option(
    "--table-location",
    metavar="DIR",
    help="Where the table's data is, if not above the log.",
)
@click.option(
    "--mode",
    type=click.Choice(["fast", "full-history"]),
    help="The newest checkpoint and the commits after it (for new tables the default), or every "
    "version the log has.",
)
@click.option(
    "--table-id",
    metavar="TABLE",
    help="Uuid to import under; or uuid or name of a table that is there, to catch up.",
)
@click.option("--table-name", metavar="NAME", help="[namespace.]name; by default the folder's.")
@options.places_or_auto
@click.option(
    "--connections",
    type=click.IntRange(min=5),
    metavar="N",
    help="Connections to the database at most, 4 of them for the command itself; by default 16.",
)
@click.option("--dry-run", is_flag=True, help="Tell what would be read, and write nothing.")
@click.option("--rebuild", is_flag=True, help="Import anew, although the table is there.")
@options.storage_option
@options.json_output
@options.debug
def command(
    database: str,
    log_dir: str | None,
    table_location: str | None,
    mode: str | None,
    table_id: str | None,
    table_name: str | None,
    workers: int | Literal["auto"] | None,
    scheduler: str | None,
    local_directory: str | None,
    connections: int | None,
    dry_run: bool,
    rebuild: bool,
    storage_options: dict[str, str],
    json_output: str | None,
) -> None:
    """Import a table's _delta_log, or catch up with it.

    Running it again changes nothing; a log that has moved on is caught up at the cost of its
    new commits. Readers see the old state until the new one is complete.
    """
    automatic = workers == "auto"
    place = Place(1 if workers == "auto" else workers, scheduler, local_directory)
    output.check_target(json_output)
    started = time.monotonic()
    known: dict[str, Any] = {"mode": mode, "workers": 0 if automatic else workers or 0}

    def cut_off() -> None:
        if json_output is not None:
            _write_failure(json_output, KeyboardInterrupt(), known, time.monotonic() - started)
            output.flush()

    try:
        with if_cut_off(cut_off):
            log_dir, table_location = _places(database, log_dir, table_location, table_id)
            known |= _known(log_dir, table_location, table_id, table_name)
            result = _import(
                log_dir,
                place,
                {
                    "database": options.with_pool(database),
                    "table_location": table_location,
                    "mode": mode,
                    "table_id": table_id,
                    "table_name": table_name,
                    "rebuild": rebuild,
                    "dry_run": dry_run,
                    "storage_options": storage_options,
                    **({} if connections is None else {"connections": connections}),
                },
                automatic=automatic,
            )
    except BaseException as error:
        if json_output is not None:
            _write_failure(json_output, error, known, time.monotonic() - started)
        raise
    _show(result, json_output)


def _import(
    log_dir: str, place: Place, arguments: dict[str, Any], *, automatic: bool
) -> ImportResult:
    from deltalakedb.cli.progress import display_progress

    with display_progress() as progress:
        progress.phase("opening the log")
        from deltalakedb.importing.run import import_table
        from deltalakedb.log.place import log_store

        if arguments["dry_run"]:
            return import_table(log_dir, **arguments)
        if automatic:
            place = replace(place, workers=_worthwhile(log_dir, arguments))
        elif place.needs_client:
            # A wrong path is told before seconds go into starting workers.
            log_store(log_dir, arguments["storage_options"])
        with place.client(progress) as (client, folder):
            progress.phase("opening the log")
            return import_table(
                log_dir, client=client, spill_dir=folder, progress=progress, **arguments
            )


def _worthwhile(log_dir: str, arguments: dict[str, Any]) -> int | None:
    """Workers for what a dry run says would be read; None: this process reads it sooner."""
    from deltalakedb.executor.cores import free_cores
    from deltalakedb.importing.request import worthwhile_workers
    from deltalakedb.importing.run import import_table

    planned = import_table(log_dir, **{**arguments, "dry_run": True})
    return worthwhile_workers(planned.log_bytes or 0, free_cores()) or None


def _places(
    database: str, log_dir: str | None, table_location: str | None, table_id: str | None
) -> tuple[str, str | None]:
    """Log and location; what isn't given the catalog may know from the first import."""
    if log_dir is not None and (table_location is not None or table_id is None):
        return log_dir, table_location
    recorded = _recorded(database, table_id) if table_id is not None else None
    if log_dir is None:
        if recorded is None and table_location is None:
            raise click.UsageError("Missing option '--log-dir'")
        if recorded is None:
            return str(table_location), table_location
        return recorded[0], table_location or recorded[1]
    from deltalakedb.uri import normalise_location

    same = recorded is not None and normalise_location(log_dir) in (
        recorded[0],
        recorded[0].removesuffix("/_delta_log"),
    )
    return log_dir, recorded[1] if recorded is not None and same else None


def _recorded(database: str, table_id: str) -> tuple[str, str] | None:
    """(log, location) of a table that is there already."""
    from deltalakedb.catalog.catalog import Catalog
    from deltalakedb.catalog.reading.queries import lookup_table
    from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

    try:
        with Catalog(database) as catalog:
            found = lookup_table(catalog, table_id)
    except DeltaLakeError as error:
        if error.kind is not DeltaLakeErrorKind.NOT_FOUND:
            raise
        return None
    return None if found is None else (found.log_location, found.location)


def _known(
    log_dir: str, table_location: str | None, table_id: str | None, table_name: str | None
) -> dict[str, Any]:
    """What can be said of an import before it has begun."""
    from deltalakedb.uri import normalise_location

    location = normalise_location(table_location or log_dir)
    if table_location is None:
        location = location.removesuffix("/_delta_log")
    return {
        "table_id": table_id,
        "table_name": table_name or location.rpartition("/")[2],
        "location": location,
    }


def _write_failure(
    path: str, error: BaseException, known: Mapping[str, Any], seconds: float
) -> None:
    from deltalakedb.cli.ending import kind_of, message_of
    from deltalakedb.importing.result import failure_json

    told = getattr(error, "facts", {})
    found = {name: told[name] for name in ("run_id", "table_id") if name in told}
    facts = {**known, "seconds": seconds, **found}
    failure = failure_json(kind_of(error), message_of(error), **facts)
    try:
        output.write_to(path, output.json_text(failure, indent=path != "-") + b"\n")
    except click.ClickException as second:
        output.note(f"Warning: {second.message}")


def _show(result: ImportResult, json_output: str | None) -> None:
    if json_output == "-":
        output.write_json(result.to_json())
        output.note(str(result))
        return
    output.say(str(result))
    if json_output is not None:
        output.write_to(json_output, output.json_text(result.to_json(), indent=True) + b"\n")
