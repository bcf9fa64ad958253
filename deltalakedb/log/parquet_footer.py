"""Null counts and bounds out of a Parquet file's footer, without pyarrow.

pyarrow ends the process when it is asked for the statistics of a damaged footer: the calls behind
`RowGroupMetaData.column` don't catch what the C++ library throws. Opening a file, its schema, its
row groups' sizes and reading its rows are safe; writing the footer anew isn't either. So the few
facts that are wanted are read here: FileMetaData in Thrift's compact protocol (parquet.thrift).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

_MAGIC = b"PAR1"
_TAIL = 64 << 10
_DEEPEST = 32
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS = (4, 5, 6)
# Field numbers of parquet.thrift.
_ROW_GROUPS = 4
_COLUMNS = 1
_META_DATA, _PATH, _NUM_VALUES, _STATISTICS = 3, 3, 5, 12
_NULL_COUNT, _MAX_VALUE, _MIN_VALUE = 3, 5, 6

_Wanted = dict[int, Any]
"""Fields of a struct that are wanted: number -> those of the struct it holds; {} is all of them."""

_NULLS: _Wanted = {_ROW_GROUPS: {_COLUMNS: {_META_DATA: {_PATH: {}, _STATISTICS: {}}}}}
_BOUNDS: _Wanted = {_ROW_GROUPS: {_COLUMNS: {_META_DATA: {_NUM_VALUES: {}, _STATISTICS: {}}}}}


class ColumnBounds(NamedTuple):
    """What a row group's footer says of one leaf column."""

    values: int
    """Rows, nulls counted."""
    nulls: int | None
    low: bytes | None
    """No value is less; as Parquet's PLAIN encoding stores it, strings without their length."""
    high: bytes | None


def null_counts(source: pa.NativeFile, columns: Iterable[str]) -> list[dict[str, int]]:
    """Of each row group: dotted column name -> number of nulls, for those whose footer says so.

    Raises ValueError for a footer that can't be read.
    """
    wanted = {tuple(name.encode().split(b".")): name for name in columns}
    try:
        facts = _Compact(footer_of(source)[:-8]).struct(0, _NULLS)
        found = []
        for group in facts[_ROW_GROUPS]:
            counts: dict[str, int] = {}
            for chunk in group[_COLUMNS]:
                column = chunk[_META_DATA]
                name = wanted.get(tuple(column[_PATH]))
                nulls = column.get(_STATISTICS, {}).get(_NULL_COUNT)
                if name is not None and isinstance(nulls, int):
                    counts[name] = nulls
            found.append(counts)
    except (LookupError, TypeError, AttributeError, struct.error) as error:
        raise ValueError(f"the Parquet footer is damaged ({error})") from error
    return found


def column_bounds(footer: bytes, leaves: Iterable[int]) -> list[dict[int, ColumnBounds]]:
    """Of each row group: leaf column -> its statistics, for those that have some.

    `footer`: of `footer_of`. About 10 microseconds a column and row group.
    Raises ValueError for one that can't be read.
    """
    wanted = tuple(leaves)
    try:
        found = []
        for group in _Compact(footer[:-8]).struct(0, _BOUNDS)[_ROW_GROUPS]:
            bounds: dict[int, ColumnBounds] = {}
            for leaf in wanted:
                column = group[_COLUMNS][leaf][_META_DATA]
                facts = column.get(_STATISTICS)
                if facts is not None:
                    bounds[leaf] = ColumnBounds(
                        _is(int, column[_NUM_VALUES]),
                        _is(int, facts.get(_NULL_COUNT)),
                        _is(bytes, facts.get(_MIN_VALUE)),
                        _is(bytes, facts.get(_MAX_VALUE)),
                    )
            found.append(bounds)
    except (LookupError, TypeError, AttributeError, struct.error) as error:
        raise ValueError(f"the Parquet footer is damaged ({error})") from error
    return found


