"""Null counts out of a Parquet file's footer, without pyarrow.

pyarrow ends the process when it is asked for the statistics of a damaged footer: the calls behind
`RowGroupMetaData.column` don't catch what the C++ library throws. Opening a file, its schema, its
row groups' sizes and reading its rows are safe. So the few facts that are wanted are read here:
FileMetaData in Thrift's compact protocol (parquet.thrift).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

_MAGIC = b"PAR1"
_DEEPEST = 32
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_INTEGERS = (4, 5, 6)
# Field numbers of parquet.thrift.
_ROW_GROUPS = 4
_COLUMNS = 1
_META_DATA, _PATH, _STATISTICS, _NULL_COUNT = 3, 3, 12, 3


def null_counts(source: pa.NativeFile, columns: Iterable[str]) -> list[dict[str, int]]:
    """Of each row group: dotted column name -> number of nulls, for those whose footer says so.

    Raises ValueError for a footer that can't be read.
    """
    wanted = {tuple(name.encode().split(b".")): name for name in columns}
    try:
        facts = _Compact(_footer(source)).struct(0)
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


def _footer(source: pa.NativeFile) -> bytes:
    end = source.size()
    source.seek(max(0, end - 8))
    tail = source.read(8)
    size = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or size + 8 > end:
        raise ValueError("the file has no Parquet footer")
    source.seek(end - 8 - size)
    return bytes(source.read(size))


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

    def struct(self, depth: int) -> dict[int, Any]:
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
            fields[number] = kind == _TRUE if kind <= _FALSE else self._value(kind, depth)

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _INTEGERS:
            return self._integer()
        if kind == _BINARY:
            start = self._at_after(self._varint())
            return self._data[start : self._at]
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            head = self._data[self._at]
            self._at += 1
            count = head >> 4 if head >> 4 < 15 else self._varint()
            return [self._element(head & 15, depth) for _ in range(self._bounded(count))]
        if kind == _MAP:
            count = self._bounded(self._varint())
            kinds = self._data[self._at_after(1)] if count else 0
            return [
                (self._element(kinds >> 4, depth), self._element(kinds & 15, depth))
                for _ in range(count)
            ]
        if kind in (_BYTE, _DOUBLE):
            self._at_after(1 if kind == _BYTE else 8)
            return None
        raise ValueError(f"the Parquet footer has a value of unknown type {kind}")

    def _element(self, kind: int, depth: int) -> Any:
        if kind <= _FALSE:
            return self._data[self._at_after(1)] == _TRUE
        return self._value(kind, depth + 1)

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
