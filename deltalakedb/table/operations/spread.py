"""Parts of an operation on the workers of a Dask client: they read and write, actions come back.

Each part is a rewrite of some of the planned files. The scheduler holds what a commit says, and no
rows. A part that fails removes what it wrote; where one fails, the files of the others go too.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from deltalakedb.error import DeltaLakeError
from deltalakedb.executor.executor import executor_of
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.parts import AGAIN, Failed, Part, gathered, portable
from deltalakedb.table.operations.rewrite import Rewrite, RewriteOptions

_PARTS_PER_SLOT = 2

Work = Callable[[Rewrite], None]
"""Says which rows of a rewrite's files go and which come. Picklable."""


def spread(rewrite: Rewrite, files: pa.Table, client: Any, work: Work) -> None:
    """Have a client's workers do `work` on the files; `rewrite` takes what they did.

    Raises CLUSTER_ERROR, and what the work does.
    """
    if not files.num_rows:
        return
    base = rewrite.base
    executor = executor_of(client, base.data.spec.secrets(), again=AGAIN)
    there, options = portable(base), rewrite.portable_options
    handles = [
        executor.submit(_done, there, each, options, work, str(uuid.uuid4()))
        for each in shares(files, executor.slots * _PARTS_PER_SLOT)
    ]
    for _, part in gathered(executor, handles):
        rewrite.takes(part)


def shares(files: pa.Table, most: int) -> list[pa.Table]:
    """The files in at most so many parts, neighbours together."""
    chosen = np.array_split(np.arange(files.num_rows), min(files.num_rows, most))
    # Taken, not sliced: a slice takes the whole table with it.
    return [files.take(pa.array(each)) for each in chosen]


def _done(
    base: Base, files: pa.Table, options: RewriteOptions, work: Work, write_id: str
) -> Part | Failed:
    """In a worker."""
    try:
        with Rewrite(base, files, options, write_id=write_id) as rewrite:
            work(rewrite)
            return rewrite.part()
    except (DeltaLakeError, OSError, pa.ArrowException) as error:
        return Failed(error)
