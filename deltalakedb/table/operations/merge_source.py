"""The source of a MERGE: read once, kept on disk, and what its keys say about the target."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.engine.joining import Condition, Join, Side
from deltalakedb.engine.key_join import KeyJoin
from deltalakedb.log.schema import PrimitiveType, StructType, is_string
from deltalakedb.planning.pruning.statistics import statistics_filter
from deltalakedb.predicate.tree import Expr, conjunction
from deltalakedb.table.operations.base import Base
from deltalakedb.write.casts import plain_type
from deltalakedb.write.input import batches_of, slices
from deltalakedb.write.schema import schema_of

Numbers = npt.NDArray[np.int64]

_LISTED = 100
"""Keys up to this many are asked for one by one, more by their least and greatest."""
_KNOWN = 10_000
"""Keys up to this many are held against the statistics of each file that is left."""
_INTEGERS = frozenset({"byte", "short", "integer", "long"})
_KINDS = _INTEGERS | {"date", "timestamp", "timestamp_ntz", "string", "boolean"}


class Source:
    """Rows by number, from a file that is mapped into memory: they cost none that must stay."""

    def __init__(self, data: Any, directory: str) -> None:
        reader = batches_of(data)
        schema = pa.schema([(f.name, plain_type(f.type)) for f in reader.schema])
        place = str(Path(directory) / "source.arrow")
        # A type that no table has is refused before a row is read.
        schema_of(schema)
        with pa.ipc.new_file(place, schema) as sink:
            for batch in reader:
                for piece in slices(batch):
                    if piece.num_rows:
                        sink.write_batch(piece.cast(schema))
        self._open(place)

    @classmethod
    def at(cls, place: str) -> Source:
        """The source whose file another one has made."""
        found = cls.__new__(cls)
        found._open(place)
        return found

    def _open(self, place: str) -> None:
        self.place = place
        with pa.memory_map(place) as mapped:
            opened = pa.ipc.open_file(mapped)
            self.schema: pa.Schema = opened.schema
            self.struct: StructType = schema_of(self.schema)
            self._batches = [opened.get_batch(n) for n in range(opened.num_record_batches)]
        self._starts = np.cumsum([0, *(batch.num_rows for batch in self._batches)])

    @property
    def num_rows(self) -> int:
        return int(self._starts[-1])

    def numbered(self, columns: Sequence[str]) -> Iterator[tuple[Numbers, pa.RecordBatch]]:
        """All rows with their numbers, of some columns."""
        for start, batch in zip(self._starts[:-1], self._batches, strict=True):
            numbers = np.arange(start, start + batch.num_rows, dtype=np.int64)
            yield numbers, batch.select(list(columns)) if columns else batch

    def rows(self, numbers: Numbers) -> pa.RecordBatch:
        """Rows by their numbers, in that order; a number may come often."""
        if not len(numbers):
            return pa.RecordBatch.from_pylist([], schema=self.schema)
        if numbers[-1] - numbers[0] == len(numbers) - 1 and (np.diff(numbers) == 1).all():
            return self._following(int(numbers[0]), len(numbers))
        order = np.argsort(numbers, kind="stable")
        ascending = numbers[order]
        ends = np.searchsorted(ascending, self._starts)
        pieces = [
            batch.take(pa.array(ascending[first:last] - start))
            for batch, start, first, last in zip(
                self._batches, self._starts[:-1], ends[:-1], ends[1:], strict=True
            )
            if last > first
        ]
        whole = pa.Table.from_batches(pieces).combine_chunks().to_batches()[0]
        if (order[1:] > order[:-1]).all():
            return whole
        back = np.empty(len(order), dtype=np.int64)
        back[order] = np.arange(len(order))
        return whole.take(pa.array(back))

    def _following(self, first: int, count: int) -> pa.RecordBatch:
        """Rows that follow one another; not copied where they lie together."""
        pieces = []
        number = int(np.searchsorted(self._starts, first, side="right")) - 1
        while count:
            at = first - int(self._starts[number])
            piece = self._batches[number].slice(at, count)
            pieces.append(piece)
            first, count, number = first + len(piece), count - len(piece), number + 1
        if len(pieces) == 1:
            return pieces[0]
        return pa.Table.from_batches(pieces).combine_chunks().to_batches()[0]

    def bounds(self, condition: Condition, base: Base) -> tuple[Expr, list[Expr]]:
        """What every target row that matches some source row satisfies, for planning; and, of
        few enough keys, what is to be held against the statistics of the planned files."""
        parts: list[Expr] = []
        sharper: list[Expr] = []
        for sql in condition.of_target:
            found = base.parsed(sql)
            parts += [] if found is None else [found]
        for name, path in condition.equal:
            if not self._comparable(name, path, base.struct):
                continue
            values, least, greatest = self._keys(name)
            column = ".".join(path)
            partitioned = path[0] in base.metadata.partition_columns
            if values is not None and (len(values) <= _LISTED or partitioned):
                parts.append(_parsed(base, [(column, "in", values)]))
            else:
                parts.append(_parsed(base, [(column, ">=", least), (column, "<=", greatest)]))
                if values is not None:
                    sharper.append(_parsed(base, [(column, "in", values)]))
        return conjunction(parts), sharper

    def _comparable(self, name: str, path: tuple[str, ...], target: StructType) -> bool:
        """Whether the values of a source column are those that planning compares by."""
        field, kinds = target.field(path[0]), []
        mine = self.struct.field(name)
        if field is None or mine is None or len(path) > 1 or field.collated:
            return False
        for type in (mine.type, field.type):
            if not isinstance(type, PrimitiveType):
                return False
            kinds.append("string" if is_string(type.name) else type.name)
        same = kinds[0] == kinds[1] or set(kinds) <= _INTEGERS
        return same and kinds[0] in _KINDS

    def _keys(self, name: str) -> tuple[list[Any] | None, Any, Any]:
        """(distinct values, None for too many; least; greatest); NULL matches nothing."""
        distinct: pa.Array | None = pa.array([], self.schema.field(name).type)
        ends: list[Any] = []
        for batch in self._batches:
            values = batch.column(name).drop_null()
            if not len(values):
                continue
            if distinct is not None:
                distinct = pc.unique(pa.concat_arrays([distinct, pc.unique(values)]))
                distinct = distinct if len(distinct) <= _KNOWN else None
            both = pc.min_max(values)
            ends += [both["min"], both["max"]]
        if not ends:
            return [], None, None
        whole = pc.min_max(pa.array([end.as_py() for end in ends], self.schema.field(name).type))
        found = None if distinct is None else _values(distinct)
        return found, *_values(
            pa.array([whole["min"].as_py(), whole["max"].as_py()], whole["min"].type)
        )


Matches = Join | KeyJoin


def joined(
    condition: Condition,
    target: Side,
    source: Source,
    alias: str,
    directory: str,
    *,
    memory_limit: int,
    disk_limit: int | None,
) -> Matches:
    """What is to find the pairs of a source, called `alias`, and of rows of a target.

    `directory` is its own, for what exceeds `memory_limit` bytes.
    """
    found = KeyJoin.of(
        condition,
        target.schema,
        source.struct,
        source.num_rows,
        source.numbered,
        directory,
        memory_limit=memory_limit,
        disk_limit=disk_limit,
    )
    if found is not None:
        return found
    join = Join(
        condition.expression, alias, directory, memory_limit=memory_limit, disk_limit=disk_limit
    )
    try:
        join.take(source.numbered(join.source_columns()))
    except BaseException:
        join.close()
        raise
    return join


def sharpened(files: pa.Table, tests: Sequence[Expr]) -> pa.Table:
    """The files whose statistics don't rule the keys out."""
    for test in tests:
        if files.num_rows:
            files = files.filter(pa.array(statistics_filter(test, files.column("stats"))))
    return files


def _parsed(base: Base, conditions: list[tuple[str, str, Any]]) -> Expr:
    found = base.parsed(conditions)
    assert found is not None
    return found


def _values(array: pa.Array) -> list[Any]:
    found = array.to_pylist()
    aware = pa.types.is_timestamp(array.type) and array.type.tz is not None
    return [v.astimezone(dt.UTC) for v in found] if aware else found
