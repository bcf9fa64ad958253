"""Pruning keys and record counts of many files at once, from the text of their statistics.

Texts of a known shape go through `stats_template` and Arrow's parsers; what doesn't fit is decoded
one by one. Both ways give the same keys: those of `order.key_of`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from deltalakedb.log.schema import decimal_parameters
from deltalakedb.log.statistics.key_arrays import integer_array, key_array, value_keys
from deltalakedb.log.statistics.order import NEG_INF, POS_INF, key_of
from deltalakedb.log.statistics.skipping import SkippingColumn
from deltalakedb.log.statistics.template import Int64s, Match, Template, Texts, template_of

_CHUNK_ROWS = 8192
_FEW_ROWS = 32  # so many are decoded one by one as quickly as held against a template
_POOR_TEMPLATES = 4  # so many that few rows fit: the shapes differ too much
_REMEMBERED = 32

_Span = tuple[bool, Int64s, Int64s]  # whether it is quoted, begins, ends


@dataclass(frozen=True)
class StatsKeys:
    """Per row: physical record count (null when unknown), and lo and hi of each column."""

    num_records: pa.Array
    lo: list[pa.Array]
    hi: list[pa.Array]


def keys_from_stats(
    stats: pa.Array | pa.ChunkedArray, columns: Sequence[SkippingColumn]
) -> StatsKeys:
    """Keys of every row of `stats` (JSON text or null), in the order of `columns`.

    Null or malformed statistics and missing, null or mistyped values leave a key open: lo NEG_INF,
    hi POS_INF. A column without minimum and maximum whose nullCount equals numRecords (more than
    none) holds nothing but nulls, with tight and with wide bounds: lo POS_INF, hi NEG_INF, so that
    no comparison finds the file. `num_records` counts physical rows. PROTOCOL.md, "Per-file
    Statistics".
    """
    keys = _Keys.of(len(stats), columns)
    templates: list[Template] = []
    chunks = stats.chunks if isinstance(stats, pa.ChunkedArray) else [stats]
    base = 0
    for chunk in chunks:
        for offset in range(0, len(chunk), _CHUNK_ROWS):
            part = chunk.slice(offset, _CHUNK_ROWS)
            if part.null_count < len(part):
                _Part(keys, base + offset, _texts(part), columns, templates).fill(part)
        base += len(chunk)
    return StatsKeys(
        pa.array(keys.records, mask=~keys.known),
        [pa.array(values) for values in keys.lo],
        [pa.array(values) for values in keys.hi],
    )


@dataclass(frozen=True)
class FewKeys:
    """`StatsKeys` as Python's numbers."""

    num_records: list[int | None]
    lo: list[list[int]]
    hi: list[list[int]]


def keys_of_few(stats: Sequence[str | None], columns: Sequence[SkippingColumn]) -> FewKeys:
    """`keys_from_stats`, quicker where texts are few: one by one, without Arrow."""
    decode = _decoder(columns)
    decoded = [{} if text is None else decode(text) for text in stats]
    counts = [_count(found.get("numRecords")) for found in decoded]
    keys = FewKeys(counts, [], [])
    minima, maxima = _members(decoded, "minValues"), _members(decoded, "maxValues")
    for column in columns:
        low, high = _at(minima, column.path), _at(maxima, column.path)
        keys.lo.append([key_of(value, column.type, upper=False) for value in low])
        keys.hi.append([key_of(value, column.type, upper=True) for value in high])
        if None not in low or None not in high:
            continue
        nulls = map(_count, _at(_members(decoded, "nullCount"), column.path))
        for row, (a, b, n, c) in enumerate(zip(low, high, nulls, counts, strict=True)):
            if a is b is None and n == c and (c or 0) > 0:
                keys.lo[-1][row], keys.hi[-1][row] = POS_INF, NEG_INF
    return keys


@dataclass
class _Keys:
    records: Int64s
    known: npt.NDArray[np.bool_]
    lo: list[Int64s] = field(default_factory=list)
    hi: list[Int64s] = field(default_factory=list)

    @classmethod
    def of(cls, count: int, columns: Sequence[SkippingColumn]) -> _Keys:
        return cls(
            np.zeros(count, np.int64),
            np.zeros(count, np.bool_),
            [np.full(count, NEG_INF, np.int64) for _ in columns],
            [np.full(count, POS_INF, np.int64) for _ in columns],
        )


def _texts(part: pa.Array) -> Texts:
    _, offsets, data = part.buffers()
    kind = np.int64 if pa.types.is_large_string(part.type) else np.int32
    bounds = np.frombuffer(offsets, kind)[part.offset : part.offset + len(part) + 1]
    low, high = int(bounds[0]), int(bounds[-1])
    places = bounds.astype(np.int64) - low
    # An empty array has no buffer at all.
    content = np.frombuffer(data or b"", np.uint8)[low:high]
    return Texts(content, places[:-1], places[1:])


