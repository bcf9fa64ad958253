"""`dl show`: what holds at a version of a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.reading import open_catalog, read_table
from deltalakedb.display.text import size_text, time_text

if TYPE_CHECKING:
    from deltalakedb.catalog.records import TableRow, TableState
    from deltalakedb.log.schema import DataType, StructField

Facts = list[tuple[str, list[str]]]


@click.command()
@options.table
@options.database
@options.version
@options.output_format
@options.debug
def command(table: str, database: str, version: int | None, output_format: str) -> None:
    """Show a table's schema, properties and totals."""
    from deltalakedb.catalog.reading import queries
    from deltalakedb.catalog.reading.versions import state_to_read

    with open_catalog(database) as catalog:

        def ask(row: TableRow) -> tuple[TableRow, TableState, tuple[int, int]]:
            at = row.head_version if version is None else version
            state = state_to_read(catalog, row, at)
            return row, state, queries.totals_at(catalog, row, at)

        row, state, (files, size) = read_table(catalog, table, ask)
    if output_format == "json":
        output.write_json(_json(row, state, files, size))
    else:
        _print(row, state, files, size)


def _json(row: TableRow, state: TableState, files: int, size: int) -> dict[str, Any]:
    metadata = state.metadata
    named = ("id", "name", "description", "format_provider", "created_time")
    return {
        "table_id": row.table_id,
        "name": row.full_name,
        "location": row.location,
        "authority": row.authority,
        "version": state.version,
        "known_since": row.known_since,
        "num_files": files,
        "total_bytes": size,
        "schema_string": metadata["schema_string"],
        "partition_columns": metadata["partition_columns"],
        "configuration": metadata["configuration"],
        "metadata": {name: metadata[name] for name in named},
        "protocol": state.protocol,
        "txns": state.txns,
        "domains": state.domains,
    }


def _print(row: TableRow, state: TableState, files: int, size: int) -> None:
    output.say(output.heading(output.shown(row.full_name)))
    output.print_facts([(f"  {name}", lines) for name, lines in _facts(row, state, files, size)])
    output.say()
    output.say(output.heading("Columns"))
    fields = list(_fields(state.metadata["schema_string"]))
    if not fields:
        output.say("  none")
    width = max((len(name) for name, _ in fields), default=0)
    for name, described in fields:
        output.say(f"  {name:<{width}}  {described}")


def _facts(row: TableRow, state: TableState, files: int, size: int) -> Facts:
    newest = "" if state.version == row.head_version else f", newest is {row.head_version}"
    metadata = state.metadata
    facts: Facts = [
        ("id", [row.table_id]),
        ("location", [output.shown(row.location)]),
        ("authority", [row.authority]),
        ("version", [f"{state.version} (readable since {row.known_since}{newest})"]),
        ("files", [f"{files:,} ({size_text(size)})"]),
    ]
    if metadata["description"]:
        facts.append(("description", [output.shown(metadata["description"])]))
    if metadata["created_time"] is not None:
        facts.append(("created", [f"{time_text(metadata['created_time'])} UTC"]))
    columns = metadata["partition_columns"]
    facts.append(("partitioned by", [output.shown(", ".join(columns)) if columns else "nothing"]))
    facts.append(("protocol", _protocol(state.protocol)))
    if row.unreadable_features:
        named = row.unreadable_features.replace(",", ", ")
        facts.append(("unreadable", [f"rows can't be read here yet: table feature {named}"]))
    properties = sorted(metadata["configuration"].items())
    if properties:
        facts.append(("properties", [output.shown(f"{k} = {v}") for k, v in properties]))
    if state.txns:
        lines = [f"{app} at {txn['version']}" for app, txn in sorted(state.txns.items())]
        facts.append(("transactions", [output.shown(line) for line in lines]))
    if state.domains:
        lines = [f"{name}: {text}" for name, text in sorted(state.domains.items())]
        facts.append(("domains", [output.shown(line) for line in lines]))
    return facts


def _protocol(protocol: dict[str, Any]) -> list[str]:
    lines = []
    for side in ("reader", "writer"):
        features = protocol[f"{side}_features"]
        listed = "" if features is None else f" ({', '.join(features) or 'no features'})"
        lines.append(f"{side} {protocol[f'min_{side}_version']}{listed}")
    return lines


def _fields(schema_string: str) -> Iterator[tuple[str, str]]:
    """Indented name and type of every column, also those inside structs."""
    from deltalakedb.log.schema import parse_schema

    for field in parse_schema(schema_string).fields:
        yield from _field(field, "")


def _field(field: StructField, indent: str) -> Iterator[tuple[str, str]]:
    from deltalakedb.log.schema import StructType

    required = "" if field.nullable else " not null"
    yield indent + output.shown(field.name), _type(field.type) + required
    if isinstance(field.type, StructType):
        for child in field.type.fields:
            yield from _field(child, indent + "  ")


def _type(type: DataType) -> str:
    from deltalakedb.log.schema import ArrayType, MapType, StructType

    if isinstance(type, ArrayType):
        return f"array<{_inner(type.element)}>"
    if isinstance(type, MapType):
        return f"map<{_inner(type.key)}, {_inner(type.value)}>"
    return "struct" if isinstance(type, StructType) else output.shown(type.name)


def _inner(type: DataType) -> str:
    """A type inside an array or map, where its fields have no line of their own."""
    from deltalakedb.log.schema import StructType

    if not isinstance(type, StructType):
        return _type(type)
    fields = ", ".join(f"{output.shown(f.name)}: {_inner(f.type)}" for f in type.fields)
    return f"struct<{fields}>"
