"""`dl` itself: which commands there are, loaded one by one, and the options of all of them."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from deltalakedb import __version__
from deltalakedb.cli.ending import Ending
from deltalakedb.cli.options import debug
from deltalakedb.cli.signals import came, listen

_MODULES = {
    "init": "init",
    "create": "create",
    "write": "write",
    "delete": "delete",
    "update": "update",
    "alter": "alter",
    "optimize": "optimize",
    "vacuum": "vacuum",
    "restore": "restore",
    "maintain": "maintain",
    "import": "import_",
    "diff": "diff",
    "sweep": "sweep",
    "tables": "tables",
    "show": "show",
    "history": "history",
    "files": "files",
    "plan": "plan",
    "consistent": "consistent",
    "mirror": "mirror",
    "authority": "authority",
    "migrate": "migrate",
    "cutover": "cutover",
    "rollback": "rollback",
    "rollback-points": "rollback_points",
    "locks": "locks",
    "rename": "rename",
    "relocate": "relocate",
    "drop": "drop",
    "gc": "gc",
    "grants": "grants",
    "config": "config",
    "upgrade": "upgrade",
}
"""Commands in the order of the help, and the modules that have them as `command`."""


class _Commands(click.Group):
    """A group whose commands are imported when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _MODULES.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(
            f"deltalakedb.cli.commands.{module}"
        ).command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Click's own makes two lines of an interruption."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            if sys.stderr.isatty():
                # After the ^C that the terminal shows.
                click.echo(err=True)
            raise click.Abort from error

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run and exit. Unlike click's own, every error ends with 1 (2 and 3 are diff's)."""
        ending = Ending()
        with ending:
            code = super().main(
                args, prog_name or "dl", complete_var, standalone_mode=False, obj=ending, **extra
            )
            ending.code = code if isinstance(code, int) else 0
        sys.exit(ending.code)


@click.group("dl", cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="dl %(version)s")
@click.option(
    "--config",
    type=click.Path(dir_okay=False),
    envvar="DL_CONFIG",
    show_envvar=True,
    metavar="FILE",
    help="A configuration: its database where none is named, its pool, its logs.",
)
@debug
@click.pass_context
def app(context: click.Context, config: str | None) -> None:
    """Delta Lake metadata in a SQL database.

    `dl import` reads a table's _delta_log into a catalog, `dl diff` proves that nothing was
    lost, the others look at what is there.

    Exit codes: 0 done, 1 error (one line on standard error says why), 130 interrupted, 143
    terminated; `dl diff` also 2 (drift) and 3 (lag alone).
    """
    if config is not None and context.invoked_subcommand != "config":
        from deltalakedb.config.loading import load_configuration

        context.obj.configuration = load_configuration(config)
        context.obj.configuration.settings.begin()


def run() -> None:
    """The process's own entry: its streams and signals, then the command."""
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal can't show is no reason to fail.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    listen()
    try:
        app.main()
    except SystemExit as end:
        if came():
            # Threads and exit handlers of what was left half-way have no say any more.
            sys.stdout.flush()
            os._exit(int(end.code or 0))
        raise


def _open_streams() -> None:
    """Nothing in the place of standard streams that are closed.

    A file or a connection that is opened next would get their numbers, and what is printed.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free: this one.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
