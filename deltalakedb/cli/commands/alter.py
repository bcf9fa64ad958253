"""`dl alter`: a table's columns, constraints, properties and description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from deltalakedb.cli import options, output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deltalakedb.table.alter import TableAlterer


def _pairs(flag: str, name: str, metavar: str, text: str) -> Any:
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
    """Change a table's metadata: a commit for each kind of change, in the order of the help.

    No file is rewritten. With several kinds, those before one that fails are done.
    """
    from deltalakedb.table.connect import connect_to_table
    from deltalakedb.uri import table_uri

    wanted = list(_wanted(changes))
    if not wanted:
        raise click.UsageError("say what to change, as in --set delta.appendOnly=true")
    opened = connect_to_table(table_uri(database, table), storage_options=storage_options)
    for what, change in wanted:
        before = opened.version
        result = change(opened.alter)
        done = "changed nothing" if result.version == before else f"version {result.version}"
        output.say(f"{output.shown(what)}: {done}")


def _wanted(given: dict[str, Any]) -> Iterator[tuple[str, Callable[[TableAlterer], Any]]]:
    if given["properties"]:
        yield (
            "set " + ", ".join(given["properties"]),
            (lambda alter: alter.set_table_properties(given["properties"])),
        )
    if given["unset"]:
        yield (
            "unset " + ", ".join(given["unset"]),
            (lambda alter: alter.unset_table_properties(given["unset"])),
        )
    if given["add_columns"]:
        from deltalakedb.cli.schema_text import read_schema

        added = read_schema(given["add_columns"])
        yield f"add {given['add_columns']}", lambda alter: alter.add_columns(added)
    for old, new in given["renamed"].items():
        yield f"rename {old}", lambda alter, old=old, new=new: alter.rename_column(old, new)
    for name in given["drop_column"]:
        yield f"drop {name}", lambda alter, name=name: alter.drop_column(name)
    for name, type in given["types"].items():
        yield f"widen {name}", lambda alter, name=name, type=type: alter.change_type(name, type)
    for name in given["drop_not_null"]:
        yield f"drop not null {name}", lambda alter, name=name: alter.drop_column_not_null(name)
    for name, text in given["comments"].items():
        yield (
            f"comment {name}",
            (
                lambda alter, name=name, text=text: alter.set_column_metadata(
                    name, {"comment": text}
                )
            ),
        )
    for name, sql in given["constraints"].items():
        yield (
            f"constraint {name}",
            (lambda alter, name=name, sql=sql: alter.add_constraint({name: sql})),
        )
    for name in given["drop_constraint"]:
        yield f"drop constraint {name}", lambda alter, name=name: alter.drop_constraint(name)
    if given["description"] is not None:
        yield "describe", lambda alter: alter.set_table_description(given["description"])
