"""A folder of Parquet files becomes a table: its files stay where they are, version 0 names them.

PROTOCOL.md, "Data Files", "Partition Value Serialization", "Per-file Statistics".
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from deltalakedb.commit.staged import StagedTable
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.commit_writer import add_body
from deltalakedb.log.features import CONSTRAINT_PREFIX
from deltalakedb.log.few_files import table_of
from deltalakedb.log.paths import encode_path
from deltalakedb.log.schema import PrimitiveType, StructField, StructType
from deltalakedb.log.schema_writer import struct_of_arrow
from deltalakedb.scan.scan import scan_batches
from deltalakedb.scan.types import partition_scalars
from deltalakedb.storage.store import ObjectInfo, ObjectStore
from deltalakedb.table.operations.alter import scan_spec
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.create import NewTable, create_of
from deltalakedb.table.operations.provenance import commit_info
from deltalakedb.table.operations.write import WriteOptions
from deltalakedb.table.transaction import WriteResult
from deltalakedb.write.files import WrittenFiles
from deltalakedb.write.schema import RowConverter, schema_of
from deltalakedb.write.target import FileTarget

Strategy = Literal["hive", "directory"]
_NULL = "__HIVE_DEFAULT_PARTITION__"
_THREADS = 8


def convert(
    database: DatabaseUrl,
    new: NewTable,
    partition_by: Any,
    strategy: Strategy,
    options: WriteOptions,
    *,
    collect_stats: bool,
) -> WriteResult:
    """Make a table of the Parquet files below `new.location`.

    `partition_by`: the partition columns, as a schema or as names (strings then), in the order of
    the folders. Statistics are taken from the rows; without `collect_stats` files say their number
    of rows alone. Raises NOT_FOUND for a folder without such files, SCHEMA_MISMATCH naming the file
    whose columns don't fit the others', INVALID_ARGUMENT for folders that aren't partitions as
    said, TABLE_EXISTS, and what reading raises.
    """
    _check(new)
    partitions = _partition_columns(partition_by)
    new = replace(new, partition_by=[field.name for field in partitions])

    def find(store: ObjectStore) -> tuple[StructType, _Found]:
        files = _parquet_files(store)
        values = [_values(each.name, partitions, strategy, store) for each in files]
        struct = _struct(store, files, partitions)
        return struct, _Found(files, values, collect_stats=collect_stats)

    return create_of(database, new, find, options)


class _Found:
    """The files of a table that is to be."""

    def __init__(
        self,
        files: Sequence[ObjectInfo],
        values: Sequence[dict[str, str | None]],
        *,
        collect_stats: bool,
    ) -> None:
        self._files, self._values, self._collect = files, values, collect_stats

    def written(self, base: Base) -> WrittenFiles:
        """As if they had been written; their names are nobody's to remove."""
        adds = [
            add_body(encode_path(each.name), values, each.size, each.modified_ms)
            for each, values in zip(self._files, self._values, strict=True)
        ]
        rows = table_of(WrittenFiles(adds=adds).rows())
        spec = scan_spec(base, rows)
        for text in set(rows.column("partition_values").to_pylist()):
            for value in partition_scalars(text, spec.schema).values():
                if isinstance(value, DeltaLakeError):
                    raise value
        target = FileTarget.of(base.metadata, base.protocol)

        def gathered(number: int) -> tuple[str, int]:
            one = scan_spec(base, rows.slice(number, 1))
            if not self._collect:
                with base.data.open_input(self._files[number].name) as file:
                    count = int(pq.ParquetFile(file).metadata.num_rows)
                return f'{{"numRecords":{count}}}', count
            collector = target.collector()
            converter: RowConverter | None = None
            count = 0
            for batch in scan_batches(one, workers=1):
                converter = converter or RowConverter(batch.schema, base.struct)
                collector.add(converter.convert(batch))
                count += batch.num_rows
            return collector.text(), count

        with ThreadPoolExecutor(_THREADS) as pool:
            told = list(pool.map(gathered, range(len(adds))))
        for add, (stats, _) in zip(adds, told, strict=True):
            add["stats"] = stats
        return WrittenFiles(
            adds=adds,
            num_rows=sum(count for _, count in told),
            num_bytes=sum(each.size for each in self._files),
        )

    def staged(self, table: StagedTable, options: WriteOptions) -> StagedTable:
        """The commit by its own name."""
        parameters = {
            "numFiles": len(self._files),
            "partitionedBy": table.metadata["partitionColumns"] if table.metadata else [],
            "collectStats": self._collect,
            "sourceFormat": "parquet",
        }
        metrics: dict[str, int | str] = {"numConvertedFiles": len(self._files)}
        said = commit_info("CONVERT", parameters, metrics, options.commit, blind=True)
        return replace(table, info=said)


