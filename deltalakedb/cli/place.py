"""Where a command's parts run: here, in worker processes of its own, or on a running cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from deltalakedb.cli.signals import if_cut_off

if TYPE_CHECKING:
    from distributed import Client

    from deltalakedb.cli.progress import Display

# What workers will need while this process lists the log and opens the catalog.
_IMPORTS = ("deltalakedb.importing.tasks",)


@dataclass(frozen=True)
class Place:
    """Where a command's parts run, as its options say: in this process unless one is given.

    `local_directory`: where to spill; on a running cluster a folder of its machines.
    """

    workers: int | None
    scheduler: str | None
    local_directory: str | None

    def __post_init__(self) -> None:
        if self.needs_client and None not in (self.workers, self.scheduler):
            raise click.UsageError("--workers and --scheduler exclude each other: give one of them")

    @property
    def needs_client(self) -> bool:
        return self.workers is not None or self.scheduler is not None

    @contextmanager
    def client(self, progress: Display) -> Iterator[tuple[Client | None, str | None]]:
        """A client (None: this process) and the folder to spill to (None: each worker's own)."""
        from deltalakedb.executor.workers import (
            local_workers,
            remove_folder,
            running_cluster,
            work_folder,
        )

        if self.scheduler is not None:
            progress.phase("connecting to the cluster")
            with running_cluster(self.scheduler) as client:
                yield client, self.local_directory
            return
        with (
            work_folder(self.local_directory) as folder,
            if_cut_off(lambda: remove_folder(folder)),
        ):
            if self.workers is None:
                yield None, folder
                return
            progress.phase("starting workers")
            with local_workers(self.workers, folder, _IMPORTS) as client:
                yield client, folder
