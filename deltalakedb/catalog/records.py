"""What the catalog says of a table, as plain values. Light: no database library is needed."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, NamedTuple

from deltalakedb.catalog.table_name import full_name
from deltalakedb.record import record

SLOTS = 8
"""Pruning keys a file: lo0, hi0 … lo7, hi7."""

ADDED, REMOVED = 0, 1
"""`dl_changes.kind`."""

HEAP = "dl_files_heap"
"""The table that small loads share."""


def load_of(run_key: int, *, heap: bool) -> int:
    """The id of the load that a run makes: its key, negative for a load in the heap."""
    return -run_key if heap else run_key


def run_of(load_id: int) -> int:
    """The key of the run that made a load."""
    return abs(load_id)


def in_heap(load_id: int) -> bool:
    """Whether a load shares the heap."""
    return load_id < 0


def load_files_name(load_id: int) -> str:
    """Name of the physical table of a load's files: its own, or the heap."""
    return HEAP if in_heap(load_id) else f"dl_files_l{int(load_id)}"


def load_condition(load_id: int, alias: str = "") -> str:
    """What tells the load's rows from others in its physical table, as SQL that ends in AND."""
    prefix = f"{alias}." if alias else ""
    return f"{prefix}load_id = {int(load_id)} AND " if in_heap(load_id) else ""


class TextTest(NamedTuple):
    """Of the text of partition values: it is like one of `like`, or not like `unless`.

    Patterns of SQL's LIKE with the escape character `!`.
    """

    like: tuple[str, ...]
    unless: str | None = None


@record(frozen=True)
class TableRow:
    """A row of `dl_tables` with its head."""

    table_key: int
    table_id: str
    namespace: str
    name: str
    location: str
    log_location: str
    mode: str
    skipping: str
    unreadable_features: str
    created_at: int
    changes_since: int
    head_version: int
    known_since: int
    epoch: int
    authority: str
    live_load: int
    num_files: int
    total_bytes: int
    updated_at: int

    @property
    def full_name(self) -> str:
        return full_name(self.namespace, self.name)

    def at(self, head_version: int) -> TableRow:
        """The same row with the head at another version."""
        found = object.__new__(TableRow)
        found.__dict__.update(self.__dict__, head_version=head_version)
        return found


TABLE_COLUMNS = tuple(f.name for f in fields(TableRow))
HEAD_COLUMNS = TABLE_COLUMNS[TABLE_COLUMNS.index("head_version") :]
"""Those of `dl_heads`."""


@record(frozen=True)
class TableState:
    """What holds at a version besides the files; texts as in the log."""

    version: int
    metadata: dict[str, Any]
    protocol: dict[str, Any]
    txns: dict[str, dict[str, int | None]]
    domains: dict[str, str]
