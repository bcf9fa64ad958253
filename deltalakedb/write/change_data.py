"""Change data files: what a commit did to rows, for readers of the change data feed.

PROTOCOL.md, "Change Data Files" and "Add CDC File". A version that has any holds all its changes
there. Appends and removals of whole files need none: readers derive their changes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deltalakedb.log.commit_writer import change_body
from deltalakedb.log.paths import encode_path
from deltalakedb.log.schema import PrimitiveType, StructField, StructType
from deltalakedb.write.encoding import OpenFile
from deltalakedb.write.files import FileWriter, WrittenFiles
from deltalakedb.write.layout import Values, file_name
from deltalakedb.write.target import FileTarget

CHANGE_TYPE = "_change_type"
FOLDER = "_change_data"
_NUMBER = "_change_number"
Numbers = npt.NDArray[np.int64]
ChangeType = Literal["insert", "delete", "update_preimage", "update_postimage"]


def change_target(target: FileTarget) -> FileTarget:
    """The table's change data files: its columns, and the kind of change."""
    kind = StructField(CHANGE_TYPE, PrimitiveType("string"), nullable=False)
    return replace(target, schema=StructType((*target.schema.fields, kind)))


class ChangeWriter(FileWriter):
    """Writes change data files; used as `FileWriter`, of `change_target(target)`.

    The bodies that `finish` gives are those of `cdc` actions. `paired`: tell in `pairs`, by raw
    path, which change of its kind each row of a file is; the n-th preimage became the n-th
    postimage, in whichever files they are.
    """

    def __init__(self, *arguments: Any, paired: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._paired = paired
        self._counts: dict[str, int] = {}
        self._numbers: dict[Values, list[Numbers]] = {}
        self._closed: dict[Values, list[OpenFile]] = {}

    def write_changes(self, rows: pa.RecordBatch, kind: ChangeType) -> None:
        """Rows of the table that were inserted or deleted, or are an update's before or after."""
        kinds = pa.repeat(pa.scalar(kind), rows.num_rows)
        rows = rows.append_column(CHANGE_TYPE, kinds)
        if self._paired:
            first = self._counts.get(kind, 0)
            end = self._counts[kind] = first + rows.num_rows
            # Not a column of the files, it goes their way through memory and disk.
            rows = rows.append_column(_NUMBER, pa.array(np.arange(first, end)))
        self.write(rows)

    def _put(self, values: Values, batches: list[pa.RecordBatch]) -> None:
        if self._paired:
            found = self._numbers.setdefault(values, [])
            found += [batch.column(_NUMBER).to_numpy() for batch in batches]
            batches = [batch.drop_columns([_NUMBER]) for batch in batches]
        super()._put(values, batches)

    def _close(self, values: Values) -> None:
        self._closed.setdefault(values, []).append(self._open[values])
        super()._close(values)

    def finish(self) -> WrittenFiles:
        """As `FileWriter.finish`, with `pairs`."""
        found = super().finish()
        # Only now all files know their rows: they are encoded on the side.
        for values, numbers in self._numbers.items():
            rest = np.concatenate(numbers)
            for file in self._closed[values]:
                found.pairs[encode_path(file.name)] = rest[: file.rows]
                rest = rest[file.rows :]
        return found

    def _name(self, values: Values, number: int) -> str:
        name = file_name(self._write_id, self._task, number, self._properties.codec, "cdc")
        folder = self._partitioning.directory(values)
        # Of change data delta-rs asks for what the log says, undecoded; no reader asks the folder.
        return f"{FOLDER}/{'' if '%' in folder else folder}{name}"

    def _body(self, name: str, values: Values, size: int, stats: str) -> dict[str, Any]:
        return change_body(encode_path(name), self._partitioning.partition_values(values), size)
