"""What is made of a table's log besides commits: manifests, compacted ranges, and its cleanup.

PROTOCOL.md, "Log Compaction Files", "Metadata Cleanup".
"""

from __future__ import annotations

from typing import Any

import orjson

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.deletion_vector import unique_id
from deltalakedb.log.paths import commit_name, decode_path, is_absolute
from deltalakedb.log.protocol import check_writable
from deltalakedb.mirror import publish, tend
from deltalakedb.mirror.checkpoint import clean_up
from deltalakedb.table.operations.base import Base
from deltalakedb.write.target import FileTarget

MANIFESTS = "_symlink_format_manifest"


def generate(catalog: LightCatalog, base: Base) -> list[str]:
    """Write a manifest of each partition's files; those of partitions without files go."""
    files = base.live_files(catalog)
    if files.column("dv").null_count < files.num_rows:
        raise DeltaLakeError(
            DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
            f"{base.row.full_name} has deletion vectors, which readers of manifests don't know; "
            "run optimize.compact() on a table without delta.enableDeletionVectors first",
            feature="deletionVectors",
        )
    partitioning = FileTarget.of(base.metadata, base.protocol).partitioning
    root = base.row.location.rstrip("/")
    found: dict[str, list[str]] = {}
    if not partitioning.columns:
        found[f"{MANIFESTS}/manifest"] = []
    for raw, text in zip(
        files.column("path").to_pylist(), files.column("partition_values").to_pylist(), strict=True
    ):
        given: dict[str, Any] = orjson.loads(text)
        values = tuple(given.get(name) for name in partitioning.physical)
        place = f"{MANIFESTS}/{partitioning.directory(values)}manifest"
        path = decode_path(raw)
        found.setdefault(place, []).append(path if is_absolute(path) else f"{root}/{path}")
    for place, paths in found.items():
        base.data.put(place, "".join(f"{path}\n" for path in sorted(paths)).encode())
    there = [each.name for each in base.data.list(f"{MANIFESTS}/", recursive=True)]
    base.data.delete([name for name in there if name not in found])
    return sorted(found)


def clean_log(catalog: LightCatalog, base: Base) -> list[str]:
    """Remove expired log entries that the newest checkpoint covers; their names."""
    check_writable(base.protocol)
    row = base.row
    log = publish.log_of(row, base.storage_options)
    newest = tend.tend_now(catalog.reader.url, row, log).durable_version
    with Catalog(catalog.reader.url) as opened:
        return clean_up(opened, row, log, keep_from=newest, force=True)


def compact_logs(catalog: LightCatalog, base: Base, start: int, end: int) -> str:
    """Write `start.end.compacted.json`; its name. INVALID_ARGUMENT for a range that isn't whole."""
    check_writable(base.protocol)
    row = base.row
    log = publish.log_of(row, base.storage_options)
    newest = tend.tend_now(catalog.reader.url, row, log).durable_version
    if not 0 <= start < end <= newest:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"no range of at least two commits from {start} to {end} in the log of "
            f"{row.full_name}, which goes to {newest}",
            version=newest,
        )
    kept: dict[tuple[str, ...], bytes] = {}
    for version in range(start, end + 1):
        for line in log.read(commit_name(version)).splitlines():
            for kind, body in orjson.loads(line).items() if line.strip() else ():
                key = _key(kind, body)
                if key is not None:
                    # What came last holds, and stands last.
                    kept.pop(key, None)
                    kept[key] = line
    name = f"{start:020d}.{end:020d}.compacted.json"
    log.put(name, b"".join(line + b"\n" for line in kept.values()))
    return name


def _key(kind: str, body: dict[str, Any]) -> tuple[str, ...] | None:
    """By what an action replaces an older one; None for those that a compaction leaves out."""
    if kind in ("add", "remove"):
        vector = body.get("deletionVector")
        return ("file", str(body["path"]), unique_id(vector) if vector else "")
    if kind == "txn":
        return (kind, str(body["appId"]))
    if kind == "domainMetadata":
        return (kind, str(body["domain"]))
    return (kind,) if kind in ("protocol", "metaData") else None
