"""Options that several commands have."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from deltalakedb.secret import Secret

if TYPE_CHECKING:
    from deltalakedb.config import Settings, SqlConfig

F = TypeVar("F", bound=Callable[..., Any])


def _set_debug(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        context.obj.debug = True


debug = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_set_debug,
    help="Show the traceback of an error (also DL_DEBUG=1).",
)


def _configured() -> SqlConfig | None:
    """The database of the command's configuration."""
    configuration = click.get_current_context().obj.configuration
    if configuration is None or "database" not in configuration.sections:
        return None
    from deltalakedb.config import ConfigFactory

    return ConfigFactory.create_sql_config(configuration.sections["database"])


def default_database() -> str | None:
    """That of the configuration, or of the file that DL_DATABASE_FILE names."""
    found = _configured()
    if found is not None:
        return found.secret.reveal()
    if not os.environ.get("DL_DATABASE_FILE"):
        return None
    from deltalakedb.config.file import database_of_environment

    return Secret.of(database_of_environment() or "").reveal()


def _database(context: click.Context, parameter: click.Parameter, value: str | None) -> str:
    found = value or default_database()
    if found is None:
        raise click.MissingParameter(ctx=context, param=parameter)
    return found


def settings() -> Settings:
    """What the command's configuration says; the defaults without one."""
    from deltalakedb.config import Settings

    configuration = click.get_current_context().obj.configuration
    return Settings() if configuration is None else configuration.settings


def with_pool(database: str) -> str | SqlConfig:
    """The database with the pool of the configuration that names it, or as it is."""
    found = _configured()
    return database if found is None or found.secret.reveal() != database else found


database = click.option(
    "--database",
    envvar="DL_DATABASE",
    show_envvar=True,
    callback=_database,
    metavar="DATABASE",
    help="The catalog: a SQLite file or a database URL (postgresql://user:password@host/name).",
)

log_dir_help = "The table's _delta_log, or the table itself: a path, file:// or s3://"

output_format = click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)

json_output = click.option(
    "--json-output",
    type=click.Path(dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write the result as JSON to FILE (- is standard output).",
)


def parse_pairs(
    context: click.Context, parameter: click.Parameter, pairs: tuple[str, ...]
) -> dict[str, str]:
    """NAME=VALUE pairs as a dictionary."""
    found: dict[str, str] = {}
    for number, pair in enumerate(pairs, 1):
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            # The text stays out of the message: it may be a key.
            raise click.BadParameter(f"number {number} has no form NAME=VALUE", context, parameter)
        found[name.strip()] = value
    return found


storage_option = click.option(
    "--storage-option",
    "storage_options",
    multiple=True,
    metavar="NAME=VALUE",
    callback=parse_pairs,
    help="An option of the object store, such as AWS_ENDPOINT_URL=http://…; may be repeated. "
    "Keys are better kept in the environment, which other users can't list.",
)

table = click.argument("table", metavar="TABLE")
"""A uuid, a name or `namespace.name`."""

version = click.option(
    "--version",
    type=click.IntRange(min=0),
    metavar="N",
    help="As of version N instead of the newest.",
)

where = click.option(
    "--where",
    metavar="SQL",
    help="Only files that may hold rows satisfying this predicate, such as \"d >= '2024-05-01'\".",
)

_workers = click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Start N worker processes; without, this process does it all.",
)


def _count_or_auto(
    context: click.Context, option: click.Parameter, value: str | None
) -> int | str | None:
    if value is None or value == "auto":
        return value
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither a number of at least 1 nor 'auto'")
    return int(value)


_workers_or_auto = click.option(
    "--workers",
    callback=_count_or_auto,
    metavar="N|auto",
    help="Start N worker processes; auto: as many as the log and the free cores are worth; "
    "without, this process does it all.",
)
_scheduler = click.option(
    "--scheduler", metavar="ADDRESS", help="Run on the Dask cluster whose scheduler is at ADDRESS."
)
_local_directory = click.option(
    "--local-directory",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Where to spill what doesn't fit into memory; by default the temporary directory.",
)


def places(command: F) -> F:
    """Where a command's parts run: the arguments workers, scheduler and local_directory."""
    return _workers(_scheduler(_local_directory(command)))


def places_or_auto(command: F) -> F:
    """`places`, whose workers may be "auto"."""
    return _workers_or_auto(_scheduler(_local_directory(command)))


_FLEET = (
    click.argument("locations", nargs=-1),
    click.option(
        "--discover",
        "roots",
        multiple=True,
        metavar="URL",
        help="All tables below this folder or prefix; may be repeated.",
    ),
    click.option(
        "--mapping",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False),
        help="CSV or YAML: location, namespace, name, strategy, skip, owner.",
    ),
    click.option("--namespace", metavar="NAME", help="For tables that no mapping names."),
    click.option("--mode", type=click.Choice(["fast", "full-history"]), help="As `dl import`."),
    click.option(
        "--until",
        type=click.Choice(["imported", "ready", "sql"]),
        default="imported",
        show_default=True,
        help="Go on with each by its strategy: until it may be cut over, or is written through "
        "SQL.",
    ),
    click.option("--retry-failed", is_flag=True, help="Also what failed in an earlier run."),
    click.option("--fail-fast", is_flag=True, help="Begin nothing more once a table has failed."),
)


def fleet(command: F) -> F:
    """Which tables, and how they come in: the arguments locations, roots, mapping, namespace, mode,
    until, retry_failed and fail_fast."""
    for option in reversed(_FLEET):
        command = option(command)
    return command
