"""A process that appends rows of its own until it is told to stop: by files, or through SQL.

It goes on whoever ratifies: what refuses it is tried again a little later. Each try has a number
of its own, and what became of it is written down: `+` acknowledged, `-` refused.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

_PAUSE_SECONDS = 0.02


def by_files(place: str, _database: str) -> Callable[[int], bool]:
    import deltalake

    def append(number: int) -> bool:
        try:
            deltalake.write_deltalake(place, pa.table({"x": [number]}), mode="append")
        except deltalake.exceptions.DeltaError:
            return False
        return True

    return append


def by_sql(_place: str, database: str) -> Callable[[int], bool]:
    import deltalakedb as dl
    from deltalakedb.error import DeltaLakeError

    table = dl.connect_to_table(f"deltasql://{database}?table=t")

    def append(number: int) -> bool:
        try:
            table.append(pa.table({"x": [number]}))
        except DeltaLakeError as error:
            if error.outcome == "failed":
                return False
            raise
        return True

    return append


def main(kind: str, place: str, database: str, folder: str, first: str) -> None:
    append = {"files": by_files, "sql": by_sql}[kind](place, database)
    number = int(first)
    where = Path(folder)
    with (where / f"{first}.tries").open("w") as tries:
        while not (where / "stop").exists():
            done = append(number)
            tries.write(f"{'+' if done else '-'}{number}\n")
            tries.flush()
            if done:
                (where / f"{first}.ready").touch()
            else:
                time.sleep(_PAUSE_SECONDS)
            number += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
