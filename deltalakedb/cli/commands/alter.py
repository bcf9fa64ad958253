"""`dl alter`: a table's columns, constraints, properties and description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.options import F

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _pairs(flag: str, name: str, metavar: str, text: str) -> Callable[[F], F]:
    return click.option(
        flag, name, multiple=True, metavar=metavar, callback=options.parse_pairs, help=text
    )


@click.command()
@options.table
@options.database
@_pairs("--set", "properties", "NAME=VALUE", "Set a table property; may be repeated.")
@click.option("--unset", multiple=True, metavar="NAME", help="Unset a property; may be repeated.")
@click.option("--add-columns", metavar="COLUMNS", help='New columns as "name type, …".')
@_pairs("--rename-column", "renamed", "OLD=NEW", "Rename a column (with column mapping).")
@click.option("--drop-column", multiple=True, metavar="NAME", help="Drop one (likewise).")
@_pairs("--change-type", "types", "NAME=TYPE", "Widen a column's type (with type widening).")
@click.option("--drop-not-null", multiple=True, metavar="NAME", help="Let a column be null.")
@_pairs("--comment", "comments", "NAME=TEXT", "Comment on a column.")
@_pairs("--add-constraint", "constraints", "NAME=SQL", "A CHECK that all rows have to meet.")
@click.option("--drop-constraint", multiple=True, metavar="NAME", help="Drop a CHECK.")
@click.option("--description", metavar="TEXT", help="Describe the table.")
@options.storage_option
@options.debug
def command(table: str, database: str, storage_options: dict[str, str], **changes: Any) -> None:
    """Change a table's metadata.

    Change a table's metadata: a commit for each kind of change, in the order of the help.

    No file is rewritten. With several kinds, those before one that fails are done.
    """
    from deltalakedb.table.connect import connect_to_table
    from deltalakedb.uri import table_uri

    wanted = list(_wanted(changes))
    if not wanted:
        raise click.UsageError("say what to change, as in --set delta.appendOnly=true")
    opened = connect_to_table(table_uri(database, table), storage_options=storage_options)
    for what, method, arguments in wanted:
        before = opened.version
        result = getattr(opened.alter, method)(*arguments)
        done = "changed nothing" if result.version == before else f"version {result.version}"
        output.say(f"{output.shown(what)}: {done}")


def _wanted(given: dict[str, Any]) -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """What to say of each change, the alterer's method, and its arguments."""
    if given["properties"]:
        names = ", ".join(given["properties"])
        yield f"set {names}", "set_table_properties", (given["properties"],)
    if given["unset"]:
        yield "unset " + ", ".join(given["unset"]), "unset_table_properties", (given["unset"],)
    if given["add_columns"]:
        from deltalakedb.cli.schema_text import read_schema

        yield f"add {given['add_columns']}", "add_columns", (read_schema(given["add_columns"]),)
    for old, new in given["renamed"].items():
        yield f"rename {old}", "rename_column", (old, new)
    for name in given["drop_column"]:
        yield f"drop {name}", "drop_column", (name,)
    for name, type in given["types"].items():
        yield f"widen {name}", "change_type", (name, type)
    for name in given["drop_not_null"]:
        yield f"drop not null {name}", "drop_column_not_null", (name,)
    for name, text in given["comments"].items():
        yield f"comment {name}", "set_column_metadata", (name, {"comment": text})
    for name, sql in given["constraints"].items():
        yield f"constraint {name}", "add_constraint", ({name: sql},)
    for name in given["drop_constraint"]:
        yield f"drop constraint {name}", "drop_constraint", (name,)
    if given["description"] is not None:
        yield "describe", "set_table_description", (given["description"],)
