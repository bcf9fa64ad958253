"""Kinds of `benchmarks.appender` that change rows: deletes, updates, compaction in a loop.

TARGET is JSON: `table` (a `deltasql://` URI, or delta-rs's folder), `first` and `step`, which
numbers of rows are a process's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

Change = Callable[[int], float | None]


def _opened(target: str) -> tuple[Any, Callable[[int], int]]:
    import deltalakedb

    # What the first call would wait for.
    from deltalakedb.table.operations import delete as delete
    from deltalakedb.table.operations import optimize as optimize
    from deltalakedb.table.operations import update as update

    given = json.loads(target)
    table = deltalakedb.connect_to_table(given["table"], cache=False)
    return table, lambda number: given["first"] + number * given["step"]


def deletes(target: str, count: int) -> Change:
    """One row a call, by its id."""
    table, own = _opened(target)
    return lambda number: table.delete(f"id = {own(number)}")["num_deleted_rows"] and None


def updates(target: str, count: int) -> Change:
    """A range of `count` ids a call, again and again the same ones, serializable."""
    table, own = _opened(target)

    def update(number: int) -> None:
        first = own(number % 50)
        table.update({"value": "value + 1"}, predicate=f"id >= {first} AND id < {first + count}")

    return update


def compactions(target: str, count: int) -> Change:
    """`optimize.compact` in a loop."""
    table, _ = _opened(target)

    def compact(number: int) -> None:
        table.optimize.compact()

    return compact


def delta_rs_deletes(target: str, count: int) -> Change:
    """`deletes` by delta-rs."""
    from deltalake import DeltaTable

    given = json.loads(target)
    table = DeltaTable(given["table"])

    def delete(number: int) -> None:
        table.update_incremental()
        table.delete(f"id = {given['first'] + number * given['step']}")

    return delete


KINDS: dict[str, Callable[[str, int], Change]] = {
    "ours-deletes": deletes,
    "ours-updates": updates,
    "ours-compactions": compactions,
    "delta-rs-deletes": delta_rs_deletes,
}
