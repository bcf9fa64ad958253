"""Tables of one commit, written by the writer, and read back by others and by ourselves."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from deltalakedb.log.commit_writer import CommitInfo, commit_body, metadata_body
from deltalakedb.log.features import logged_configuration, protocol_for
from deltalakedb.log.metadata import Metadata, TableSchema
from deltalakedb.log.protocol import Protocol
from deltalakedb.log.schema_writer import schema_string
from deltalakedb.scan.scan import ScanSpec, scan_table
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.write.files import WrittenFiles, write_files
from deltalakedb.write.schema import schema_of, with_column_mapping
from deltalakedb.write.target import FileTarget


class Made:
    """A table of one commit in a folder."""

    def __init__(
        self,
        folder: Path,
        schema: Any,
        partition_by: Sequence[str] = (),
        configuration: Mapping[str, str] | None = None,
        place: StoreSpec | None = None,
    ) -> None:
        self.folder = folder
        self.place = place or StoreSpec(str(folder))
        struct, configuration = with_column_mapping(schema_of(schema), configuration or {})
        self.protocol: Protocol = protocol_for(struct, configuration)
        self.metadata = Metadata(
            str(uuid.uuid4()),
            None,
            None,
            "parquet",
            0,
            TableSchema(schema_string(struct)),
            list(partition_by),
            logged_configuration(configuration),
        )
        self.target = FileTarget.of(self.metadata, self.protocol)
        self.store = open_store(self.place)
        self.version = 0
        self.adds: list[dict[str, Any]] = []

    def write(self, data: Any, **options: Any) -> WrittenFiles:
        """Write the data, and a commit that adds it."""
        written = write_files(self.store, self.target, data, str(uuid.uuid4()), **options)
        self.commit([{"add": add} for add in written.adds])
        self.adds += written.adds
        return written

    def commit(self, actions: list[dict[str, Any]]) -> None:
        first: list[dict[str, Any]] = [
            {"protocol": self.protocol.action()},
            {"metaData": metadata_body(self.metadata)},
        ]
        info = CommitInfo(operation="WRITE", parameters={"mode": "Append"}, engine_info="test")
        data = info.line(timestamp=1, read_version=None) + commit_body(
            (first if self.version == 0 else []) + actions
        )
        assert self.store.put_if_absent(f"_delta_log/{self.version:020d}.json", data)
        self.version += 1

    def read(self) -> pa.Table:
        """Its rows by our own scan."""
        files = [
            {
                "path": add["path"],
                "partition_values": json.dumps(add["partitionValues"]),
                "dv": None,
                "num_records": json.loads(add["stats"])["numRecords"],
                "size": add["size"],
            }
            for add in self.adds
        ]
        names = ("path", "partition_values", "dv", "num_records", "size")
        kinds = (pa.string(), pa.string(), pa.string(), pa.int64(), pa.int64())
        spec = ScanSpec(
            self.place,
            pa.Table.from_pylist(files, pa.schema(list(zip(names, kinds, strict=True)))),
            self.metadata.schema.schema_string,
            tuple(self.metadata.partition_columns),
            self.metadata.configuration,
            self.protocol,
            0,
        )
        return scan_table(spec)

    def read_by_deltalake(self) -> pa.Table:
        from deltalake import DeltaTable, QueryBuilder

        table = DeltaTable(str(self.folder))
        return pa.table(QueryBuilder().register("t", table).execute("SELECT * FROM t"))


def rows_of(table: pa.Table, key: str = "n") -> list[dict[str, Any]]:
    """Rows in the order of their key, in a form in which NaN equals itself."""
    found = sorted(table.to_pylist(), key=lambda row: row[key])
    return [{name: _comparable(value) for name, value in row.items()} for row in found]


def _comparable(value: Any) -> Any:
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return {name: _comparable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_comparable(inner) for inner in value]
    return value
