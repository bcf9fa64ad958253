"""What a commit writes to a load, made before the lock: all but the version and the load's id.

Under the lock others wait, so that what can be known before is done before: pruning keys, the rows
as the driver takes them, what they add up to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.catalog import rows
from deltalakedb.catalog.loads.slots import SlotRange, slot_range_of_few, slot_ranges
from deltalakedb.catalog.records import ADDED, REMOVED, SLOTS
from deltalakedb.log.few_files import MOST_FILES, FewFiles, Files, table_of, values_of
from deltalakedb.log.keys import SkippingColumn
from deltalakedb.log.rows import LIVE

BULK_ROWS = 2_000
"""From here on rows are loaded in bulk."""


class Ending(NamedTuple):
    """The end of a life; `dv_id` is "" where the file has no deletion vector."""

    path_key: int
    path: str
    dv_id: str
    version: int
    removed_at: int | None


class Counted(NamedTuple):
    """By how much a partition's live files change; `version`: the last that took one, if any."""

    partition_id: int
    partition_values: str
    files: int
    size: int
    version: int | None


Changes: TypeAlias = "tuple[tuple[int, int, int, bool | None], ...] | pa.Table"
"""(kind, path key, partition, whether data changes) of each; of many files a table of these."""
CHANGE_COLUMNS = ("kind", "path_key", "partition_id", "data_change")


@dataclass(frozen=True)
class PreparedRows:
    """Rows of one table's commit.

    `columns` are those of the pruning keys, which the locked table has to have too, `slots` what
    the keys are like. `files` are rows of `dl_files` for load 0 and version 0; where they aren't
    many `values` has them, by columns. `partitions` are (id, values, files, bytes) of changes.
    `ended` are (path key, path, dv id or "") of lives that end; of many a table. `changes` are rows
    of `dl_changes` from the kind on.
    """

    columns: tuple[SkippingColumn, ...]
    slots: tuple[SlotRange, ...]
    files: pa.Table | None
    values: Mapping[str, list[Any]]
    partitions: tuple[tuple[int, str, int, int], ...]
    ended: tuple[tuple[int, str, str], ...] | pa.Table
    changes: Changes
    bytes_added: int
    bytes_removed: int

    def files_of(self, load_id: int, version: int) -> pa.Table | Mapping[str, list[Any]]:
        """The rows of the files that begin with a version, for its load."""
        same = {"load_id": load_id, "added_version": version}
        if self.files is None:
            count = len(self.values["path"])
            return {**self.values, **{name: [value] * count for name, value in same.items()}}
        found = self.files
        for name, value in same.items():
            place = found.schema.get_field_index(name)
            column = pa.repeat(value, found.num_rows)
            found = found.set_column(place, found.schema.field(place), column)
        return found

    @property
    def ends_many(self) -> bool:
        """Whether the lives that end are so many that they come in groups."""
        return isinstance(self.ended, pa.Table)

    def endings(self, version: int, removed_at: int | None) -> Iterator[list[Ending]]:
        """The lives that end with a version; many in groups, none in none."""
        if isinstance(self.ended, pa.Table):
            for batch in self.ended.to_batches(BULK_ROWS):
                lives = zip(*[column.to_pylist() for column in batch.columns], strict=True)
                yield [Ending(key, path, dv, version, removed_at) for key, path, dv in lives]
        elif self.ended:
            yield [Ending(key, path, dv, version, removed_at) for key, path, dv in self.ended]

    def counted(self, version: int) -> list[Counted]:
        """What a version changes in the partitions."""
        return [Counted(*change, version) for change in self.partitions]


def skipping_columns(described: Sequence[Mapping[str, Any]]) -> tuple[SkippingColumn, ...]:
    """The columns of `dl_tables.skipping`, decoded."""
    return tuple(SkippingColumn.from_json(slot) for slot in described)


@lru_cache(1_000)
def columns_of(skipping: str) -> tuple[SkippingColumn, ...]:
    """The same of the text in `dl_tables`."""
    return skipping_columns(json.loads(skipping))


