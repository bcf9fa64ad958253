"""MERGE on the workers of a Dask client: each matches some of the target's files with the source.

The source lies beside the table's data meanwhile, where workers read it: the scheduler holds none
of it. What comes back are actions, and which of the source's rows match nothing.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.fs

from deltalakedb.error import DeltaLakeError
from deltalakedb.executor.executor import executor_of
from deltalakedb.storage.store import ObjectStore
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.merge_source import Source
from deltalakedb.table.operations.parts import AGAIN, Failed, Part, gathered, portable
from deltalakedb.table.operations.rewrite import Rewrite, RewriteOptions
from deltalakedb.table.operations.spread import shares

Flags = npt.NDArray[np.bool_]
_COPIED = 16 << 20


@dataclass
class MergeCounts:
    """What became of rows, and how many files were looked at."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    updated_unmatched: int = 0
    deleted_unmatched: int = 0
    scanned_files: int = 0
    skipped_files: int = 0

    def add(self, other: MergeCounts) -> None:
        """Those of a part."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


class Merge(Protocol):
    """A merge that was compiled; its pickle has neither catalog nor source."""

    counts: MergeCounts

    def changed(self, rewrite: Rewrite, source: Source, directory: str) -> Flags:
        """Match and change the rewrite's files; which rows of the source match none of them."""


class Unmatched:
    """The rows of a source that match nothing."""

    def __init__(self, flags: Flags) -> None:
        self._flags = flags

    def unmatched(self, rows: int) -> Iterator[npt.NDArray[np.int64]]:
        """Their numbers, ascending, some at a time."""
        for start in range(0, len(self._flags), rows):
            found = np.flatnonzero(self._flags[start : start + rows]) + start
            if len(found):
                yield found


@dataclass
class _Merged:
    part: Part
    counts: MergeCounts
    alone: npt.NDArray[np.uint8]


def merged_elsewhere(merge: Merge, rewrite: Rewrite, source: Source) -> Unmatched:
    """Have the client's workers match and change the rewrite's files, which takes what they did.

    Raises CLUSTER_ERROR, and what the merge does.
    """
    base, store = rewrite.base, rewrite.base.data
    executor = executor_of(rewrite.client, store.spec.secrets(), again=AGAIN)
    # A name that begins so is hidden: no vacuum takes it for a data file.
    name = f"_merge-{uuid.uuid4()}.arrow"
    alone = np.ones(source.num_rows, dtype=bool)
    try:
        with Path(source.place).open("rb") as mine, store.open_output(name) as there:
            shutil.copyfileobj(mine, there, _COPIED)
        common = (merge, portable(base), rewrite.portable_options, name)
        handles = [
            executor.submit(_merged, *common, files, str(uuid.uuid4()))
            for files in shares(rewrite.files, executor.slots)
        ]
        for _, found in gathered(executor, handles):
            rewrite.takes(found.part)
            merge.counts.add(found.counts)
            alone &= np.unpackbits(found.alone, count=source.num_rows).astype(bool)
    finally:
        store.discard([name])
    return Unmatched(alone)


def _merged(
    merge: Merge, base: Base, options: RewriteOptions, name: str, files: pa.Table, write_id: str
) -> _Merged | Failed:
    """In a worker."""
    # Threads of one process may have been handed the same one.
    merge = copy.copy(merge)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="deltalakedb-merge-") as directory,
            Rewrite(base, files, options, write_id=write_id) as rewrite,
        ):
            source = Source.at(_fetched(base.data, name, directory))
            alone = merge.changed(rewrite, source, f"{directory}/join")
            return _Merged(rewrite.part(), merge.counts, np.packbits(alone))
    except (DeltaLakeError, OSError, pa.ArrowException) as error:
        return Failed(error)


def _fetched(store: ObjectStore, name: str, directory: str) -> str:
    """The object as a file of this machine."""
    filesystem, root = store.arrow_filesystem()
    if isinstance(filesystem, pyarrow.fs.LocalFileSystem):
        return f"{root}/{name}"
    place = Path(directory) / "source.arrow"
    with filesystem.open_input_stream(f"{root}/{name}") as there, place.open("wb") as mine:
        shutil.copyfileobj(there, mine, _COPIED)
    return str(place)
