"""Scans for tests: of sample tables (file lists from the expected facts) and of small made ones."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyroaring import BitMap64

from deltalakedb.log.deletion_vector import PORTABLE_MAGIC
from deltalakedb.log.partition import partition_values_text
from deltalakedb.log.protocol import Protocol
from deltalakedb.scan.scan import ScanSpec
from deltalakedb.storage.spec import StoreSpec
from tests.tables import samples

FILES = pa.schema(
    [
        ("path", pa.string()),
        ("partition_values", pa.string()),
        ("dv", pa.string()),
        ("num_records", pa.int64()),
        ("size", pa.int64()),
    ]
)


def sample_facts(name: str, version: int) -> dict[str, Any]:
    facts: dict[str, Any] = samples.expected(name)["versions"][str(version)]
    return facts


def sample_scan(name: str, version: int) -> ScanSpec:
    facts = sample_facts(name, version)
    rows = [
        file_row(
            detail["raw_path"],
            file["partition_values"],
            dv=detail["deletion_vector"],
            num_records=file["num_records"],
            size=file["size"],
        )
        for file, detail in zip(facts["files"], facts["file_details"], strict=True)
    ]
    protocol = facts["protocol"]
    features = (protocol["reader_features"], protocol["writer_features"])
    return ScanSpec(
        StoreSpec(str(samples.path(name))),
        pa.Table.from_pylist(rows, FILES),
        json.dumps(facts["schema"]),
        tuple(facts["partition_columns"]),
        facts["configuration"],
        Protocol(
            protocol["min_reader_version"],
            protocol["min_writer_version"],
            *(None if listed is None else tuple(listed) for listed in features),
        ),
        version,
    )


def sample_versions(*statuses: str, newest_only: bool = False) -> list[tuple[str, int]]:
    """(table, version) of the sample tables whose data is of one of these statuses."""
    found = []
    for name in samples.names():
        matching = [
            version
            for version in samples.versions(name)
            if sample_facts(name, version)["data"]["status"] in statuses
            and "file_details" in sample_facts(name, version)
        ]
        found += [(name, version) for version in (matching[-1:] if newest_only else matching)]
    return found


def file_row(
    path: str,
    partition_values: Mapping[str, str | None] | None = None,
    dv: Mapping[str, Any] | None = None,
    num_records: int | None = None,
    size: int = 1,
) -> dict[str, Any]:
    return {
        "path": path,
        "partition_values": partition_values_text(partition_values or {}),
        "dv": None if dv is None else json.dumps(dv),
        "num_records": num_records,
        "size": size,
    }


def column(name: str, kind: Any, **metadata: Any) -> dict[str, Any]:
    """A field of a Delta schema; metadata keys `id` and `physical` are those of column mapping."""
    renamed = {"id": "delta.columnMapping.id", "physical": "delta.columnMapping.physicalName"}
    return {
        "name": name,
        "type": kind,
        "nullable": True,
        "metadata": {renamed.get(key, key): value for key, value in metadata.items()},
    }


def struct_of(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "struct", "fields": list(fields)}


def made_scan(
    folder: Path | str,
    fields: Iterable[dict[str, Any]],
    rows: Sequence[dict[str, Any]],
    *,
    partition_columns: Sequence[str] = (),
    mode: str = "none",
    features: Sequence[str] = ("columnMapping", "deletionVectors", "timestampNtz", "typeWidening"),
    options: Mapping[str, str] | None = None,
) -> ScanSpec:
    return ScanSpec(
        StoreSpec(str(folder), options or {}),
        pa.Table.from_pylist(list(rows), FILES),
        json.dumps(struct_of(*fields)),
        tuple(partition_columns),
        {"delta.columnMapping.mode": mode},
        Protocol(3, 7, tuple(features), tuple(features)),
        7,
    )


def write_parquet(path: Path, table: pa.Table, **options: Any) -> str:
    """The name of the file, for its row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path.name


def with_ids(schema: pa.Schema, ids: Mapping[str, int]) -> pa.Schema:
    """The schema with Parquet field ids, for top-level columns and structs' fields by path."""

    def mark(field: pa.Field, path: str) -> pa.Field:
        if pa.types.is_struct(field.type):
            inner = [mark(child, f"{path}.{child.name}") for child in field.type]
            field = field.with_type(pa.struct(inner))
        elif pa.types.is_list(field.type):
            field = field.with_type(pa.list_(mark(field.type.value_field, path + "[]")))
        return field.with_metadata({"PARQUET:field_id": str(ids[path])}) if path in ids else field

    return pa.schema([mark(field, field.name) for field in schema])


def write_deletion_vector(path: Path, rows: Iterable[int]) -> dict[str, Any]:
    """A deletion vector in a file of its own, and its descriptor (absolute path)."""
    bitmap = BitMap64(rows)
    data = struct.pack("<I", PORTABLE_MAGIC) + bitmap.serialize()
    path.write_bytes(
        b"\1" + struct.pack(">I", len(data)) + data + struct.pack(">I", zlib.crc32(data))
    )
    return {
        "storageType": "p",
        "pathOrInlineDv": path.as_uri(),
        "offset": 1,
        "sizeInBytes": len(data),
        "cardinality": len(bitmap),
    }
