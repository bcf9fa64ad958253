"""Parts of an operation on the workers of a Dask client: they read and write, actions come back.

Each part is a rewrite of some of the planned files. The scheduler holds what a commit says, and no
rows. A part that fails removes what it wrote; where one fails, the files of the others go too.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from deltalakedb.error import DeltaLakeError
from deltalakedb.executor.executor import Executor, executor_of
from deltalakedb.table.operations.base import Base
from deltalakedb.write.files import WrittenFiles

if TYPE_CHECKING:
    from deltalakedb.table.operations.rewrite import Rewrite, RewriteOptions

_PARTS_PER_SLOT = 2
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
    """What became of some files: adds (FILE_SCHEMA), raw paths whose lives end, and numbers."""

    adds: pa.Table
    removed: list[str]
    counts: Counts
    written: WrittenFiles
    changes: WrittenFiles
    names: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Failed:
    """What a task returns where it has failed, having removed what it wrote."""

    error: Exception


Work = Callable[["Rewrite"], None]
"""Says which rows of a rewrite's files go and which come. Picklable."""


def spread(rewrite: Rewrite, files: pa.Table, client: Any, work: Work) -> None:
    """Have a client's workers do `work` on the files; `rewrite` takes what they did.

    Raises CLUSTER_ERROR, and what the work does.
    """
    if not files.num_rows:
        return
    base = rewrite.base
    executor = executor_of(client, base.data.spec.secrets(), again=AGAIN)
    count = min(files.num_rows, executor.slots * _PARTS_PER_SLOT)
    chosen = np.array_split(np.arange(files.num_rows), count)
    there, options = portable(base), rewrite.portable_options
    handles = [
        executor.submit(_done, there, files.take(pa.array(each)), options, work, str(uuid.uuid4()))
        for each in chosen
    ]
    for _, part in gathered(executor, handles):
        rewrite.takes(part)


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
    """The base as workers get it: without what is cached, and with no credentials in its pickle."""
    return replace(base, storage_options=dict(base.data.spec.options), read_shape=None)


def _done(
    base: Base, files: pa.Table, options: RewriteOptions, work: Work, write_id: str
) -> Part | Failed:
    """In a worker."""
    from deltalakedb.table.operations.rewrite import Rewrite

    try:
        with Rewrite(base, files, options, write_id=write_id) as rewrite:
            work(rewrite)
            return rewrite.part()
    except (DeltaLakeError, OSError, pa.ArrowException) as error:
        return Failed(error)