def _is(kind: type, value: Any) -> Any:
    if value is not None and type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def footer_of(source: pa.NativeFile) -> bytes:
    """The file's end: FileMetaData as Thrift stores it, its size, the magic.

    One request of 64 KB, a second one for a longer footer. Raises ValueError where there is none.
    """
    end = source.size()
    source.seek(max(0, end - _TAIL))
    tail = bytes(source.read(_TAIL))
    size = int.from_bytes(tail[-8:-4], "little") + 8
    if tail[-4:] != _MAGIC or size > end:
        raise ValueError("the file has no Parquet footer")
    if size > len(tail):
        source.seek(end - size)
        tail = bytes(source.read(size))
    return tail[-size:]


def metadata_of(footer: bytes) -> pq.FileMetaData:
    """pyarrow's reading of a `footer_of`. Raises ArrowException, OSError for a damaged one."""
    return pq.read_metadata(pa.BufferReader(_MAGIC + footer))


class _Compact:
    """Thrift's compact protocol: structs as {field number: value}."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _varint(self) -> int:
        data, at, value, shift = self._data, self._at, 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                self._at = at
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number of the Parquet footer is too long")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def struct(self, depth: int, wanted: _Wanted) -> dict[int, Any]:
        if depth > _DEEPEST:
            raise ValueError("the Parquet footer is nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while True:
            head = self._data[self._at]
            self._at += 1
            if head == 0:
                return fields
            kind = head & 15
            number = number + (head >> 4) if head >> 4 else self._integer()
            if wanted and number not in wanted:
                if kind > _FALSE:
                    self._skip(kind, depth)
            elif kind <= _FALSE:
                fields[number] = kind == _TRUE
            else:
                fields[number] = self._value(kind, depth, wanted.get(number, {}))

    def _skip(self, kind: int, depth: int) -> None:
        """Pass over a value; the kinds that make up most of a footer without a call each."""
        data = self._data
        if kind in _INTEGERS:
            at = self._at
            while data[at] >= 0x80:
                at += 1
            self._at = at + 1
        elif kind == _BINARY:
            self._at_after(self._varint())
        elif kind == _STRUCT:
            if depth > _DEEPEST:
                raise ValueError("the Parquet footer is nested too deeply")
            while True:
                head = data[self._at]
                self._at += 1
                if head == 0:
                    return
                if head < 16:
                    self._varint()
                if head & 15 > _FALSE:
                    self._skip(head & 15, depth + 1)
        elif kind in (_LIST, _SET) and data[self._at] & 15 in _INTEGERS:
            self._at += 1
            head = data[self._at - 1]
            for _ in range(self._bounded(head >> 4 if head >> 4 < 15 else self._varint())):
                self._skip(head & 15, depth)
        else:
            self._value(kind, depth, {})

    def _value(self, kind: int, depth: int, wanted: _Wanted) -> Any:
        if kind in _INTEGERS:
            return self._integer()
        if kind == _BINARY:
            start = self._at_after(self._varint())
            return self._data[start : self._at]
        if kind == _STRUCT:
            return self.struct(depth + 1, wanted)
        if kind in (_LIST, _SET):
            head = self._data[self._at]
            self._at += 1
            count = head >> 4 if head >> 4 < 15 else self._varint()
            return [self._element(head & 15, depth, wanted) for _ in range(self._bounded(count))]
        if kind == _MAP:
            count = self._bounded(self._varint())
            kinds = self._data[self._at_after(1)] if count else 0
            return [
                (self._element(kinds >> 4, depth, {}), self._element(kinds & 15, depth, {}))
                for _ in range(count)
            ]
        if kind in (_BYTE, _DOUBLE):
            self._at_after(1 if kind == _BYTE else 8)
            return None
        raise ValueError(f"the Parquet footer has a value of unknown type {kind}")

    def _element(self, kind: int, depth: int, wanted: _Wanted) -> Any:
        if kind <= _FALSE:
            return self._data[self._at_after(1)] == _TRUE
        return self._value(kind, depth + 1, wanted)

    def _at_after(self, size: int) -> int:
        start = self._at
        self._at = start + size
        if self._at > len(self._data):
            raise ValueError("the Parquet footer is cut off")
        return start

    def _bounded(self, count: int) -> int:
        if count > len(self._data) - self._at:
            raise ValueError("a list of the Parquet footer is longer than the footer")
        return count