def _check(new: NewTable) -> None:
    configuration = new.configuration or {}
    mode = (configuration.get("delta.columnMapping.mode") or "none").lower()
    held = [name for name in configuration if name.startswith(CONSTRAINT_PREFIX)]
    if mode != "none" or held:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            "files that are there know no column mapping and were held against no constraint "
            f"({', '.join([*held, *(['delta.columnMapping.mode'] if mode != 'none' else [])])}); "
            "alter the table when it is made",
        )


def _partition_columns(given: Any) -> list[StructField]:
    if given is None:
        return []
    names = [given] if isinstance(given, str) else given
    if isinstance(names, (list, tuple)) and all(isinstance(each, str) for each in names):
        return [StructField(name, PrimitiveType("string"), True) for name in names]
    return list(schema_of(given).fields)


def _parquet_files(store: ObjectStore) -> list[ObjectInfo]:
    listed = store.list(recursive=True)
    inner = next((each.name for each in listed if "/_delta_log/" in each.name), None)
    if inner is not None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{store.describe(inner)} is of another table below {store.describe()}; convert a "
            "folder that has none, or import that table",
            url=store.describe(),
        )
    found = [
        each
        for each in listed
        if each.name.endswith(".parquet") and not any(map(_is_hidden, each.name.split("/")))
    ]
    if not found:
        raise DeltaLakeError(
            DeltaLakeErrorKind.NOT_FOUND,
            f"there are no Parquet files below {store.describe()}; give the folder that has them",
            url=store.describe(),
        )
    return found


def _is_hidden(part: str) -> bool:
    # A partition column's name may begin like a hidden file's.
    return part.startswith(".") or (part.startswith("_") and "=" not in part)


def _values(
    name: str, columns: Sequence[StructField], strategy: Strategy, store: ObjectStore
) -> dict[str, str | None]:
    folders = name.split("/")[:-1]
    if strategy == "directory":
        texts = folders
        fits = len(folders) == len(columns)
    else:
        pairs = [folder.partition("=") for folder in folders]
        fits = [unquote(key) for key, _, _ in pairs] == [c.name for c in columns]
        texts = [text for _, _, text in pairs]
    if not fits:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"{store.describe(name)} doesn't lie in folders of the partition columns "
            f"({', '.join(c.name for c in columns) or 'none'}; strategy {strategy}); give all of "
            "them in the folders' order with partition_by",
            file=name,
        )
    decoded = [None if text in (_NULL, "") else unquote(text) for text in texts]
    return {column.name: text for column, text in zip(columns, decoded, strict=True)}


def _struct(
    store: ObjectStore, files: Sequence[ObjectInfo], partitions: Sequence[StructField]
) -> StructType:
    """All columns of the files, those of later ones at the end, then the partition columns."""

    def schema(each: ObjectInfo) -> pa.Schema:
        try:
            with store.open_input(each.name) as file:
                found: pa.Schema = pq.ParquetFile(file).schema_arrow
                return found
        except (pa.ArrowException, OSError) as error:
            raise DeltaLakeError(
                DeltaLakeErrorKind.CORRUPT_DATA_FILE,
                f"{store.describe(each.name)} is no Parquet file that can be read: {error}; mend "
                "or remove it",
                file=each.name,
            ) from error

    away = {field.name for field in partitions}
    fields: dict[str, StructField] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        for each, found in zip(files, pool.map(schema, files), strict=True):
            for field in struct_of_arrow(found.remove_metadata()).fields:
                mine = replace(field, nullable=True)
                known = fields.setdefault(field.name, mine)
                if known != mine:
                    raise DeltaLakeError(
                        DeltaLakeErrorKind.SCHEMA_MISMATCH,
                        f"column {field.name} of {store.describe(each.name)} is {mine.type}, and "
                        f"{known.type} in files before; write it anew with one type",
                        column=field.name,
                        file=each.name,
                    )
    kept = [field for name, field in fields.items() if name not in away]
    struct = StructType((*kept, *partitions))
    return schema_of(struct)