@dataclass
class _Part:
    """Some rows, from row `base` on. `templates`, latest useful first, outlives the part."""

    keys: _Keys
    base: int
    texts: Texts
    columns: Sequence[SkippingColumn]
    templates: list[Template]

    def fill(self, part: pa.Array) -> None:
        present = np.arange(len(part))
        if part.null_count:
            present = np.flatnonzero(part.is_valid().to_numpy(zero_copy_only=False))
        rest = self.texts.plain_rows(present)
        singly = np.setdiff1d(present, rest, assume_unique=True).tolist()
        for template in list(self.templates):
            if len(rest) >= _FEW_ROWS:
                rest = self._hold_against(template, rest, singly)
        poor = 0
        while len(rest) >= _FEW_ROWS and poor < _POOR_TEMPLATES:
            before = len(rest)
            found = template_of(self.texts.text(int(rest[0])))
            if found is None:
                singly.append(int(rest[0]))
                rest = rest[1:]
            else:
                rest = self._hold_against(found, rest, singly)
            poor += before - len(rest) < _FEW_ROWS
        singly += rest.tolist()
        if singly:
            self._decode(sorted(singly))

    def _hold_against(self, template: Template, rows: Int64s, singly: list[int]) -> Int64s:
        """Fill in the rows that fit, or add them to `singly`; returns those that don't fit."""
        match = self.texts.match(template, rows)
        if not len(match.rows):
            return rows
        if template in self.templates:
            self.templates.remove(template)
        self.templates.insert(0, template)
        del self.templates[_REMEMBERED:]
        try:
            self._fill_match(template, match)
        except ValueError:
            # pa.ArrowInvalid among them: some value is beyond Arrow's parser (a huge integer, an
            # odd timestamp) or no JSON after all.
            singly += match.rows.tolist()
        if len(match.rows) == len(rows):
            return rows[:0]
        return np.setdiff1d(rows, match.rows, assume_unique=True)

    def _fill_match(self, template: Template, match: Match) -> None:
        keys, rows = self.keys, match.rows + self.base
        spans = {
            value.path: (value.quoted, begin, end)
            for value, begin, end in zip(template.values, match.begins, match.ends, strict=True)
        }
        records = self._counts(spans.get(("numRecords",)))
        if records is not None:
            keys.records[rows] = records
            keys.known[rows] = records >= 0  # a negative number says nothing
        for index, column in enumerate(self.columns):
            low, high = ("minValues", *column.path), ("maxValues", *column.path)
            for out, path, upper in ((keys.lo[index], low, False), (keys.hi[index], high, True)):
                if path in spans:
                    out[rows] = self._span_keys(*spans[path], column.type, upper)
                else:
                    out[rows] = key_of(template.literals.get(path), column.type, upper=upper)
            if records is None or any(template.has_value(path) for path in (low, high)):
                continue
            nulls = self._counts(spans.get(("nullCount", *column.path)))
            if nulls is not None:
                empty = rows[(nulls == records) & (records > 0)]
                keys.lo[index][empty], keys.hi[index][empty] = POS_INF, NEG_INF

    def _counts(self, span: _Span | None) -> Int64s | None:
        if span is None or span[0]:
            return None
        return integer_array(self.texts.data, span[1], span[2])

    def _span_keys(
        self, quoted: bool, begins: Int64s, ends: Int64s, type: str, upper: bool
    ) -> Int64s:
        data, escapes = self.texts.data, self.texts.escapes
        found = key_array(
            data, begins, ends, quoted=quoted, type=type, upper=upper, escapes=escapes
        )
        if found is not None:
            return found
        # Special values of floats, or statistics of a type that the column hadn't then.
        raw = (data[b:e].tobytes() for b, e in zip(begins.tolist(), ends.tolist(), strict=True))
        values = [
            orjson.loads(b'"' + v + b'"') if quoted else json.loads(v, parse_float=Decimal)
            for v in raw
        ]
        return value_keys(values, type, upper=upper)

    def _decode(self, rows: list[int]) -> None:
        """Texts of no common shape: a JSON parser for each, then the values column by column."""
        decode = _decoder(self.columns)
        decoded = [decode(self.texts.text(row)) for row in rows]
        keys, at = self.keys, np.array(rows, np.int64) + self.base
        counts = [_count(found.get("numRecords")) for found in decoded]
        keys.records[at] = [count or 0 for count in counts]
        keys.known[at] = [count is not None for count in counts]
        minima, maxima = _members(decoded, "minValues"), _members(decoded, "maxValues")
        for index, column in enumerate(self.columns):
            low, high = _at(minima, column.path), _at(maxima, column.path)
            keys.lo[index][at] = value_keys(low, column.type, upper=False)
            keys.hi[index][at] = value_keys(high, column.type, upper=True)
            if None not in low or None not in high:
                continue
            nulls = map(_count, _at(_members(decoded, "nullCount"), column.path))
            valueless = zip(low, high, nulls, counts, strict=True)
            empty = at[[a is b is None and n == c and (c or 0) > 0 for a, b, n, c in valueless]]
            keys.lo[index][empty], keys.hi[index][empty] = POS_INF, NEG_INF


def _members(objects: list[Any], name: str) -> list[Any]:
    return [found.get(name) if isinstance(found, dict) else None for found in objects]


def _at(objects: list[Any], path: tuple[str, ...]) -> list[Any]:
    for name in path:
        objects = _members(objects, name)
    return objects


def _decoder(
    columns: Sequence[SkippingColumn],
) -> Callable[[bytes | str], dict[str, Any]]:
    """A parser that gives {} for malformed text."""
    exact = any(decimal_parameters(column.type) for column in columns)

    def decode(text: bytes | str) -> dict[str, Any]:
        try:
            found = orjson.loads(text)
            if exact:
                # orjson reads decimals as doubles, which may round a minimum up.
                found = json.loads(text, parse_float=Decimal)
        except ValueError:
            found = _lenient(text)
        return found if isinstance(found, dict) else {}

    return decode


def _lenient(text: bytes | str) -> Any:
    """What is no strict JSON for bare NaN or half a surrogate pair alone, as Java reads it too."""
    try:
        return json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None


def _count(value: Any) -> int | None:
    """A count that is a whole 64-bit number of at least 0, else None."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value <= POS_INF else None
