"""`dl upgrade`: the catalog's schema."""

from __future__ import annotations

import click

from deltalakedb.cli import options, output

_PENDING = 4


@click.command()
@options.database
@click.option("--check", is_flag=True, help="Change nothing; exit code 4 if something is pending.")
@click.option("--sql", is_flag=True, help="Change nothing; print the statements.")
@options.debug
def command(database: str, check: bool, sql: bool) -> int:
    """Bring the catalog's schema up to this program's."""
    from deltalakedb.catalog import upgrade

    if check and sql:
        raise click.UsageError("--check and --sql exclude each other")
    if sql:
        click.echo(upgrade.upgrade_statements(database), nl=False)
        return 0
    found = upgrade.pending_upgrade(database) if check else upgrade.upgrade_catalog(database)
    if not found.pending:
        output.say(f"The catalog has schema {found.before} already, the newest")
    elif not check:
        output.say(f"Upgraded the catalog from schema {found.before} to {found.after}")
    else:
        output.say(
            f"The catalog has schema {found.before}; `dl upgrade` brings it to {found.after}"
        )
        return _PENDING
    return 0
