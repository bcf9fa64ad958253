"""`dl config`: what a configuration says, and whether it can be used."""

from __future__ import annotations

import click

from deltalakedb.cli import options, output


@click.group()
def command() -> None:
    """Check and show configuration files."""


_file = click.argument(
    "file", type=click.Path(dir_okay=False), envvar="DL_CONFIG", metavar="[FILE]", required=False
)
_set = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    callback=options.parse_pairs,
    help="Set it whatever the environment and the file say; may be repeated.",
)


@command.command("check")
@_file
@_set
@options.debug
def check(file: str | None, settings: dict[str, str]) -> None:
    """Say whether FILE can be used, and all that is wrong with it.

    FILE is that of DL_CONFIG by default; without one, what the environment says is checked. No
    database is asked.
    """
    from deltalakedb.config import ConfigFactory
    from deltalakedb.config.loading import load_configuration
    from deltalakedb.error import DeltaLakeError

    try:
        found = load_configuration(file, settings)
        if "database" in found.sections:
            ConfigFactory.create_sql_config(found.sections["database"])
    except DeltaLakeError as error:
        for fault in (error.message, *getattr(error, "__notes__", ())):
            output.say(output.shown(fault.removeprefix("also: ")))
        raise click.exceptions.Exit(1) from None
    count = sum(setting.origin != "default" for setting in found.listed())
    output.say(f"{file or 'the environment'}: {count} settings, all of them known")


@command.command("show")
@_file
@_set
@options.output_format
@options.debug
def show(file: str | None, settings: dict[str, str], output_format: str) -> None:
    """Show every setting as it holds, and where it comes from.

    That is an option, a variable of the environment (DL_SECTION__KEY), a line of FILE with the
    variables that it names, or the default. Passwords and what comes from files isn't shown.
    """
    from deltalakedb.config.loading import load_configuration

    listed = load_configuration(file, settings).listed()
    if output_format == "json":
        output.write_json(
            [{"setting": s.name, "value": s.shown, "origin": s.origin} for s in listed]
        )
        return
    columns = [output.Column("SETTING"), output.Column("VALUE"), output.Column("ORIGIN")]
    output.print_table(
        columns, [[s.name, output.shown(s.shown), output.shown(s.origin)] for s in listed]
    )


@command.command("schema")
@options.debug
def schema() -> None:
    """Print the JSON Schema of configuration files, for editors."""
    from deltalakedb.config.schema import json_schema

    output.write_json(json_schema())
