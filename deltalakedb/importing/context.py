"""One import on its way: what its steps share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.loads.ledger import Run
from deltalakedb.executor.executor import Executor
from deltalakedb.importing.spill import BALANCED, SpillPolicy
from deltalakedb.log.ranges import RANGE_BYTES
from deltalakedb.secret import Secret
from deltalakedb.storage.spec import StoreSpec

Progress = Callable[[str, int, int, int], None]
"""Called with (stage, parts done, parts, actions so far)."""


FILE_BYTES = 1 << 10
"""Of log, for one file with its statistics."""


def no_progress(stage: str, done: int, total: int, actions: int) -> None:
    """The progress of those who don't look."""


@dataclass(frozen=True)
class Sizes:
    """How much of a log is taken at a time, and what is kept of it until it is loaded.

    `range_bytes`: of log that one task reads.
    """

    range_bytes: int = RANGE_BYTES
    spilling: SpillPolicy = BALANCED

    @classmethod
    def of_files(cls, files: int, spilling: SpillPolicy | None = None) -> Sizes:
        """Of about so many files at a time: what a log says of one is taken for a kilobyte."""
        return cls(max(1, files) * FILE_BYTES, spilling or BALANCED)


@dataclass(frozen=True)
class Importing:
    """One import on its way.

    `store`: the log's; `database`: the catalog's URL for workers; `loaders`: how many parts load
    at the same time at most, each over a connection of its own; `spill_root`: the folder to spill
    to (None: each worker's own); `sizes`: how much is taken at a time.
    """

    catalog: Catalog
    run: Run
    store: StoreSpec
    executor: Executor
    database: Secret
    loaders: int
    spill_root: str | None = None
    sizes: Sizes = Sizes()
    progress: Progress = no_progress
