"""A process that appends until it is told to stop (a file `stop`); a line of output a version."""

from __future__ import annotations

import fcntl
import sys
import time
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError
from deltalakedb.table import writing as writing  # what the first append would wait for


def main(uri: str, folder: str, name: str, seconds: str) -> None:
    table = dl.connect_to_table(uri, cache=False)
    rows = pa.table({"who": [name], "n": [0]})
    (Path(folder) / f"{name}.ready").touch()
    while not (Path(folder) / "go").exists():
        time.sleep(0.005)
    with suppress(OSError):
        fcntl.fcntl(sys.stdout, fcntl.F_SETPIPE_SZ, 1 << 20)
    end = time.monotonic() + float(seconds)
    number = 0
    while time.monotonic() < end and not (Path(folder) / "stop").exists():
        number += 1
        began = time.perf_counter()
        try:
            done = table.append(rows.set_column(1, "n", pa.array([number])))
        except DeltaLakeError as error:
            print(f"{error.outcome} {number} {' '.join(str(error).split())}", flush=True)
            # As whoever tries again does; nobody reads what is told before the end.
            time.sleep(0.05)
            continue
        took = (time.perf_counter() - began) * 1000
        print(f"version {done.version} {number} {took:.1f} {done.published}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
