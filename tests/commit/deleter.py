"""A process that deletes rows of its own, one by one, until it is told to stop (a file `stop`).

A line of standard output a call.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError
from deltalakedb.table.operations import delete as delete  # what the first call would wait for


def main(uri: str, folder: str, name: str, first: str, step: str) -> None:
    table = dl.connect_to_table(uri, cache=False)
    (Path(folder) / f"{name}.ready").touch()
    while not (Path(folder) / "go").exists():
        time.sleep(0.005)
    number = int(first)
    while not (Path(folder) / "stop").exists():
        try:
            done = table.delete(f"id = {number}")
        except DeltaLakeError as error:
            print(f"{error.outcome} {number} {error}", flush=True)
        else:
            print(f"deleted {number} {done['num_deleted_rows']}", flush=True)
        number += int(step)


if __name__ == "__main__":
    main(*sys.argv[1:])
