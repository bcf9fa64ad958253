"""Imports a real table on a Dask cluster of this machine, proves it, reads it, writes through SQL.

`make demo`, or `.venv/bin/python examples/demo.py`. Everything it makes is in ./demo, anew each
time. The table was written by Spark and comes from delta-rs (Apache License 2.0).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "tables" / "tables" / "rs-checkpoint-cdf-table"
DEMO = ROOT / "demo"
LAST_COMMIT = f"_delta_log/{5:020}.json"


def run(*arguments: str, expected: int = 0) -> None:
    """Print a `dl` command and run it as a user would, in ./demo."""
    shown = " ".join(f'"{a}"' if " " in a else a for a in arguments)
    print(f"\n$ dl {shown}", flush=True)
    dl = Path(sys.executable).with_name("dl")
    done = subprocess.run(
        [dl, *arguments], cwd=DEMO, env={**os.environ, "DL_DATABASE": "catalog.sqlite"}
    )
    if done.returncode != expected:
        sys.exit(f"The demo stops: exit code {done.returncode}, expected {expected}")
    if expected:
        print(f"(exit code {expected})", flush=True)


def say(text: str) -> None:
    print(f"\n# {text}", flush=True)


def write() -> None:
    """A table that is written through SQL, and read by delta-rs from its log."""
    import pyarrow as pa
    from deltalake import DeltaTable

    import deltalakedb as dl

    say("A table that is written through SQL: the database decides, the log follows")
    rows = pa.table({"id": [1, 2, 3], "city": ["Oslo", "Rome", "Lima"]})
    uri = f"deltasql://sqlite:///{DEMO / 'catalog.sqlite'}?table=visits"
    dl.write_deltalake(uri, rows, mode="append", location=str(DEMO / "visits"))
    done = dl.connect_to_table(uri).append(rows)
    there = DeltaTable(str(DEMO / "visits"))
    print(f"appended version {done.version}; delta-rs reads version {there.version()} of the log:")
    print(there.to_pyarrow_table().group_by("city").aggregate([("id", "count")]).to_pylist())
    if there.version() != done.version or there.to_pyarrow_table().num_rows != 6:
        sys.exit("The demo stops: delta-rs does not read what was written")
    run("history", "visits")
    run("diff", "--table-id", "visits")


def main() -> None:
    started = time.monotonic()
    shutil.rmtree(DEMO, ignore_errors=True)
    shutil.copytree(TABLE, DEMO / "people")
    late = DEMO / "late.json"
    shutil.move(DEMO / "people" / LAST_COMMIT, late)
    print("export DL_DATABASE=catalog.sqlite", end="")

    say("A table that Spark wrote, with a checkpoint and partitions, into a SQLite catalog,")
    print("# read by two worker processes", end="", flush=True)
    run("import", "--log-dir", "people/_delta_log", "--mode", "full-history", "--workers", "2")

    say("Catalog and log say the same")
    run("diff", "--table-id", "people")

    say("Another engine commits to the log: the catalog lags")
    shutil.copy(late, DEMO / "people" / LAST_COMMIT)
    run("diff", "--table-id", "people", expected=3)

    say("Importing again reads the new commit only")
    run("import", "--log-dir", "people/_delta_log")
    run("diff", "--table-id", "people")

    say("What there is now, and how it came about")
    run("tables")
    run("show", "people")
    run("history", "people")

    say("The files of a version, and those of a query; as JSON for programs")
    run("files", "people", "--version", "3")
    run("files", "people", "--where", "birthday = '2023-12-25'", "--format", "json")
    run("plan", "people", "--where", "birthday = '2023-12-25' and id > 3")

    write()

    seconds = time.monotonic() - started
    print(f"\nDone in {seconds:.0f} s. The catalog is {DEMO / 'catalog.sqlite'}: have a look.")


if __name__ == "__main__":
    main()
