"""`_last_checkpoint`, from which readers find the newest checkpoint, against what is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.records import TableRow
from deltalakedb.error import DeltaLakeError
from deltalakedb.log.checksum import json_checksum
from deltalakedb.log.segment import CheckpointEntry
from deltalakedb.storage.open import open_store
from deltalakedb.storage.store import ObjectStore
from deltalakedb.sweep.checkpoints import actions_listed, adds_listed, is_v2
from deltalakedb.sweep.findings import Finding
from deltalakedb.sweep.logs import Log
from deltalakedb.sweep.proofs import Proof

NAME = "_last_checkpoint"


def wrong(catalog: Catalog, row: TableRow, log: Log, proof: Proof | None) -> Iterator[Finding]:
    """What is wrong with it (PROTOCOL.md, "Last Checkpoint File").

    Some writers leave none: it is missed where it was before, or where the catalog wrote it. Those
    of old gave nothing but a version and a size, and often another one: where it is all there is,
    it isn't held against anything.
    """
    if NAME in log.objects:
        yield from _differs(open_store(log.store), log.listing.checkpoints)
    elif log.listing.checkpoints and (_is_ours(catalog, row) or (proof and proof.pointed)):
        version = log.listing.checkpoints[0].version
        yield Finding(
            "last-checkpoint-wrong", f"{NAME} is gone, and there is a checkpoint of {version}"
        )


def _is_ours(catalog: Catalog, row: TableRow) -> bool:
    found = catalog.reader.rows(
        "SELECT checkpoint_version FROM dl_mirror WHERE table_key = ?", (row.table_key,)
    )
    return row.authority != "log" and bool(found) and found[0][0] is not None


def _differs(store: ObjectStore, checkpoints: Sequence[CheckpointEntry]) -> Iterator[Finding]:
    try:
        found = orjson.loads(store.read(NAME))
        version = found.get("version")
    except (orjson.JSONDecodeError, AttributeError):
        yield Finding("last-checkpoint-wrong", f"{NAME} is no JSON object")
        return
    there = [c for c in checkpoints if c.version == version]
    if not there:
        yield Finding(
            "last-checkpoint-wrong", f"{NAME} names version {version}, of which there is none"
        )
        return
    checksum = found.get("checksum")
    if checksum is not None and checksum == json_checksum(found):
        return
    told = dict(_told(found, there, store))
    if told:
        text = ", ".join(f"{name} is {found[name]}, not {value}" for name, value in told.items())
        yield Finding("last-checkpoint-wrong", f"{NAME} of version {version}: {text}")
    elif checksum is not None:
        yield Finding(
            "last-checkpoint-wrong", f"{NAME} of version {version} isn't what its checksum is of"
        )


def _told(
    found: Mapping[str, Any], there: Sequence[CheckpointEntry], store: ObjectStore
) -> Iterator[tuple[str, int | None]]:
    """What it says of its checkpoint that isn't so, and how it is."""
    [entry, *others] = there
    if others or is_v2(entry) or "sizeInBytes" not in found:
        # Which of several it means, and what of sidecars it counts, writers see differently.
        return
    if found["sizeInBytes"] != entry.size:
        yield "sizeInBytes", entry.size
    parts = len(entry.names) if len(entry.names) > 1 else None
    if found.get("parts", parts) != parts:
        yield "parts", parts
    try:
        counted = {
            "size": actions_listed(store, entry),
            "numOfAddFiles": adds_listed(store, entry),
        }
    except (DeltaLakeError, pa.ArrowException) as error:
        if isinstance(error, DeltaLakeError) and error.retryable:
            raise
        # The checkpoint itself is told of.
        return
    for name, count in counted.items():
        if count is not None and found.get(name, count) != count:
            yield name, count
