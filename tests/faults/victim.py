"""A process that does one thing and stops itself at one point of it, until it is told to go on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

import deltalakedb as dl
from deltalakedb.catalog.dialects.writer import Writer
from deltalakedb.commit.attempt import Attempt
from deltalakedb.error import DeltaLakeError
from deltalakedb.importing import run as importing
from deltalakedb.mirror import publish, tend
from deltalakedb.mirror.committer import LogRatifier
from deltalakedb.storage.local import LocalStore
from deltalakedb.table.operations import registration

Wants = Callable[[tuple[Any, ...]], bool]


def stop(owner: Any, name: str, wants: Wants = lambda arguments: True) -> None:
    """Stop by SIGSTOP, once, before the first call that `wants`."""
    call, left = getattr(owner, name), [1]

    def stopping(*arguments: Any, **named: Any) -> Any:
        if left and wants(arguments):
            left.clear()
            os.kill(os.getpid(), signal.SIGSTOP)
        return call(*arguments, **named)

    setattr(owner, name, stopping)


def of_a_commit(arguments: tuple[Any, ...]) -> bool:
    return "dl_commits" in str(arguments[1])


POINTS: dict[str, Callable[[], None]] = {
    "in the lock": lambda: stop(Writer, "commit", of_a_commit),
    "before the put": lambda: stop(LogRatifier, "ratify"),
    "with data written": lambda: stop(Attempt, "run"),
    "draining": lambda: stop(publish, "put"),
    "before recording": lambda: stop(tend, "_record"),
    "deleting": lambda: stop(LocalStore, "delete", lambda arguments: bool(arguments[1])),
    "swapping": lambda: stop(importing, "swap"),
}


def main(point: str, database: str, name: str, number: str, places: str) -> None:
    uri = f"deltasql://{database}?table={name}"
    rows = pa.table({"n": pa.array([int(number)], pa.int64())})
    registration.LATENT_SECONDS = float(os.environ.get("DL_FAULTS_LATENT_SECONDS", "2"))
    try:
        if point == "swapping":
            place = str(Path(places, name))
            dl_import = dl.import_table
            POINTS[point]()
            found = dl_import(log_dir=place, database=database, table_name=name, rebuild=True)
            print("done", found.status)
            return
        table = dl.connect_to_table(uri, cache=False)
        if point == "deleting":
            table.append(rows)
            table.overwrite(pa.table({"n": pa.array([-int(number)], pa.int64())}))
            POINTS[point]()
            print("done", len(table.vacuum(0, False, False)))
        else:
            table.append(rows)
            POINTS[point]()
            more = pa.table({"n": pa.array([-int(number)], pa.int64())})
            print("done", table.append(more.to_reader()).version)
    except DeltaLakeError as error:
        print(error.outcome, error.kind.name, error)


if __name__ == "__main__":
    main(*sys.argv[1:])
