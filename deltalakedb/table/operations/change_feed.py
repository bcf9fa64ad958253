"""The change data feed of a table with `delta.enableChangeDataFeed`: rows by version.

PROTOCOL.md, "Change Data Files" and "Add CDC File".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.reading.versions import check_version, state_to_read
from deltalakedb.engine.expression import compile_expression
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.features import enabled
from deltalakedb.log.metadata import Metadata, protocol_of
from deltalakedb.log.schema import PrimitiveType, StructField, StructType, arrow_schema
from deltalakedb.scan.file import ROW_INDEX
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.lives import lives_where
from deltalakedb.table.operations.row_changes import KIND, changes_between, recorded_changes

COMMIT_VERSION = "_commit_version"
COMMIT_TIME = "_commit_timestamp"
_FEED = "delta.enableChangeDataFeed"
_ADDED = (
    KIND,
    StructField(COMMIT_VERSION, PrimitiveType("long"), nullable=False),
    StructField(COMMIT_TIME, PrimitiveType("timestamp"), nullable=False),
)


def change_feed(
    catalog: LightCatalog,
    base: Base,
    start: int,
    end: int,
    columns: Sequence[str] | None = None,
    predicate: str | None = None,
) -> pa.RecordBatchReader:
    """The changes of versions `start` to `end`, in their order, read as they are consumed.

    Columns are those of the table at `end`, `_change_type`, `_commit_version` and
    `_commit_timestamp`. INVALID_ARGUMENT where the feed was off at one of the versions,
    VERSION_NOT_FOUND for those that can't be read.
    """
    feed = _Feed(catalog, base, start, end)
    schema = feed.schema
    if columns is not None:
        unknown = [name for name in columns if name not in schema.names]
        if unknown:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"there is no column {', '.join(unknown)}; choose some of "
                f"{', '.join(schema.names)}",
            )
        schema = pa.schema([schema.field(name) for name in columns])
    condition = None if predicate is None else compile_expression(predicate, feed.struct)

    def batches() -> Iterator[pa.RecordBatch]:
        for version in range(start, end + 1):
            for rows in feed.of(version):
                found = rows if condition is None else condition.filter(rows)
                if found.num_rows:
                    yield found.select(schema.names).cast(schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


class _Feed:
    def __init__(self, catalog: LightCatalog, base: Base, start: int, end: int) -> None:
        self._catalog = catalog
        self._row = base.row
        for version in (start, end):
            check_version(catalog, base.row, version)
        state = state_to_read(catalog, base.row, end)
        self._base = replace(
            base, metadata=Metadata.of(state.metadata), protocol=protocol_of(state.protocol)
        )
        self._check_enabled(start, end)
        self._times = dict(
            catalog.reader.rows(
                "SELECT version, commit_time FROM dl_versions WHERE load_id = ? AND version >= ? "
                "AND version <= ?",
                (base.row.live_load, start, end),
            )
        )
        self.struct = StructType((*self._base.struct.fields, *_ADDED))
        self.schema = arrow_schema(self.struct)

    def _check_enabled(self, start: int, end: int) -> None:
        row = self._row
        held = self._catalog.reader.rows(
            "SELECT added_version, configuration FROM dl_metadata WHERE load_id = ? "
            "AND added_version <= ? AND removed_version > ?",
            (row.live_load, end, start),
        )
        for since, text in held:
            if not enabled(orjson.loads(text), _FEED):
                raise DeltaLakeError(
                    DeltaLakeErrorKind.INVALID_ARGUMENT,
                    f"{row.full_name} had no change data feed at version {max(since, start)} "
                    f"({_FEED} was not true); choose versions at which it was on",
                    version=max(int(since), start),
                )

    def of(self, version: int) -> Iterator[pa.RecordBatch]:
        """The changes of one version."""
        if version not in self._times:
            check_version(self._catalog, self._row, version)
        for rows, kinds in self._changes(version):
            if rows.num_rows:
                yield self._whole(rows, kinds, version)

    def _whole(self, rows: pa.RecordBatch, kinds: pa.Array, version: int) -> pa.RecordBatch:
        count = rows.num_rows
        time = pa.scalar(self._times[version] * 1000, pa.timestamp("us", "UTC"))
        arrays = [
            *rows.columns,
            kinds,
            pa.repeat(pa.scalar(version, pa.int64()), count),
            pa.repeat(time, count),
        ]
        fields = zip(arrays, self.schema, strict=True)
        return pa.RecordBatch.from_arrays(
            [array.cast(field.type) for array, field in fields], schema=self.schema
        )

    def _changes(self, version: int) -> Iterator[tuple[pa.RecordBatch, pa.Array]]:
        recorded = self._recorded(version)
        if recorded.num_rows:
            found = recorded_changes(self._base, recorded)
        else:
            lives = lives_where(
                self._catalog,
                self._row,
                f"(f.added_version = {version} OR f.removed_version = {version})",
            )
            begun = lives.filter(pc.equal(lives.column("added_version"), version))
            ended = lives.filter(pc.equal(lives.column("removed_version"), version))
            if begun.num_rows and all(v is False for v in begun.column("data_change").to_pylist()):
                return
            found = changes_between(self._base, ended, begun)
        for _, rows, kinds in found:
            yield rows.drop_columns([ROW_INDEX]), kinds

    def _recorded(self, version: int) -> pa.Table:
        found = self._catalog.reader.rows(
            "SELECT path, partition_values, size FROM dl_change_files WHERE load_id = ? "
            "AND version = ?",
            (self._row.live_load, version),
        )
        return pa.table(
            {
                "path": pa.array([row[0] for row in found], pa.string()),
                "partition_values": pa.array([row[1] for row in found], pa.string()),
                "dv": pa.nulls(len(found), pa.string()),
                "num_records": pa.nulls(len(found), pa.int64()),
                "size": pa.array([row[2] for row in found], pa.int64()),
            }
        )