def prepare(
    adds: Files, removes: pa.Table, removes_change_data: bool, skipping: str
) -> PreparedRows:
    """Rows of files that begin and lives that end (FILE_SCHEMA); `skipping` as in `dl_tables`."""
    columns = columns_of(skipping)
    files, values = _keyed(adds, columns)
    partitions: dict[int, list[Any]] = {}
    sizes = []
    for table, sign in ((adds, 1), (removes, -1)):
        total = 0
        for ident, text, count, size in _by_partition(table):
            entry = partitions.setdefault(ident, [text, 0, 0])
            entry[1] += sign * count
            entry[2] += sign * size
            total += size
        sizes.append(total)
    return PreparedRows(
        columns,
        _slots(files, values, len(columns)),
        files,
        values,
        tuple((ident, *entry) for ident, entry in sorted(partitions.items())),
        _ended(removes),
        _changes(adds, removes, removes_change_data),
        sizes[0],
        sizes[1],
    )


def _ended(removes: pa.Table) -> tuple[tuple[int, str, str], ...] | pa.Table:
    if removes.num_rows <= BULK_ROWS:
        found = _lists(removes, "path_key", "path", "dv_id")
        return tuple((key, path, dv or "") for key, path, dv in found)
    vectors = pc.fill_null(removes.column("dv_id"), "")
    return removes.select(["path_key", "path"]).append_column("dv_id", vectors)


def _by_partition(files: Files) -> Iterable[tuple[int, str, int, int]]:
    """Id, values, files and bytes, of each file or of many together."""
    if isinstance(files, FewFiles) or files.num_rows <= BULK_ROWS:
        each = _lists(files, "partition_id", "partition_values", "size")
        return [(ident, text, 1, size or 0) for ident, text, size in each]
    table = files.select(["partition_id", "partition_values"])
    table = table.append_column("size", pc.fill_null(files.column("size"), 0))
    grouped = table.group_by(["partition_id", "partition_values"], use_threads=False)
    found = grouped.aggregate([("size", "count"), ("size", "sum")])
    return _lists(found, "partition_id", "partition_values", "size_count", "size_sum")


def _changes(adds: Files, removes: pa.Table, removes_change_data: bool) -> Changes:
    if adds.num_rows + removes.num_rows <= BULK_ROWS:
        return (
            *((ADDED, *row) for row in _lists(adds, "path_key", "partition_id", "data_change")),
            *(
                (REMOVED, *row, removes_change_data)
                for row in _lists(removes, "path_key", "partition_id")
            ),
        )
    parts = []
    for files, kind in ((table_of(adds), ADDED), (removes, REMOVED)):
        count = files.num_rows
        said = pa.repeat(pa.scalar(removes_change_data, pa.bool_()), count)
        columns = [
            pa.chunked_array([pa.repeat(pa.scalar(kind, pa.int16()), count)]),
            files.column("path_key"),
            files.column("partition_id"),
            files.column("data_change") if kind == ADDED else pa.chunked_array([said]),
        ]
        parts.append(pa.table(columns, names=list(CHANGE_COLUMNS)))
    return pa.concat_tables(parts)


def _keyed(
    adds: Files, columns: Sequence[SkippingColumn]
) -> tuple[pa.Table | None, Mapping[str, list[Any]]]:
    """`files` and `values` of PreparedRows."""
    if isinstance(adds, FewFiles) or adds.num_rows <= MOST_FILES:
        values = rows.few_keyed_files(adds, 0, columns)
        return None, values | {"removed_version": [LIVE] * adds.num_rows}
    files = rows.keyed_files(adds, 0, columns)
    live = files.schema.get_field_index("removed_version")
    files = files.set_column(live, files.schema.field(live), pa.repeat(LIVE, files.num_rows))
    if files.num_rows <= BULK_ROWS:
        # Without slots that aren't used, as those of few.
        unused = {f"{end}{slot}" for slot in range(len(columns), SLOTS) for end in ("lo", "hi")}
        names = [name for name in files.column_names if name not in unused]
        return None, {name: files.column(name).to_pylist() for name in names}
    return files, {}


def _slots(
    files: pa.Table | None, values: Mapping[str, list[Any]], count: int
) -> tuple[SlotRange, ...]:
    if files is not None:
        return slot_ranges(files, count)
    return tuple(slot_range_of_few(values[f"lo{n}"], values[f"hi{n}"]) for n in range(count))


def _lists(files: Files, *names: str) -> list[tuple[Any, ...]]:
    if not files.num_rows:
        return []
    return list(zip(*[values_of(files, name) for name in names], strict=True))
