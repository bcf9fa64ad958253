"""Rows of cached file lists: which columns, out of the database, and from an older list."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pyarrow as pa

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.reading.proof import proven, proven_batches, proven_rows
from deltalakedb.catalog.records import TableRow, load_condition, load_files_name

CACHED_COLUMNS = (
    "path",
    "size",
    "modification_time",
    "num_records",
    "dv_id",
    "dv",
    "base_row_id",
    "default_row_commit_version",
    "partition_id",
    "stats",
)
ADVANCED_BY = 100_000
"""Files gone since the older version, beyond which its list is no help."""


def cached_columns(row: TableRow) -> tuple[str, ...]:
    """Columns of a cached list: what plans need, and the keys of the slots in use."""
    slots = range(len(json.loads(row.skipping)))
    return (*CACHED_COLUMNS, *(f"{side}{slot}" for slot in slots for side in ("lo", "hi")))


def files_from_sql(
    catalog: LightCatalog, row: TableRow, version: int, where: str, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """The rows of the live load for which `where` holds, proven; columns as in `schema`."""
    dialect = catalog.reader.dialect
    sql = f"SELECT {', '.join(schema.names)} FROM {load_files_name(row.live_load)} WHERE {where}"
    with dialect.errors():
        batches = dialect.stream(proven(row, version, schema.names, sql), schema)
        yield from proven_batches(batches, row, version, "path")


def files_gone(
    catalog: LightCatalog, row: TableRow, older: int, version: int
) -> set[tuple[str, str | None]] | None:
    """Files (path, deletion vector) of `older` that `version` lacks; None when they are many."""
    # What one version knows, the other must: both are proven.
    found = proven_rows(
        catalog.reader,
        row,
        version,
        ("path", "dv_id"),
        f"SELECT path, dv_id FROM (SELECT path, dv_id FROM {load_files_name(row.live_load)} "
        f"WHERE {load_condition(row.live_load)}"
        f"removed_version > {older} AND removed_version <= {version} "
        f"AND added_version <= {older} LIMIT {ADVANCED_BY + 1}) gone",
    )
    return None if len(found) > ADVANCED_BY else {(path, dv) for path, dv in found}


def without_files(base: pa.Table, gone: set[tuple[str, str | None]]) -> Iterator[pa.RecordBatch]:
    """The list without some files."""
    import pyarrow.compute as pc

    paths = pa.array({path for path, _ in gone}, pa.string())
    for batch in base.to_batches():
        suspects = pc.indices_nonzero(pc.is_in(batch.column("path"), value_set=paths))
        if len(suspects):
            named = batch.select(["path", "dv_id"]).take(suspects)
            pairs = zip(*(c.to_pylist() for c in named.columns), strict=True)
            keep = [True] * batch.num_rows
            for place, pair in zip(suspects.to_pylist(), pairs, strict=True):
                keep[place] = pair not in gone
            batch = batch.filter(pa.array(keep))
        yield batch
