"""`dl migrate`: a table from its log into the catalog, and how far each one is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.commands.fleet import command as fleet
from deltalakedb.cli.place import Place

if TYPE_CHECKING:
    from deltalakedb.migrate.options import MoveResult
    from deltalakedb.migrate.records import Migration

F = TypeVar("F", bound=Callable[..., Any])
_COLUMNS = (
    output.Column("table"),
    output.Column("state"),
    output.Column("strategy"),
    output.Column("proven", right=True),
    output.Column("fence", right=True),
    output.Column("waits for"),
)
_WATCH_SECONDS = 1.0


def moving(command: F) -> F:
    """Options that moving and cutting over have in common."""
    for option in (
        click.option(
            "--log-writers",
            type=click.Choice(["conditional-put", "dynamodb", "paused"]),
            help="How file-based writers take their slots, where the store and their engines don't "
            "tell.",
        ),
        click.option(
            "--probation",
            type=click.FloatRange(min=0),
            default=0.0,
            metavar="SECONDS",
            help="For so long after the fence every SQL commit claims its slot in the log first.",
        ),
        click.option("--wait", is_flag=True, help="Until the probation is over."),
        click.option("--no-validate", is_flag=True, help="Don't prove catalog and log equal."),
        click.option("--no-rollback-point", is_flag=True, help="Don't keep the version before."),
        click.option(
            "--tries",
            type=click.IntRange(min=1),
            default=8,
            show_default=True,
            help="How often the fence is tried, each time a little later.",
        ),
        click.option("--contact", metavar="TEXT", help="Whom the fence names."),
        click.option(
            "--take-over", is_flag=True, help="The fence is another catalog's, lost for good."
        ),
        hooks,
    ):
        command = option(command)
    return command


def hooks(command: F) -> F:
    """The option for commands at named points."""
    return click.option(
        "--hook",
        "hooks",
        multiple=True,
        metavar="NAME=COMMAND",
        callback=options.parse_pairs,
        help="Run COMMAND at on-plan, on-ready, before-freeze, on-fenced, on-success, on-failure "
        "or on-rollback; one that fails stops this.",
    )(command)


def pacing(command: F) -> F:
    """Options that hold a move back."""
    for option in (
        click.option("--pause-file", metavar="FILE", help="Stand still while this file is there."),
        click.option(
            "--busy-ms",
            type=click.FloatRange(min=0, min_open=True),
            metavar="MS",
            help="Wait while a trivial question takes the database longer.",
        ),
        click.option(
            "--rate",
            type=click.FloatRange(min=0, min_open=True),
            default=4.0,
            show_default=True,
            metavar="N",
            help="Look at the log so often a second, at most.",
        ),
    ):
        command = option(command)
    return command


_SEVERAL = {"--discover", "--mapping", "--config"}
"""Options that name many tables: `dl migrate fleet`."""


class _Group(click.Group):
    """A group that takes a table, or what names many, where no command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            several = {arg.partition("=")[0] for arg in args} & _SEVERAL
            args = ["fleet" if several else "run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Group)
def command() -> None:
    """Move tables from their logs into the catalog.

    One: `dl migrate TABLE-URI`. Many: `dl migrate --discover URL`, `--mapping FILE`, `--config
    FILE`, or `dl migrate fleet URI …`. How far they are: `dl migrate status`.
    """


command.add_command(fleet)


@command.command()
@click.argument("uri", metavar="TABLE-URI")
@options.database
@click.option(
    "--strategy",
    type=click.Choice(["offline", "online", "hybrid"]),
    help="offline: its writers are paused; online: they go on until the fence; hybrid: both sides "
    "write until `dl cutover`. By default as the configuration says, or online.",
)
@click.option(
    "--until",
    type=click.Choice(["ready", "sql"]),
    help="ready: stop before the cutover (the default of hybrid).",
)
@click.option("--follow", is_flag=True, help="When ready, stay caught up until interrupted.")
@click.option("--assess", is_flag=True, help="Tell what it would take, and write nothing.")
@click.option("--table-location", metavar="DIR", help="Where the data is, if not above the log.")
@click.option("--table-name", metavar="NAME", help="[namespace.]name; by default the folder's.")
@click.option("--mode", type=click.Choice(["fast", "full-history"]), help="As of `dl import`.")
@moving
@pacing
@options.places
@options.storage_option
@options.output_format
@options.debug
def run(
    uri: str,
    database: str,
    strategy: str | None,
    until: str | None,
    follow: bool,
    assess: bool,
    table_location: str | None,
    table_name: str | None,
    mode: str | None,
    workers: int | None,
    scheduler: str | None,
    local_directory: str | None,
    storage_options: dict[str, str],
    output_format: str,
    hooks: dict[str, str],
    **given: Any,
) -> None:
    """Move a table, given itself or its `_delta_log`, or go on where it has stopped."""
    from deltalakedb.migrate.analysis import analyze_source
    from deltalakedb.migrate.move import move_table
    from deltalakedb.migrate.steps import Hooks

    if assess:
        found = analyze_source(
            uri,
            database=database,
            table_location=table_location,
            mode=mode,
            storage_options=storage_options,
        )
        if output_format == "json":
            output.write_json(found.to_json())
        else:
            for line in str(found).splitlines():
                output.say(output.shown(line))
        return
    from deltalakedb.cli.progress import display_progress

    strategy = strategy or options.settings().migration.strategy.value
    place = Place(workers, scheduler, local_directory)
    with display_progress() as display, place.client(display) as (client, _):
        chosen = move_options(
            given,
            strategy=strategy,
            until=until or ("ready" if strategy == "hybrid" else "sql"),
            mode=mode,
            storage_options=storage_options,
            client=client,
        )
        done = move_table(
            uri,
            database=options.with_pool(database),
            table_location=table_location,
            table_name=table_name,
            options=chosen,
            on=Hooks(hooks),
            progress=display,
            stop=(lambda: False) if follow else None,
        )
    show(done, output_format)


def move_options(given: dict[str, Any], **more: Any) -> Any:
    """MoveOptions of the options that several commands have, and of a command's own."""
    from deltalakedb.migrate.options import MoveOptions
    from deltalakedb.migrate.steps import Pace

    said = options.settings().migration
    return MoveOptions(
        log_writers=given["log_writers"],
        probation_seconds=given["probation"],
        wait=given["wait"],
        validate=said.validate_after_migration and not given["no_validate"],
        rollback_point=said.create_rollback_point and not given["no_rollback_point"],
        tries=given["tries"],
        contact=given["contact"],
        take_over=given["take_over"],
        pace=Pace(given["rate"], given["busy_ms"], given["pause_file"]),
        **more,
    )


def show(done: MoveResult, output_format: str) -> None:
    """What a move has come to."""
    found = done.migration
    if output_format == "json":
        output.write_json(
            {
                **found.to_json(),
                "success": done.success,
                "freeze_ms": done.freeze_ms,
                "seconds": dict(done.seconds),
            }
        )
        return
    proven = "" if found.parity_version is None else f"; proven at version {found.parity_version}"
    fence = "" if found.fence_version is None else f", fenced since version {found.fence_version}"
    waits = f"; waits for {found.reason}" if found.reason else ""
    output.say(f"{output.shown(found.table)}: {found.state}{fence}{proven}{waits}")


@command.command()
@click.argument("table", metavar="[TABLE]", required=False)
@options.database
@click.option("--watch", is_flag=True, help="Show it again whenever it changes, until interrupted.")
@options.output_format
@options.debug
def status(table: str | None, database: str, watch: bool, output_format: str) -> None:
    """Tell how far each table is and what it waits for, a line each."""
    from deltalakedb.catalog.catalog import Catalog
    from deltalakedb.migrate.records import all_migrations, named

    shown: list[Migration] | None = None
    with Catalog(database) as catalog:
        while True:
            found = [m for m in all_migrations(catalog) if table in (None, m.table, m.table_id)]
            if table is not None and not found:
                named(catalog, table)
            if found != shown:
                if watch:
                    # In its place on a terminal; elsewhere a line says when.
                    click.clear()
                    if output_format != "json":
                        output.say(time.strftime("%Y-%m-%d %H:%M:%S"))
                _show_all(found, output_format)
                output.flush()
            if not watch:
                return
            shown = found
            time.sleep(_WATCH_SECONDS)


def _show_all(found: list[Migration], output_format: str) -> None:
    if output_format == "json":
        output.write_json_lines([each.to_json() for each in found])
        output.flush()
        return
    output.print_table(
        _COLUMNS,
        [
            [
                output.shown(each.table),
                each.state if each.step is None else f"failed ({each.step})",
                each.strategy or "",
                "" if each.parity_version is None else str(each.parity_version),
                "" if each.fence_version is None else str(each.fence_version),
                output.shown(each.reason or ""),
            ]
            for each in found
        ],
    )


@command.command()
@options.table
@options.database
@options.debug
def pause(table: str, database: str) -> None:
    """Have a table's move stand still before its next step."""
    _ask(table, database, paused=True)


@command.command()
@options.table
@options.database
@options.debug
def resume(table: str, database: str) -> None:
    """Let a table's move go on."""
    _ask(table, database, paused=None)


def _ask(table: str, database: str, **details: Any) -> None:
    from deltalakedb.catalog.catalog import Catalog
    from deltalakedb.migrate.records import ask, named

    with Catalog(database) as catalog:
        ask(catalog, named(catalog, table).location, **details)
    output.say(f"{output.shown(table)}: {'paused' if details['paused'] else 'goes on'}")
