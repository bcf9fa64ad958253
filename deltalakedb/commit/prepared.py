"""What a commit writes to a load, made before the lock: all but the version and the load's id.

Under the lock others wait, so that what can be known before is done before: pruning keys, the rows
as the driver takes them, what they add up to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from deltalakedb.catalog import rows
from deltalakedb.catalog.records import ADDED, REMOVED
from deltalakedb.log.keys import NEG_INF, POS_INF, SkippingColumn
from deltalakedb.log.rows import LIVE

BULK_ROWS = 2_000
"""From here on rows are loaded in bulk."""
_FEW_ROWS = 32
"""Up to here Arrow's columns cost more than they save."""


Keys = Callable[[str], list[Any]]
"""The values of a column of `dl_files`, `lo0` say."""


def keys_of_rows(files: pa.Table) -> Keys:
    """The pruning keys of rows of `dl_files`."""
    return lambda name: files.column(name).to_pylist()


@dataclass(frozen=True)
class Change:
    """How a commit changes a partition's live files."""

    partition_id: int
    partition_values: str
    files: int
    size: int


@dataclass(frozen=True)
class PreparedRows:
    """Rows of one table's commit.

    `columns` are those of the pruning keys, which the locked table has to have too. `files` are
    rows of `dl_files` for load 0 and version 0; where they aren't many `values` has them, by
    columns.
    `ended` are (path key, path, dv id or "") of lives that end. `changes` are rows of `dl_changes`
    from the kind on.
    """

    columns: tuple[SkippingColumn, ...]
    files: pa.Table | None
    values: Mapping[str, list[Any]]
    partitions: tuple[Change, ...]
    ended: tuple[tuple[int, str, str], ...]
    changes: tuple[tuple[int, int, int, bool | None], ...]
    bytes_added: int
    bytes_removed: int

    @property
    def keys(self) -> Keys:
        """The pruning keys of the files, by column."""
        if self.files is not None:
            return keys_of_rows(self.files)
        return self.values.__getitem__


def skipping_columns(described: Sequence[Mapping[str, Any]]) -> tuple[SkippingColumn, ...]:
    """The columns of `dl_tables.skipping`, decoded."""
    return tuple(SkippingColumn.from_json(slot) for slot in described)


def prepare(
    adds: pa.Table, removes: pa.Table, removes_change_data: bool, skipping: str
) -> PreparedRows:
    """Rows of files that begin and lives that end (FILE_SCHEMA); `skipping` as in `dl_tables`."""
    columns = skipping_columns(json.loads(skipping))
    files, values = _keyed(adds, columns)
    partitions: dict[int, list[Any]] = {}
    sizes = []
    for table, sign in ((adds, 1), (removes, -1)):
        total = 0
        for ident, text, size in _lists(table, "partition_id", "partition_values", "size"):
            entry = partitions.setdefault(ident, [text, 0, 0])
            entry[1] += sign
            entry[2] += sign * (size or 0)
            total += size or 0
        sizes.append(total)
    ended = _lists(removes, "path_key", "path", "dv_id")
    changes = [
        *((ADDED, *row) for row in _lists(adds, "path_key", "partition_id", "data_change")),
        *(
            (REMOVED, *row, removes_change_data)
            for row in _lists(removes, "path_key", "partition_id")
        ),
    ]
    return PreparedRows(
        columns,
        files,
        values,
        tuple(Change(ident, *entry) for ident, entry in sorted(partitions.items())),
        tuple((key, path, dv or "") for key, path, dv in ended),
        tuple(changes),
        sizes[0],
        sizes[1],
    )


def _keyed(
    adds: pa.Table, columns: Sequence[SkippingColumn]
) -> tuple[pa.Table | None, Mapping[str, list[Any]]]:
    """`files` and `values` of PreparedRows."""
    if adds.num_rows <= _FEW_ROWS:
        values = rows.few_keyed_files(adds, 0, columns)
        return None, values | {"removed_version": [LIVE] * adds.num_rows}
    files = rows.keyed_files(adds, 0, columns)
    live = files.schema.get_field_index("removed_version")
    files = files.set_column(live, files.schema.field(live), pa.repeat(LIVE, files.num_rows))
    if files.num_rows <= BULK_ROWS:
        return None, {name: files.column(name).to_pylist() for name in files.column_names}
    return files, {}


def wider_slots(described: Sequence[Mapping[str, Any]], keys: Keys) -> str | None:
    """`dl_tables.skipping` for the files of a table with these keys too; None if it holds.

    It holds where plans would be the same: `least` and `greatest`, which move with every append of
    growing keys, are brought up to date with the others.
    """
    slots = [dict(slot) for slot in described]
    for number, slot in enumerate(slots):
        for lo, hi in zip(keys(f"lo{number}"), keys(f"hi{number}"), strict=True):
            if lo is None or lo <= NEG_INF or hi >= POS_INF or lo > hi:
                # Whether there are any is enough; a count would change with every commit.
                slot["missing"] = max(slot["missing"], 1)
                continue
            if not (slot["least"] or slot["greatest"] or slot["width"]):
                slot["least"], slot["greatest"] = lo, hi
            slot["least"] = min(slot["least"], lo)
            slot["greatest"] = max(slot["greatest"], hi)
            slot["width"] = max(slot["width"], hi - lo)
    planned = ("width", "missing")
    holds = all(a[n] == b[n] for a, b in zip(slots, described, strict=True) for n in planned)
    return None if holds else json.dumps(slots)


def _lists(table: pa.Table, *names: str) -> list[tuple[Any, ...]]:
    if not table.num_rows:
        return []
    return list(zip(*[table.column(name).to_pylist() for name in names], strict=True))
