"""A file-based writer in a process of its own: handles opened before the fence, and after.

`python foreign_writes.py TABLE`: opens a handle for each operation, says `ready`, waits for a line,
and tells what became of each operation. It runs under old deltalake too, and knows nothing of ours.
"""

import json
import sys

import deltalake
import pyarrow as pa

ROWS = pa.table({"x": pa.array([7], pa.int64())})


def merge(table):
    merger = table.merge(ROWS, "t.x = s.x", source_alias="s", target_alias="t")
    merger.when_not_matched_insert_all().execute()


OPERATIONS = {
    "append": lambda t: deltalake.write_deltalake(t, ROWS, mode="append"),
    "overwrite": lambda t: deltalake.write_deltalake(t, ROWS, mode="overwrite"),
    "delete": lambda t: t.delete("x = 1"),
    "merge": merge,
    "optimize": lambda t: t.optimize.compact(),
}


def attempt(operation, table):
    try:
        before = table.version()
        OPERATIONS[operation](table)
        table.update_incremental()
    except BaseException as error:  # noqa: BLE001 - deltalake panics for some
        return f"refused: {type(error).__name__}: {error}"
    return "committed" if table.version() > before else "nothing to do"


def main(place):
    before = {name: deltalake.DeltaTable(place) for name in OPERATIONS}
    for table in before.values():
        table.version()
    print("ready", flush=True)
    sys.stdin.readline()
    found = {f"{name}, before": attempt(name, table) for name, table in before.items()}
    for name in OPERATIONS:
        found[f"{name}, after"] = attempt(name, deltalake.DeltaTable(place))
    # What no protocol forbids, and has to be borne.
    try:
        table = deltalake.DeltaTable(place)
        table.create_checkpoint()
        table.cleanup_metadata()
        found["checkpoint"] = "made"
    except BaseException as error:  # noqa: BLE001
        found["checkpoint"] = f"refused: {error}"
    print(json.dumps({"version": deltalake.__version__, "found": found}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
