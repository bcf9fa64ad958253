"""Rows that are written anew keep the ids by which row tracking knows them.

PROTOCOL.md, "Row Tracking", "Writer Requirements for Row Tracking". Beside the table's columns such
rows have two more, which only files have: their ids, and the versions in which they came to be.
Where a row changes, the second is left to the file that it comes into.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.log.row_tracking import RowColumns
from deltalakedb.log.schema import (
    PHYSICAL_NAME,
    UNLISTED,
    PrimitiveType,
    StructField,
    StructType,
)
from deltalakedb.log.schema_writer import schema_string
from deltalakedb.scan.scan import ScanSpec, indexed_rows, scan_batches
from deltalakedb.scan.tally import Tally
from deltalakedb.table.operations.alter import scan_spec
from deltalakedb.table.operations.base import Base
from deltalakedb.write.schema import RowConverter
from deltalakedb.write.target import FileTarget

_LONG = PrimitiveType("long")


@dataclass(frozen=True)
class KeptIds:
    """The two columns of a table whose rows keep their ids."""

    names: RowColumns

    @classmethod
    def of(cls, base: Base) -> KeptIds | None:
        """None for a table that has no such columns."""
        names = RowColumns.of(base.metadata.configuration)
        return None if names is None else cls(names)

    @property
    def fields(self) -> tuple[StructField, ...]:
        """As a schema would have them."""
        return tuple(
            StructField(name, _LONG, True, {PHYSICAL_NAME: name, UNLISTED: True})
            for name in (self.names.row_id, self.names.commit_version)
        )

    def target(self, target: FileTarget) -> FileTarget:
        """Files with both columns."""
        return replace(target, unlisted=self.fields)

    def rows(
        self, spec: ScanSpec, struct: StructType, files: pa.Table | None = None
    ) -> Iterator[tuple[str, pa.RecordBatch]]:
        """`scan.indexed_rows` of the spec, each row with its id and version before the last
        column."""
        whole = StructType((*struct.fields, *self.fields))
        known = _first_ids(spec.files)
        for path, batch in indexed_rows(replace(spec, schema_string=schema_string(whole))):
            first, version = known[path]
            place = batch.num_columns - 3
            ids, versions, index = (batch.column(place + n) for n in range(3))
            if first is not None:
                ids = pc.coalesce(ids, pc.add(index, first))
            if version is not None:
                versions = pc.coalesce(versions, pa.scalar(version, pa.int64()))
            columns = [*batch.columns[:place], ids, versions, index]
            yield path, pa.RecordBatch.from_arrays(columns, names=batch.schema.names)

    def apart(self, rows: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch | None]:
        """The table's own columns, and the two if the rows have them."""
        if self.names.row_id not in rows.schema.names:
            return rows, None
        names = [self.names.row_id, self.names.commit_version]
        return rows.drop_columns(names), rows.select(names)

    def joined(
        self, rows: pa.RecordBatch, ids: pa.RecordBatch | None, *, changed: bool
    ) -> pa.RecordBatch:
        """The rows with the two columns: null for new rows, the second null for changed ones."""
        nothing = pa.nulls(rows.num_rows, pa.int64())
        found = [nothing, nothing] if ids is None else list(ids.columns)
        if changed:
            found[1] = nothing
        columns = [*rows.columns, *found]
        names = [*rows.schema.names, self.names.row_id, self.names.commit_version]
        return pa.RecordBatch.from_arrays(columns, names=names)


def read_rows(
    base: Base, files: pa.Table, workers: int | None, tally: Tally | None = None
) -> Iterator[pa.RecordBatch]:
    """The live rows of files, of the table's types, as `FileWriter` takes them."""
    converter: RowConverter | None = None
    kept = KeptIds.of(base)
    if kept is not None:
        for _, rows in kept.rows(scan_spec(base, files, tally), base.struct):
            own, ids = kept.apart(rows.remove_column(rows.num_columns - 1))
            converter = converter or RowConverter(own.schema, base.struct)
            yield kept.joined(converter.convert(own), ids, changed=False)
        return
    for rows in scan_batches(scan_spec(base, files, tally), workers=workers):
        if converter is None:
            converter = RowConverter(rows.schema, base.struct)
        yield converter.convert(rows)


def _first_ids(files: pa.Table) -> dict[str, tuple[Any, Any]]:
    names = ("path", "base_row_id", "default_row_commit_version")
    rows = zip(*(files.column(name).to_pylist() for name in names), strict=True)
    return {path: (first, version) for path, first, version in rows}
