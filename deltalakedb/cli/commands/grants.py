"""`dl grants`: what a database needs for a role."""

from __future__ import annotations

import click

from deltalakedb.catalog.roles import ROLES, Role
from deltalakedb.cli import options


@click.command()
@click.option("--role", type=click.Choice(ROLES), required=True, help="Whose rights.")
@click.option(
    "--to",
    metavar="NAME",
    help="A user or role of the database, which has to exist; dl_reader, dl_writer, dl_owner by "
    "default. MySQL and MariaDB: NAME or NAME@HOST.",
)
@options.database
@options.debug
def command(role: Role, to: str | None, database: str) -> None:
    """Print the SQL after which somebody has a role on the catalog.

    A reader plans and reads, a writer imports and commits besides, an owner also drops tables and
    upgrades the schema. Nothing is changed; run as an owner of the catalog what is printed.
    """
    from deltalakedb.catalog.grants import grants

    click.echo(grants(database, role, to=to), nl=False)
