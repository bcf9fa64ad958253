"""`dl rollback`: a table's writers from SQL back to files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.commands.migrate import hooks as hook_option

if TYPE_CHECKING:
    from deltalakedb.migrate.rollback import RollbackResult


@click.command()
@click.argument("table", metavar="TABLE")
@click.option(
    "--database",
    envvar="DL_DATABASE",
    show_envvar=True,
    metavar="DATABASE",
    help="The catalog: a SQLite file or a database URL.",
)
@click.option(
    "--without-catalog",
    is_flag=True,
    help="The catalog can't be reached: take the fence out of the log alone. TABLE is the table's "
    "place, or its _delta_log.",
)
@click.option(
    "--exact", is_flag=True, help="Only with the very protocol from before; else refuse, by name."
)
@click.option(
    "--discard-unpublished",
    is_flag=True,
    help="Where others have taken slots of the log: go on with theirs, and keep copies of what "
    "was acknowledged and can't come into the log.",
)
@click.option("--no-rollback-point", is_flag=True, help="Don't keep the version.")
@hook_option
@options.storage_option
@options.output_format
@options.debug
def command(
    table: str,
    database: str | None,
    without_catalog: bool,
    exact: bool,
    discard_unpublished: bool,
    no_rollback_point: bool,
    hooks: dict[str, str],
    storage_options: dict[str, str],
    output_format: str,
) -> None:
    """Hand a table back to file-based writers; nothing is discarded. (`dl restore` is for an
    earlier state.)"""
    from deltalakedb.migrate.rollback import rollback_table, rollback_without_catalog
    from deltalakedb.migrate.steps import Hooks

    if without_catalog:
        given = {"--exact": exact, "--discard-unpublished": discard_unpublished}
        if hooks or any(given.values()):
            named = ", ".join(["--hook"] * bool(hooks) + [n for n, v in given.items() if v])
            raise click.UsageError(f"--without-catalog goes by the log alone: no {named} there.")
        done = rollback_without_catalog(table, storage_options=storage_options)
    else:
        database = database or options.default_database()
        if database is None:
            raise click.UsageError("Missing option '--database' (env var: 'DL_DATABASE').")
        done = rollback_table(
            table,
            database=database,
            exact=exact,
            rollback_point=not no_rollback_point,
            discard_unpublished=discard_unpublished,
            storage_options=storage_options,
            on=Hooks(hooks),
        )
    _show(done, output_format)


def _show(done: RollbackResult, output_format: str) -> None:
    if output_format == "json":
        output.write_json(
            {
                "table": done.table,
                "version": done.version,
                "changed": done.changed,
                "protocol": done.protocol.action(),
                "features": list(done.features),
                "stranded": [
                    {"version": s.version, "token": s.token, "copy": s.copy} for s in done.stranded
                ],
                "drain_seconds": done.drain_seconds,
                "seconds": done.seconds,
            }
        )
        return
    name = output.shown(done.table)
    if not done.changed:
        output.say(f"{name}: nothing to roll back, its log ratifies (version {done.version})")
        return
    output.say(f"{name}: files may be written again since version {done.version}")
    if done.features:
        output.say(
            f"Enabled since the cutover, and writers have to know it: {', '.join(done.features)}"
        )
    for each in done.stranded:
        output.say(
            f"Version {each.version} of the catalog ({each.operation or 'unknown'}) never came "
            f"into the log; a copy is _delta_log/{each.copy}"
        )
