"""Rows to Parquet data files, in bounded memory.

PROTOCOL.md, "Data Files" and "Add File and Remove File". A file's rows are of one partition. Rows
wait in memory until they make a row group; where many partitions wait for little each, they are
put aside on disk, so that the number of files follows the partitions and not the input's order.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.log.action_tables import file_rows
from deltalakedb.log.commit_writer import add_body
from deltalakedb.log.few_files import MOST_FILES, FewFiles, Files
from deltalakedb.log.paths import encode_path
from deltalakedb.storage.store import ObjectStore
from deltalakedb.write.encoding import Encoding, OpenFile
from deltalakedb.write.input import batches_of, slices
from deltalakedb.write.layout import Values, file_name
from deltalakedb.write.properties import DEFAULT_PROPERTIES, WriterProperties, leaf_paths
from deltalakedb.write.spill import Spill
from deltalakedb.write.target import FileTarget

ROW_GROUP_BYTES = 64 << 20
"""Arrow bytes that are written as one row group at most."""
BUFFERED_BYTES = 256 << 20
"""Arrow bytes that may wait, over all partitions, those included that are being encoded."""
WORTH_A_ROW_GROUP = 8 << 20
"""Arrow bytes of a partition that are rather written than put aside."""
OPEN_FILES = 32
_SMALLEST_CHUNK = 1 << 16
_SAMPLED_ROWS = 65_536
_DISTINCT = 0.5
"""Share of distinct values from which on a dictionary is not worth its making."""


@dataclass
class WrittenFiles:
    """The data files of a write: bodies of `add` actions, and the names of the objects.

    `files_read` and `bytes_read`: of the data files whose rows they have, where that was counted.
    `pairs`: by raw path of a change data file, see `write.change_data.ChangeWriter`.
    """

    adds: list[dict[str, Any]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    num_rows: int = 0
    num_bytes: int = 0
    files_read: int = 0
    bytes_read: int = 0
    pairs: dict[str, Any] = field(default_factory=dict)

    def rows(self, version: int = 0) -> Files:
        """The adds as rows of `log.rows.FILE_SCHEMA`, live since `version`."""
        if len(self.adds) <= MOST_FILES:
            return FewFiles.of(self.adds, version)
        return file_rows(self.adds, version)

    def extend(self, other: WrittenFiles) -> None:
        """Those of another writer as well."""
        self.adds += other.adds
        self.names += other.names
        self.num_rows += other.num_rows
        self.num_bytes += other.num_bytes
        self.files_read += other.files_read
        self.bytes_read += other.bytes_read
        first = 1 + max((int(each.max(initial=-1)) for each in self.pairs.values()), default=-1)
        self.pairs |= {path: each + first for path, each in other.pairs.items()}


class _Waiting:
    """The rows of a partition that are not in a file yet."""

    def __init__(self) -> None:
        self.batches: list[pa.RecordBatch] = []
        self.bytes = 0
        self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        self.batches.append(batch)
        self.bytes += batch.nbytes
        self.rows += batch.num_rows

    def take(self) -> list[pa.RecordBatch]:
        found, self.batches, self.bytes, self.rows = self.batches, [], 0, 0
        return found


class FileWriter:
    """Writes rows of a table (as `write.schema.RowConverter` makes them) to data files.

    `write_id` names the write in all its files, `task` the writer among those that share it.
    `register` is called with an object's name before the object is begun. A context manager:
    left by an exception, or without `finish`, the files it made are removed.
    """

    def __init__(
        self,
        store: ObjectStore,
        target: FileTarget,
        write_id: str,
        *,
        task: int = 0,
        target_file_size: int | None = None,
        properties: WriterProperties | None = None,
        data_change: bool = True,
        tags: Mapping[str, str] | None = None,
        register: Callable[[str], None] | None = None,
        spill_directory: str | None = None,
        buffered_bytes: int = BUFFERED_BYTES,
        encoders: int | None = None,
    ) -> None:
        self._store = store
        self._target = target
        self._write_id = write_id
        self._task = task
        self._size = target_file_size or target.target_file_size
        self._properties = (properties or DEFAULT_PROPERTIES).of_table(target.configuration)
        self._arguments = target.arguments(self._properties)
        self._sampled = "use_dictionary" in self._arguments
        self._data_change = data_change
        self._tags = tags
        self._register = register
        self._buffered_bytes = buffered_bytes
        self._encoding = Encoding(pa.cpu_count() if encoders is None else encoders)
        self._chunk = max(min(ROW_GROUP_BYTES, self._size), _SMALLEST_CHUNK)
        self._partitioning = target.partitioning
        self._waiting: dict[Values, _Waiting] = {}
        self._open: dict[Values, OpenFile] = {}
        self._closing: dict[str, OpenFile] = {}
        self._bytes = 0
        self._spill = Spill(spill_directory)
        self._started: list[str] = []
        self._written = WrittenFiles()
        self._finished = False

    def write(self, batch: pa.RecordBatch) -> None:
        """Take rows; those that make a row group are written."""
        for values, rows in self._partitioning.split(batch):
            waiting = self._waiting.get(values)
            if waiting is None:
                waiting = self._waiting[values] = _Waiting()
            waiting.add(rows)
            self._bytes += rows.nbytes
            if waiting.bytes >= self._chunk or waiting.rows >= self._properties.row_group_rows:
                self._flush(values, waiting)
        if not self._make_room():
            self._relieve()

    def _make_room(self) -> bool:
        """Wait for what is being encoded while too much waits; False where that isn't enough."""
        while self._bytes + self._encoding.waiting > self._buffered_bytes:
            if self._encoding.is_empty:
                return False
            self._encoding.settle()
        return True

    def _relieve(self) -> None:
        """Write the partitions that have much, put aside those that have little."""
        for values, waiting in list(self._waiting.items()):
            if waiting.bytes >= min(WORTH_A_ROW_GROUP, self._chunk):
                self._flush(values, waiting)
        if self._bytes <= self._buffered_bytes // 2:
            return
        rows = {v: w.take() for v, w in self._waiting.items() if w.batches}
        self._spill.put(rows, next(iter(rows.values()))[0].schema)
        self._bytes = 0
        self._waiting = {v: w for v, w in self._waiting.items() if v in self._open}

    def _flush(self, values: Values, waiting: _Waiting) -> None:
        self._bytes -= waiting.bytes
        self._put(values, waiting.take())

    def _put_all(self, values: Values) -> None:
        """Write what is left of a partition, a row group at a time."""
        waiting = self._waiting.get(values)
        self._bytes -= waiting.bytes if waiting else 0
        gathered = _Waiting()
        for batch in chain(self._spill.take(values), waiting.take() if waiting else ()):
            gathered.add(batch)
            if gathered.bytes >= self._chunk:
                self._put(values, gathered.take())
        if gathered.batches:
            self._put(values, gathered.take())

    def _put(self, values: Values, batches: list[pa.RecordBatch]) -> None:
        rows = batches[0] if len(batches) == 1 else pa.Table.from_batches(batches)
        if not self._sampled and rows.num_rows >= _SAMPLED_ROWS:
            self._sampled = True
            self._arguments["use_dictionary"] = self._with_dictionary(rows.slice(0, _SAMPLED_ROWS))
        pieces = max(
            math.ceil(rows.nbytes / self._chunk),
            math.ceil(rows.num_rows / self._properties.row_group_rows),
        )
        step = max(math.ceil(rows.num_rows / max(pieces, 1)), 1)
        for start in range(0, rows.num_rows, step):
            file = self._file(values)
            group = rows if step >= rows.num_rows else rows.slice(start, step)
            self._encoding.write(file, group, WORTH_A_ROW_GROUP)
            self._make_room()
            if self._encoding.size(file) >= self._size:
                self._close(values)

    def _with_dictionary(self, sample: pa.Table) -> list[str] | bool:
        """Columns that are written with a dictionary: not those of mostly distinct values.

        For those Parquet's writer would fill one, give it up, and begin again: half of its time.
        """
        plain = {
            kind.name
            for field, kind in zip(self._target.stored, self._target.file_schema, strict=True)
            if not pa.types.is_nested(kind.type)
            and pc.count_distinct(sample.column(field.name)).as_py() > _DISTINCT * sample.num_rows
        }
        if not plain:
            return True
        return [leaf for leaf in leaf_paths(self._target.file_schema) if leaf not in plain] or False

    def _file(self, values: Values) -> OpenFile:
        file = self._open.pop(values, None)
        if file is None:
            while len(self._open) >= OPEN_FILES:
                self._close(next(iter(self._open)))
            name = self._name(values, len(self._started))
            if self._register is not None:
                self._register(name)
            self._started.append(name)
            file = OpenFile(self._store, name, self._target, self._arguments)
        # The one used last is the last to be closed.
        self._open[values] = file
        return file

    def _close(self, values: Values) -> None:
        file = self._open.pop(values)
        # Among what is to be given up until it is closed.
        self._closing[file.name] = file

        def closed(found: tuple[int, str]) -> None:
            size, stats = found
            del self._closing[file.name]
            self._written.names.append(file.name)
            self._written.num_rows += file.rows
            self._written.num_bytes += size
            self._written.adds.append(self._body(file.name, values, size, stats))

        self._encoding.finish(file, closed)
        while len(self._closing) > OPEN_FILES:
            self._encoding.settle()

    def _name(self, values: Values, number: int) -> str:
        """The name of this writer's file `number`, of a partition."""
        name = file_name(self._write_id, self._task, number, self._properties.codec)
        return self._partitioning.directory(values) + name

    def _body(self, name: str, values: Values, size: int, stats: str) -> dict[str, Any]:
        """The body of the action that tells of a file."""
        return add_body(
            encode_path(name),
            self._partitioning.partition_values(values),
            size,
            time.time_ns() // 1_000_000,
            data_change=self._data_change,
            stats=stats,
            tags=self._tags,
        )

    def finish(self) -> WrittenFiles:
        """Write what waits, close all files, and tell of them."""
        for values in dict.fromkeys([*self._waiting, *self._spill.partitions]):
            self._put_all(values)
            if values in self._open:
                self._close(values)
        self._waiting.clear()
        for values in list(self._open):
            self._close(values)
        while not self._encoding.is_empty:
            self._encoding.settle()
        self._encoding.close()
        self._spill.close()
        self._finished = True
        return self._written

    @property
    def is_finished(self) -> bool:
        """Whether `finish` has told of all files."""
        return self._finished

    def abort(self) -> None:
        """Remove every object that this writer began, and no other."""
        self._encoding.stop()
        for file in (*self._open.values(), *self._closing.values()):
            file.give_up()
        self._open.clear()
        self._closing.clear()
        self._waiting.clear()
        self._spill.close()
        self._store.discard(self._started)

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._finished:
            self.abort()


def write_files(
    store: ObjectStore,
    target: FileTarget,
    data: Any,
    write_id: str,
    *,
    check: Callable[[pa.RecordBatch, frozenset[str]], pa.RecordBatch] | None = None,
    progress: Callable[[int], None] | None = None,
    **options: Any,
) -> WrittenFiles:
    """Write all rows of `data` (see `write.input.batches_of`) as data files of a table.

    `check` gets rows and the names of columns that the input lacks, and returns the rows to be
    written or refuses them. `progress` is told the rows taken so far. `options` are FileWriter's.
    Raises SCHEMA_MISMATCH before anything is written where columns don't fit. On any error the
    files made so far are removed.
    """
    reader = batches_of(data)
    converter = target.converter(reader.schema)
    taken = 0
    with FileWriter(store, target, write_id, **options) as writer:
        for batch in reader:
            for piece in slices(batch):
                rows = converter.convert(piece)
                converter.check_texts(rows)
                if check is not None:
                    rows = check(rows, converter.missing)
                writer.write(rows)
                taken += piece.num_rows
                if progress is not None:
                    progress(taken)
        return writer.finish()
