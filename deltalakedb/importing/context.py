"""One import on its way: what its steps share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.loads.ledger import Run
from deltalakedb.executor.executor import Executor
from deltalakedb.secret import Secret
from deltalakedb.storage.spec import StoreSpec

Progress = Callable[[str, int, int, int], None]
"""Called with (stage, parts done, parts, actions so far)."""


def no_progress(stage: str, done: int, total: int, actions: int) -> None:
    """The progress of those who don't look."""


@dataclass(frozen=True)
class Importing:
    """One import on its way.

    `store`: the log's; `database`: the catalog's URL for workers; `loaders`: how many parts load
    at the same time at most, each over a connection of its own; `spill_root`: the folder to spill
    to (None: each worker's own).
    """

    catalog: Catalog
    run: Run
    store: StoreSpec
    executor: Executor
    database: Secret
    loaders: int
    spill_root: str | None = None
    progress: Progress = no_progress
