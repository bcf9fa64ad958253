"""`DeltaLakeBridge`: the original table as the `deltalake` package sees it, to compare with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.paths import decode_path
from deltalakedb.redact import redact

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable


class SchemaText(str):
    """A schemaString that equals every text of the same schema.

    delta-rs writes what it has parsed anew: spaces and the order of keys are its own.
    """

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str):
            return NotImplemented
        try:
            return str(self) == str(other) or bool(json.loads(self) == json.loads(other))
        except ValueError:
            return False

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(json.dumps(json.loads(self), sort_keys=True))


class OriginalFile(str):
    """A live file: its path, decoded, as text; `path` is the same, `size` is in bytes."""

    size: int
    modification_time: int
    num_records: int | None

    @property
    def path(self) -> str:
        return str(self)


class DeltaLakeBridge:
    """Opens tables with the `deltalake` package, which knows nothing of the catalog.

    `storage_options` are those of deltalake. CONFIGURATION_ERROR when it isn't installed.
    """

    def __init__(self, storage_options: Mapping[str, str] | None = None) -> None:
        self._storage_options = dict(storage_options or {})

    def create_compatible_table(self, uri: str, version: int | None = None) -> CompatibleTable:
        """The table at a path, `file://` or `s3://` URL, at its newest version or `version`.

        Raises NOT_FOUND, INVALID_LOG, UNSUPPORTED_FEATURE.
        """
        package = _deltalake()
        with _errors(uri):
            table = package.DeltaTable(uri, version, storage_options=self._storage_options or None)
        return CompatibleTable(table, str(uri))


class CompatibleTable:
    """A table as delta-rs reads it from its log; `delta_table` is delta-rs's own object."""

    def __init__(self, table: DeltaTable, uri: str) -> None:
        self.delta_table = table
        self._uri = uri

    def version(self) -> int:
        return int(self.delta_table.version())

    def metadata(self) -> dict[str, Any]:
        """The metaData action: id, name, description, schemaString, partitionColumns,
        configuration, createdTime (PROTOCOL.md, Change Metadata)."""
        return dict(self._metadata)

    @cached_property
    def _metadata(self) -> dict[str, Any]:
        with _errors(self._uri):
            found = self.delta_table.metadata()
            schema = SchemaText(self.delta_table.schema().to_json())
        return {
            "id": str(found.id),
            "name": found.name,
            "description": found.description,
            "schemaString": schema,
            "partitionColumns": list(found.partition_columns),
            "configuration": dict(found.configuration),
            "createdTime": found.created_time,
        }

    def files(self) -> list[OriginalFile]:
        """The live files; each is its decoded path, and has `path` and `size`."""
        import pyarrow as pa

        with _errors(self._uri):
            actions = pa.table(self.delta_table.get_add_actions())
        columns = ("path", "size_bytes", "modification_time", "num_records")
        return [
            _original_file(*row)
            for row in zip(*(actions.column(c).to_pylist() for c in columns), strict=True)
        ]

    def to_pyarrow_dataset(self) -> Any:
        """The data: delta-rs's own dataset, or a `QueriedData` where that can't read the table."""
        exceptions = _deltalake().exceptions
        mapping = self._metadata["configuration"].get("delta.columnMapping.mode", "none")
        if mapping != "none":
            return QueriedData(self.delta_table)
        with _errors(self._uri):
            try:
                return self.delta_table.to_pyarrow_dataset()
            except exceptions.DeltaProtocolError:
                return QueriedData(self.delta_table)

    def __repr__(self) -> str:
        return f"CompatibleTable({redact(self._uri)!r}, version={self.version()})"


class QueriedData:
    """The data of a table that delta-rs reads by queries alone (deletion vectors, column mapping).

    Has what is needed to compare: `schema`, `head`, `count_rows`, `to_table`.
    """

    def __init__(self, table: DeltaTable) -> None:
        self._builder = _deltalake().QueryBuilder().register("original", table)

    def _query(self, sql: str) -> pa.Table:
        import pyarrow as pa

        return pa.RecordBatchReader.from_stream(self._builder.execute(sql)).read_all()

    @property
    def schema(self) -> pa.Schema:
        return self.head(0).schema

    def head(self, num_rows: int) -> pa.Table:
        return self._query(f"SELECT * FROM original LIMIT {int(num_rows)}")

    def count_rows(self) -> int:
        count: int = self._query("SELECT count(*) FROM original").column(0)[0].as_py()
        return count

    def to_table(self) -> pa.Table:
        return self._query("SELECT * FROM original")


def _original_file(
    raw: str, size: int, modification_time: int, num_records: int | None
) -> OriginalFile:
    file = OriginalFile(decode_path(raw))
    file.size = size
    file.modification_time = modification_time
    file.num_records = num_records
    return file


def _deltalake() -> Any:
    import deltalake

    return deltalake


@contextmanager
def _errors(uri: str) -> Iterator[None]:
    """delta-rs's errors as ours."""
    exceptions = _deltalake().exceptions
    try:
        yield
    except exceptions.TableNotFoundError as error:
        raise DeltaLakeError(
            DeltaLakeErrorKind.NOT_FOUND,
            f"there is no Delta table at {uri}; correct the path",
            location=uri,
        ) from error
    except exceptions.DeltaError as error:
        unsupported = isinstance(error, exceptions.DeltaProtocolError)
        kind = DeltaLakeErrorKind.UNSUPPORTED_FEATURE if unsupported else None
        raise DeltaLakeError(
            kind or DeltaLakeErrorKind.INVALID_LOG,
            f"the package deltalake can't read the table at {uri}: {error!s}; "
            "compare it by `dl diff` instead",
            location=uri,
        ) from error
