"""A checkpoint as it is listed, and what its footers count: nothing of it is replayed."""

from __future__ import annotations

import re
from typing import Any

from deltalakedb.log.segment import CheckpointEntry
from deltalakedb.mirror.sidecars import sidecars_in
from deltalakedb.storage.store import ObjectStore

_V2_NAME = re.compile(r"\d{20}\.checkpoint\.[0-9a-f-]{36}\.(json|parquet)")


def is_v2(entry: CheckpointEntry) -> bool:
    """Whether it is named as V2 checkpoints are (PROTOCOL.md, "UUID-named checkpoint")."""
    return _V2_NAME.fullmatch(entry.names[0]) is not None


def actions_listed(log: ObjectStore, entry: CheckpointEntry) -> int | None:
    """How many actions a checkpoint's own files hold; None if they don't tell."""
    import pyarrow.parquet as pq

    total = 0
    for name in entry.names:
        if not name.endswith(".parquet"):
            return None
        with log.open_input(name) as data:
            total += pq.read_metadata(data).num_rows
    return total


def checkpoint_mark(log: ObjectStore, entry: CheckpointEntry) -> str:
    """A checkpoint as it is listed, with the files that it may name, to see a change of them."""
    if not is_v2(entry):
        return entry.fingerprint
    found = sorted((o.name, o.modified_ms) for o in sidecars_in(log))
    return f"{entry.fingerprint}:{len(found)}:{max((at for _, at in found), default=0)}"


def adds_listed(log: ObjectStore, entry: CheckpointEntry) -> int | None:
    """How many files a checkpoint lists, those that stand twice twice; None if it doesn't tell."""
    import pyarrow.parquet as pq

    total = 0
    names = list(entry.names)
    while names:
        name = names.pop()
        if not name.endswith(".parquet"):
            return None
        with log.open_input(name) as data:
            file = pq.ParquetFile(data)
            found = _valid(file, "add.path")
            if found is None:
                return None
            total += found
            if not name.startswith("_sidecars/") and "sidecar" in file.schema_arrow.names:
                column = file.read(["sidecar.path"]).column("sidecar").combine_chunks()
                names += [f"_sidecars/{each['path']}" for each in column.drop_null().to_pylist()]
    return total


def _valid(file: Any, path: str) -> int | None:
    """Values of a column that aren't null, as the footer counts them."""
    total = 0
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        columns = [group.column(n) for n in range(group.num_columns)]
        found = next((c for c in columns if c.path_in_schema == path), None)
        if found is None:
            return 0
        told = found.statistics
        if told is None or told.null_count is None:
            return None
        total += group.num_rows - told.null_count
    return total
