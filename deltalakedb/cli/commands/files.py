"""`dl files`: the data files of a version."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from deltalakedb.cli import options, output
from deltalakedb.cli.output import Column
from deltalakedb.cli.reading import open_catalog, read_table
from deltalakedb.display.text import size_text, time_text

if TYPE_CHECKING:
    import pyarrow as pa

    from deltalakedb.catalog.reading.catalog import LightCatalog
    from deltalakedb.catalog.records import TableRow

_SCREEN_ROWS = 1000
"""Files that a terminal gets when no --limit asks for more."""

_COLUMNS = (
    Column("Size", right=True),
    Column("Rows", right=True, rank=1),
    Column("Modified (UTC)", rank=2),
    Column("Partition", rank=3, elastic=True),
    Column("Deletes", rank=4),
    Column("Path", elastic=True),
)


@click.command()
@options.table
@options.database
@options.version
@options.where
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="The first N only.")
@options.output_format
@options.debug
def command(
    table: str,
    database: str,
    version: int | None,
    where: str | None,
    limit: int | None,
    output_format: str,
) -> None:
    """List the data files of a version, ordered by path."""
    with open_catalog(database) as catalog:

        def ask(row: TableRow) -> tuple[int, Iterator[pa.RecordBatch]]:
            if where is not None:
                found = _matching(catalog, row, version, where)
                return found.num_rows, iter(found.to_batches())
            return _all(catalog, row, version)

        count, batches = read_table(catalog, table, ask)
        if output_format == "json":
            for batch in _first(batches, limit):
                output.write(b"".join(_json_lines(batch)))
            return
        screenful = limit is None and output.on_terminal()
        printer = output.TablePrinter(_COLUMNS)
        for batch in _first(batches, _SCREEN_ROWS if screenful else limit):
            printer.print([_cells(file) for file in batch.to_pylist()])
        if count == 0:
            output.note("No such file." if where else "The version has no files.")
        if screenful and count > _SCREEN_ROWS:
            output.note(f"{_SCREEN_ROWS:,} of {count:,} files; --limit {count} shows them all")


def _all(
    catalog: LightCatalog, row: TableRow, version: int | None
) -> tuple[int, Iterator[pa.RecordBatch]]:
    """Count and stream of a version's files; the stream has begun, so that it stays whole."""
    from deltalakedb.catalog.reading import queries
    from deltalakedb.catalog.reading.versions import state_to_read

    at = row.head_version if version is None else version
    state_to_read(catalog, row, at, small=True)
    count, _ = queries.totals_at(catalog, row, at)
    batches = queries.stream_files(catalog, row, at)
    first = next(batches, None)
    return count, iter(()) if first is None else itertools.chain([first], batches)


def _matching(catalog: LightCatalog, row: TableRow, version: int | None, where: str) -> pa.Table:
    """The files that may hold rows that satisfy `where`."""
    import pyarrow.compute as pc

    from deltalakedb.catalog.reading import queries
    from deltalakedb.catalog.reading.versions import state_to_read
    from deltalakedb.snapshot.snapshot import Snapshot

    at = row.head_version if version is None else version
    snapshot = Snapshot(catalog, row, state_to_read(catalog, row, at))
    found = snapshot.plan(where, queries.LISTING)
    keyed = found.append_column("vector", pc.fill_null(found.column("dv_id"), ""))
    return keyed.sort_by([("path", "ascending"), ("vector", "ascending")])


def _first(batches: Iterator[pa.RecordBatch], limit: int | None) -> Iterator[pa.RecordBatch]:
    left = limit
    for batch in batches:
        if left is None:
            yield batch
            continue
        if left > 0:
            yield batch.slice(0, left)
        left -= batch.num_rows
        if left <= 0:
            return


def _json_lines(batch: pa.RecordBatch) -> Iterator[bytes]:
    from deltalakedb.log.paths import decode_path

    names = ("path", "size", "modification_time", "partition_values", "num_records", "dv_id")
    columns = [batch.column(name).to_pylist() for name in (*names, "stats")]
    # Many files share a tuple of partition values.
    values = {text: json.loads(text) for text in set(columns[3])}
    for path, size, modified, partition, records, dv_id, stats in zip(*columns, strict=True):
        yield output.json_text(
            {
                "path": decode_path(path),
                "size": size,
                "modification_time": modified,
                "partition_values": values[partition],
                "num_records": records,
                "deletion_vector": dv_id,
                "stats": stats,
            }
        )
        yield b"\n"


def _cells(file: dict[str, Any]) -> list[str]:
    from deltalakedb.log.paths import decode_path

    values = json.loads(file["partition_values"])
    partition = "/".join(f"{name}={'null' if v is None else v}" for name, v in values.items())
    return [
        size_text(file["size"]),
        "" if file["num_records"] is None else f"{file['num_records']:,}",
        time_text(file["modification_time"]),
        output.shown(partition),
        "yes" if file["dv_id"] else "",
        output.shown(decode_path(file["path"])),
    ]
