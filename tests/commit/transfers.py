"""A process that moves money between accounts, each a table, until it is told to stop."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import pyarrow as pa

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

ACCOUNTS = 5
LEAST = 2
"""Transfers of a process, however short its time."""


def amount(value: int) -> pa.Table:
    return pa.table({"amount": pa.array([value], pa.int64())})


def balance(snapshot: dl.Snapshot) -> int:
    return sum(snapshot.to_pyarrow_table()["amount"].to_pylist())


def transfer(database: str, isolation: str, chance: random.Random) -> None:
    """Between two accounts; now and then one of them is folded into a single row."""
    giver, taker = chance.sample(range(ACCOUNTS), 2)
    value = chance.randint(1, 100)
    with dl.begin(database, isolation=isolation, mirror="async") as tx:  # type: ignore[arg-type]
        if chance.random() < 0.3:
            left = balance(tx.snapshot(f"account{giver}")) - value
            tx.overwrite(f"account{giver}", amount(left))
        else:
            tx.append(f"account{giver}", amount(-value))
        tx.append(f"account{taker}", amount(value))


def tried(database: str, isolation: str, chance: random.Random) -> bool:
    """Whether it was committed; False where another was in its way."""
    try:
        transfer(database, isolation, chance)
    except DeltaLakeError as error:
        if error.kind is not DeltaLakeErrorKind.CONCURRENCY_ERROR:
            raise
        return False
    return True


def main(database: str, folder: str, name: str, seconds: str, isolation: str) -> None:
    chance = random.Random(name)
    while not tried(database, isolation, chance):
        pass
    (Path(folder) / f"{name}.ready").touch()
    while not (Path(folder) / "go").exists():
        time.sleep(0.005)
    begun = time.monotonic()
    done = {"committed": 0, "conflict": 0}
    # On a busy machine longer, so that there is something to look at.
    while (passed := time.monotonic() - begun) < float(seconds) or done["committed"] < LEAST:
        if passed > 240:
            break
        done["committed" if tried(database, isolation, chance) else "conflict"] += 1
    print(done["committed"], done["conflict"])


if __name__ == "__main__":
    main(*sys.argv[1:])
