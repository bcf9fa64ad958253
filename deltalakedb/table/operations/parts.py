"""What parts of an operation bring back from elsewhere, and how they are waited for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deltalakedb.executor.executor import Executor
from deltalakedb.table.operations.base import Base
from deltalakedb.write.files import WrittenFiles

AGAIN = "run the operation again"
"""What to do once a lost cluster is back."""


@dataclass
class Counts:
    """What became of rows; `deleted` None where files were removed that tell no number."""

    deleted: int | None = 0
    copied: int = 0
    scan_ms: int = 0
    rewrite_ms: int = 0


@dataclass
class Part:
    """What became of some files: adds (FILE_SCHEMA), raw paths whose lives end, and numbers.

    `names`: the objects that were made. `read`: by raw path, places of rows that decided something
    without being changed.
    """

    adds: pa.Table
    removed: list[str]
    counts: Counts
    written: WrittenFiles
    changes: WrittenFiles
    names: list[str]
    read: dict[str, npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Failed:
    """What a task returns where it has failed, having removed what it wrote."""

    error: Exception


def gathered(executor: Executor, handles: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """(position, what the task returned), each once it is there; then the first error is raised.

    Tasks return a `Failed` instead of raising, so that the others are waited for, and nothing is
    written any more once this has ended.
    """
    failed: Failed | None = None
    try:
        for position, found in executor.completed(handles):
            if isinstance(found, Failed):
                failed = failed or found
            else:
                yield position, found
    except BaseException:
        executor.cancel()
        raise
    executor.release(handles)
    if failed is not None:
        raise failed.error


def portable(base: Base) -> Base:
    """The base as workers get it: without what is cached, and with no credentials in its pickle.

    What a transaction has staged is in the files and the schema that they are given.
    """
    options = dict(base.data.spec.options)
    return replace(base, storage_options=options, read_shape=None, staged=None, enlist=None)
