"""`DeltaTable`: delta-rs's class, by its call forms, over a `deltasql://` URI.

A thin face of `Table`: it stays at the version that it was opened at, or that it made last, until
`update_incremental` or `load_as_version`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.facade.delta_forms import DeltaSchema, commit_entry
from deltalakedb.log.metadata import Metadata
from deltalakedb.log.protocol import Protocol
from deltalakedb.snapshot.snapshot import Snapshot
from deltalakedb.table.alter import TableAlterer
from deltalakedb.table.connect import connect_to_table
from deltalakedb.table.merging import TableMerger
from deltalakedb.table.optimize import TableOptimizer
from deltalakedb.table.table import Table

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

    from deltalakedb.predicate.parse import Predicate


T = TypeVar("T")


class DeltaTable:
    """A catalogued table as delta-rs shows one. Errors are DeltaLakeError.

    `table` is the `Table` behind it, with all that delta-rs has no name for.
    """

    def __init__(
        self,
        table_uri: str,
        version: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.table: Table = connect_to_table(table_uri, storage_options=storage_options)
        self._at: Snapshot = self.table.snapshot(version)

    @classmethod
    def create(
        cls,
        table_uri: str,
        schema: Any,
        mode: str = "error",
        partition_by: str | Sequence[str] | None = None,
        name: str | None = None,
        description: str | None = None,
        configuration: Mapping[str, str | None] | None = None,
        storage_options: Mapping[str, Any] | None = None,
        *,
        location: str | None = None,
        commit_properties: Any = None,
        raise_if_key_not_exists: bool = True,
    ) -> DeltaTable:
        """`create_table`; `mode` error or ignore. `location`: where it isn't in the warehouse."""
        from deltalakedb.table.operations.settings import check_property, property_texts
        from deltalakedb.table.writing import create_table

        for key, text in property_texts(configuration or {}).items():
            check_property(key, text, known=raise_if_key_not_exists)
        create_table(
            table_uri,
            schema,
            location=location,
            partition_by=partition_by,
            properties=configuration,
            name=name,
            description=description,
            mode=mode,  # type: ignore[arg-type]
            storage_options=storage_options,
            commit_properties=commit_properties,
            raise_if_key_not_exists=raise_if_key_not_exists,
        )
        return cls(table_uri, storage_options=storage_options)

    @staticmethod
    def is_deltatable(table_uri: str, storage_options: Mapping[str, Any] | None = None) -> bool:
        """Whether the catalog has the table; other errors are raised."""
        missing = (DeltaLakeErrorKind.TABLE_NOT_FOUND, DeltaLakeErrorKind.NOT_FOUND)
        try:
            connect_to_table(table_uri, storage_options=storage_options).close()
        except DeltaLakeError as error:
            if error.kind in missing:
                return False
            raise
        return True

    # What it is.

    def version(self) -> int:
        return self._at.version

    def metadata(self) -> Metadata:
        return self._at.metadata

    def protocol(self) -> Protocol:
        return self._at.protocol

    def schema(self) -> DeltaSchema:
        return DeltaSchema(self._at.metadata.schema.schema_string)

    @property
    def table_uri(self) -> str:
        """Where the data is."""
        return self._at.location

    def history(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Commits, newest first, with the keys that delta-rs gives them."""
        return [commit_entry(entry) for entry in self.table.history(limit)]

    def transaction_version(self, app_id: str) -> int | None:
        found = self._at.transactions.get(app_id)
        return None if found is None else found["version"]

    # What it holds.

    def files(self, partition_filters: Predicate = None) -> list[str]:
        found: list[str] = self._at.plan(partition_filters, ("path",))["path"].to_pylist()
        return found

    def file_uris(
        self, partition_filters: Predicate = None, file_pruning_predicate: Predicate = None
    ) -> list[str]:
        return self._at.file_uris(self._at.where(partition_filters, file_pruning_predicate))

    def partitions(
        self, partition_filters: Predicate = None, file_pruning_predicate: Predicate = None
    ) -> list[dict[str, str | None]]:
        return self._at.partition_values(self._at.where(partition_filters, file_pruning_predicate))

    def get_add_actions(self, flatten: bool = False) -> pa.Table:
        return self._at.get_add_actions(flatten)

    def count(self) -> int:
        return self._at.count_rows()

    def to_pyarrow_dataset(
        self, partitions: Predicate = None, file_pruning_predicate: Predicate = None
    ) -> ds.Dataset:
        from deltalakedb.scan.dataset import scan_dataset

        wanted = self._at.where(partitions, file_pruning_predicate)
        return scan_dataset(self._at.scan_spec(wanted))

    def to_pyarrow_table(
        self,
        partitions: Predicate = None,
        columns: list[str] | None = None,
        filters: Predicate = None,
    ) -> pa.Table:
        return self._at.to_pyarrow_table(self._at.where(partitions, filters), columns)

    def to_pandas(
        self,
        partitions: Predicate = None,
        columns: list[str] | None = None,
        filters: Predicate = None,
        types_mapper: Any = None,
    ) -> Any:
        found = self.to_pyarrow_table(partitions, columns, filters)
        return found.to_pandas(types_mapper=types_mapper)

    def scan(
        self, columns: list[str] | None = None, predicate: Predicate = None
    ) -> pa.RecordBatchReader:
        """The rows as a stream of batches."""
        import pyarrow as pa

        schema = self._at.schema
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        batches = self._at.to_batches(predicate, columns)
        return pa.RecordBatchReader.from_batches(schema, (b.cast(schema) for b in batches))

    def deletion_vectors(self) -> pa.RecordBatchReader:
        """`filepath` and `selection_vector` (true: the row is kept) of files with deleted rows."""
        import numpy as np
        import pyarrow as pa

        from deltalakedb.scan.file import read_vector

        schema = pa.schema(
            [
                pa.field("filepath", pa.string(), nullable=False),
                pa.field("selection_vector", pa.list_(pa.bool_()), nullable=False),
            ]
        )
        spec = self._at.scan_spec()
        root = self._at.location.rstrip("/")

        def batches() -> Iterator[pa.RecordBatch]:
            for row in spec.files.select(["path", "dv", "num_records"]).to_pylist():
                if row["dv"] is None:
                    continue
                kept = np.ones(row["num_records"], bool)
                kept[read_vector(spec.opened, orjson.loads(row["dv"]))] = False
                arrays = [
                    pa.array([f"{root}/{row['path']}"]),
                    pa.array([kept.tolist()], schema.field(1).type),
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)

        return pa.RecordBatchReader.from_batches(schema, batches())

    def load_cdf(
        self,
        starting_version: int = 0,
        ending_version: int | None = None,
        starting_timestamp: str | None = None,
        ending_timestamp: str | None = None,
        columns: list[str] | None = None,
        predicate: str | None = None,
        allow_out_of_range: bool = False,
    ) -> pa.RecordBatchReader:
        return self.table.load_cdf(
            starting_version or None,
            ending_version,
            starting_timestamp,
            ending_timestamp,
            columns,
            predicate,
            allow_out_of_range,
        )

    # Which version it shows.

    def load_as_version(self, version: int | str | dt.datetime) -> None:
        """Show a version, or the newest at a time."""
        if isinstance(version, str | dt.datetime):
            self._at = self.table.snapshot(timestamp=version)
        else:
            self._at = self.table.snapshot(version)

    def update_incremental(self) -> None:
        """Show the newest version."""
        self._at = self.table.snapshot()

    # What changes it; afterwards the newest version is shown.

    def delete(
        self,
        predicate: str | None = None,
        writer_properties: Any = None,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> dict[str, Any]:
        found = self.table.delete(
            predicate,
            writer_properties=writer_properties,
            commit_properties=commit_properties,
            post_commithook_properties=post_commithook_properties,
        )
        return self._done(found)

    def update(
        self,
        updates: Mapping[str, str] | None = None,
        new_values: Mapping[str, Any] | None = None,
        predicate: str | None = None,
        writer_properties: Any = None,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> dict[str, Any]:
        if updates is None and new_values is None:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT, "update takes updates or new_values"
            )
        found = self.table.update(
            updates,
            new_values,
            predicate,
            writer_properties=writer_properties,
            commit_properties=commit_properties,
            post_commithook_properties=post_commithook_properties,
        )
        return self._done(found)

    def merge(
        self,
        source: Any,
        predicate: str,
        source_alias: str | None = None,
        target_alias: str | None = None,
        merge_schema: bool = False,
        writer_properties: Any = None,
        max_spill_size: int | None = None,
        max_temp_directory_size: int | None = None,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> TableMerger:
        """As `Table.merge`; call `update_incremental()` after `execute()`."""
        return self.table.merge(
            source,
            predicate,
            source_alias,
            target_alias,
            merge_schema=merge_schema,
            max_spill_size=max_spill_size,
            max_temp_directory_size=max_temp_directory_size,
            writer_properties=writer_properties,
            commit_properties=commit_properties,
            post_commithook_properties=post_commithook_properties,
        )

    @property
    def alter(self) -> TableAlterer:
        """As `Table.alter`; call `update_incremental()` to see what it did."""
        return self.table.alter

    @property
    def optimize(self) -> TableOptimizer:
        """As `Table.optimize`; call `update_incremental()` to see what it did."""
        return self.table.optimize

    def vacuum(
        self,
        retention_hours: float | None = None,
        dry_run: bool = True,
        enforce_retention_duration: bool = True,
        full: bool = False,
        keep_versions: Sequence[int] | None = None,
    ) -> list[str]:
        return self.table.vacuum(
            retention_hours,
            dry_run,
            enforce_retention_duration,
            full=full,
            keep_versions=keep_versions,
        )

    def restore(
        self,
        target: int | str | dt.datetime,
        *,
        ignore_missing_files: bool = False,
        protocol_downgrade_allowed: bool = False,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> dict[str, Any]:
        found = self.table.restore(
            target,
            ignore_missing_files=ignore_missing_files,
            protocol_downgrade_allowed=protocol_downgrade_allowed,
            commit_properties=commit_properties,
            post_commithook_properties=post_commithook_properties,
        )
        return self._done(found)

    def repair(
        self,
        dry_run: bool = False,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> dict[str, Any]:
        found = self.table.repair(
            dry_run,
            commit_properties=commit_properties,
            post_commithook_properties=post_commithook_properties,
        )
        return self._done(found)

    def create_checkpoint(self) -> None:
        self.table.create_checkpoint()

    def cleanup_metadata(self) -> None:
        self.table.cleanup_metadata()

    def compact_logs(self, starting_version: int, ending_version: int) -> None:
        self.table.compact_logs(starting_version, ending_version)

    def generate(self) -> None:
        self.table.generate()

    def close(self) -> None:
        """Close the connection; asking again opens it again. A `with` does so at its end."""
        self.table.close()

    def __enter__(self) -> DeltaTable:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _done(self, found: T) -> T:
        self.update_incremental()
        return found

    def __repr__(self) -> str:
        return f"DeltaTable({self.table!r}, version={self.version()})"
