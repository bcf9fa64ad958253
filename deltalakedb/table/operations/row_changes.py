"""What a commit did to rows, from its files: those of change data, else data files and vectors.

PROTOCOL.md, "Change Data Files", "Add CDC File", "Deletion Vectors". A version with change data
files holds all its changes there. Of the others, files that begin are inserts and lives that end
are deletes; where only a file's vector changed, the rows between the two vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import orjson
import pyarrow as pa

from deltalakedb.commit.conflict import Places
from deltalakedb.log.metadata import TableSchema
from deltalakedb.log.schema import UNLISTED, PrimitiveType, StructField, StructType
from deltalakedb.log.schema_writer import schema_string
from deltalakedb.scan.file import ROW_INDEX, read_vector
from deltalakedb.scan.scan import indexed_rows
from deltalakedb.table.operations.alter import scan_spec
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.vectors import Life
from deltalakedb.write.change_data import CHANGE_TYPE

KIND = StructField(CHANGE_TYPE, PrimitiveType("string"), nullable=False, metadata={UNLISTED: True})
Changes = Iterator[tuple[str, pa.RecordBatch, pa.Array]]
"""(raw path, rows, kinds of change): the last column of the rows is their place in the file."""


def recorded_changes(base: Base, files: pa.Table) -> Changes:
    """The rows of change data files: path, partition_values, size, and dv and num_records null."""
    struct = StructType((*base.struct.fields, KIND))
    metadata = replace(base.metadata, schema=TableSchema(schema_string(struct)))
    for path, rows in indexed_rows(scan_spec(replace(base, metadata=metadata), files)):
        place = rows.schema.get_field_index(CHANGE_TYPE)
        yield path, rows.remove_column(place), rows.column(place)


def changes_between(base: Base, ended: pa.Table, begun: pa.Table) -> Changes:
    """The rows of lives that end and of lives that begin, by the schema of `base`."""
    was = {row["path"]: row for row in ended.to_pylist()}
    now = {row["path"]: row for row in begun.to_pylist()}
    both = was.keys() & now.keys()
    yield from _all(base, ended, both, "delete")
    for path in sorted(both):
        yield from _between(base, was[path], now[path], begun.schema)
    yield from _all(base, begun, both, "insert")


def _all(base: Base, files: pa.Table, but: set[str], kind: str) -> Changes:
    keep = [path not in but for path in files.column("path").to_pylist()]
    for path, rows in indexed_rows(scan_spec(base, files.filter(pa.array(keep, pa.bool_())))):
        yield path, rows, pa.repeat(pa.scalar(kind), rows.num_rows)


def _between(base: Base, was: Life, now: Life, schema: pa.Schema) -> Changes:
    """Rows that one of two vectors of a file deletes and the other doesn't."""
    for life, other, kind in ((was, now, "delete"), (now, was, "insert")):
        wanted = np.setdiff1d(_deleted(base, other), _deleted(base, life))
        if not len(wanted):
            continue
        for path, rows in indexed_rows(scan_spec(base, pa.Table.from_pylist([life], schema))):
            index = rows.column(ROW_INDEX).to_numpy()
            found = rows.filter(pa.array(np.isin(index, wanted)))
            yield path, found, pa.repeat(pa.scalar(kind), found.num_rows)


def _deleted(base: Base, life: Life) -> Places:
    text = life["dv"]
    if text is None:
        return np.array([], np.int64)
    return read_vector(base.data, orjson.loads(str(text)))
