"""A version's files: sized at once, read when they are looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from deltalakedb.log.metadata import PartitionNames
from deltalakedb.log.paths import decode_path
from deltalakedb.planning.request import FILE_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class AddFile:
    """A live file: `path` decoded once, `raw_path` as in the log; bytes and milliseconds.

    `partition_values` by the schema's names; `dv_id` identifies its deletion vector.
    """

    raw_path: str
    size: int
    modification_time: int | None
    num_records: int | None
    partition_values: dict[str, str | None]
    dv_id: str | None
    stats_text: str | None

    @cached_property
    def path(self) -> str:
        return decode_path(self.raw_path)

    @cached_property
    def stats(self) -> dict[str, Any] | None:
        """The statistics, parsed; None when there are none."""
        return None if self.stats_text is None else json.loads(self.stats_text)


def add_files(batch: pa.RecordBatch | pa.Table, names: PartitionNames) -> Iterator[AddFile]:
    """Rows of a listing with FILE_COLUMNS as objects."""
    columns = [batch.column(name).to_pylist() for name in FILE_COLUMNS]
    known: dict[str, dict[str, str | None]] = {}
    for path, size, time, records, text, dv, stats in zip(*columns, strict=True):
        values = known.get(text)
        if values is None:
            values = known[text] = names.values(text)
        yield AddFile(path, size, time, records, dict(values), dv, stats)


class FileList:
    """The live files of a version: `len()` costs nothing, iterating streams them.

    Iterating twice asks twice (or reads the local cache twice); `to_arrow()` gives all columns
    of a plan as one Arrow table.
    """

    def __init__(
        self,
        count: int,
        total_bytes: int,
        stream: Callable[[], Iterator[pa.RecordBatch]],
        table: Callable[[], pa.Table],
        names: PartitionNames,
    ) -> None:
        self._count = count
        self.total_bytes = total_bytes
        self._stream = stream
        self._table = table
        self._names = names

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[AddFile]:
        for batch in self._stream():
            yield from add_files(batch, self._names)

    def to_arrow(self) -> pa.Table:
        return self._table()

    def __repr__(self) -> str:
        return f"FileList({self._count:,} files, {self.total_bytes:,} bytes)"

    def _repr_html_(self) -> str:
        from deltalakedb.snapshot.html import files_html

        return files_html(self)
