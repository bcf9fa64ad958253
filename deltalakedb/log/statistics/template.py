"""Reading many JSON texts of one shape at once.

Statistics of a table are nearly always written by one writer with the same keys in the same order,
so a text is a `Template`: constant pieces with numbers and strings between them. One vectorised
pass finds all quotation marks; they tell where the pieces of each row have to lie, the pieces are
compared there, and what is between them are the values. A row that fits is thereby tokenised as
exactly as by a JSON parser. Escaped quotes are told from real ones by the backslash before them;
rows with control characters, or two backslashes before a quote, are left to a parser. Of numbers
only the ends are checked here, so a broken one (`1x2`) is found only when somebody parses it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson

Int64s = npt.NDArray[np.int64]
Path = tuple[str, ...]

_QUOTE, _BACKSLASH, _MINUS, _ZERO, _DOT = b'"'[0], b"\\"[0], b"-"[0], b"0"[0], b"."[0]
_SPACE = 32
_TOKEN = re.compile(
    rb' *(?:(?P<mark>[{}\[\],:])|"(?P<text>(?:[^"\\]|\\.)*)"'
    rb"|(?P<number>-?[0-9][0-9.eE+\-]*)|(?P<literal>true|false|null))"
)
_LITERALS = {b"true": True, b"false": False, b"null": None}


@dataclass(frozen=True, slots=True)
class Value:
    """A number or string that differs from row to row."""

    path: Path
    quoted: bool


@dataclass(frozen=True, slots=True)
class Template:
    """`pieces[0] values[0] pieces[1] values[1] … pieces[-1]`.

    `quotes` counts the quotation marks of a row; `anchors` says for each piece which of them is
    its first and at which byte of the piece it stands (None for a last piece without any).
    `literals` are the paths whose true, false or null is part of a piece, `objects` those of
    objects.
    """

    pieces: tuple[bytes, ...]
    values: tuple[Value, ...]
    literals: dict[Path, bool | None]
    objects: frozenset[Path]
    quotes: int
    anchors: tuple[tuple[int, int] | None, ...]

    def has_value(self, path: Path) -> bool:
        """Whether there is anything but null at `path`."""
        literal = self.literals.get(path) is not None
        return literal or path in self.objects or any(v.path == path for v in self.values)


def template_of(text: bytes) -> Template | None:
    """The template of a JSON object; None for malformed text, arrays, escaped or repeated keys."""
    try:
        if not isinstance(orjson.loads(text), dict):
            return None
    except orjson.JSONDecodeError:
        return None
    pieces: list[bytes] = []
    values: list[Value] = []
    literals: dict[Path, bool | None] = {}
    objects: list[Path] = []
    path: list[str] = []
    position = cut = 0
    while found := _TOKEN.match(text, position):
        position = found.end()
        if found["mark"]:
            if found["mark"] in b"[]":
                return None
            if found["mark"] in b"{":
                objects.append(tuple(path))
                path.append("")
            elif found["mark"] in b"}":
                path.pop()
        elif found["text"] is not None and text[position:].lstrip(b" ")[:1] == b":":
            if b"\\" in found["text"]:
                return None
            path[-1] = found["text"].decode()
        elif found["literal"]:
            literals[tuple(path)] = _LITERALS[found["literal"]]
        else:
            group = "number" if found["number"] else "text"
            values.append(Value(tuple(path), group == "text"))
            pieces.append(text[cut : found.start(group)])
            cut = found.end(group)
    pieces.append(text[cut:])
    paths = [value.path for value in values] + list(literals) + objects
    if text[position:].strip(b" ") or len(set(paths)) < len(paths):
        return None
    return Template(tuple(pieces), tuple(values), literals, frozenset(objects), *_anchors(pieces))


def _anchors(pieces: list[bytes]) -> tuple[int, tuple[tuple[int, int] | None, ...]]:
    count = 0
    anchors: list[tuple[int, int] | None] = []
    for piece in pieces:
        first = piece.find(b'"')
        anchors.append(None if first < 0 else (count, first))
        count += piece.count(b'"')
    return count, tuple(anchors)


@dataclass(frozen=True, slots=True)
class Match:
    """Rows (indexes of texts) that fit a template, and where each of its values begins and ends."""

    rows: Int64s
    begins: list[Int64s]
    ends: list[Int64s]


@dataclass(frozen=True, slots=True)
class _Columns:
    """`columns[k]`: the position of quote k of each row, whose first one has index `first`."""

    quotes: Int64s
    first: Int64s

    def __getitem__(self, k: int) -> Int64s:
        return self.quotes[self.first + k]


class Texts:
    """Some JSON texts in one buffer: row i is data[starts[i]:ends[i]]."""

    def __init__(self, data: npt.NDArray[np.uint8], starts: Int64s, ends: Int64s) -> None:
        self.data = data
        self.starts = starts
        self.ends = ends
        self._quotes: Int64s = np.flatnonzero(data == _QUOTE)
        self._odd: list[Int64s] = []
        if len(data) and data.min() < _SPACE:
            self._odd.append(self._rows_at(np.flatnonzero(data < _SPACE)))
        self.escapes = data.tobytes().find(b"\\") >= 0
        if self.escapes:
            self._drop_escaped_quotes()
        self._first: Int64s | None = None
        self._count: Int64s | None = None

    def _rows_at(self, positions: Int64s) -> Int64s:
        return np.searchsorted(self.ends, positions, side="right")

    def _drop_escaped_quotes(self) -> None:
        escaped = self.data[self._quotes - 1] == _BACKSLASH
        doubtful = self._quotes[escaped & (self.data[self._quotes - 2] == _BACKSLASH)]
        self._odd.append(self._rows_at(doubtful))
        self._quotes = self._quotes[~escaped]

    def text(self, row: int) -> bytes:
        return self.data[self.starts[row] : self.ends[row]].tobytes()

    def plain_rows(self, rows: Int64s) -> Int64s:
        """Those of `rows` (ascending) that a template can be held against."""
        for odd in self._odd:
            if len(odd):
                rows = np.setdiff1d(rows, odd)
        return rows

    def match(self, template: Template, rows: Int64s) -> Match:
        """The rows, of `rows` (ascending), that fit."""
        if len(rows) == len(self.starts) and len(self._quotes) == template.quotes * len(rows):
            # At first sight every text fits: quote k of each is a column of a matrix.
            matrix = self._quotes.reshape(len(rows), template.quotes)
            found = self._spans(template, rows, matrix.T)
            if isinstance(found, Match):
                return found
        rows, first = self._counted(template.quotes, rows)
        while True:
            found = self._spans(template, rows, _Columns(self._quotes, first))
            if isinstance(found, Match):
                return found
            rows, first = rows[found], first[found]

    def _counted(self, count: int, rows: Int64s) -> tuple[Int64s, Int64s]:
        """The rows with that many quotes, and the index of the first one of each."""
        if self._first is None or self._count is None:
            self._first = np.searchsorted(self._quotes, self.starts)
            self._count = np.searchsorted(self._quotes, self.ends) - self._first
        rows = rows[self._count[rows] == count]
        return rows, self._first[rows]

    def _spans(
        self, template: Template, rows: Int64s, quotes: _Columns | Int64s
    ) -> Match | npt.NDArray[np.bool_]:
        """The values of rows that all fit, or which rows went wrong no earlier than the others."""
        begins: list[Int64s] = []
        ends: list[Int64s] = []
        good: npt.NDArray[np.bool_]
        if not len(rows):
            return Match(rows, [rows for _ in template.values], [rows for _ in template.values])
        row_ends = self.ends[rows]
        after = self.starts[rows]
        for index, (piece, anchor) in enumerate(
            zip(template.pieces, template.anchors, strict=True)
        ):
            start = row_ends - len(piece) if anchor is None else quotes[anchor[0]] - anchor[1]
            quoted = index == 0 or template.values[index - 1].quoted
            good = start == after if index == 0 else start >= after if quoted else start > after
            if not good.all():
                return good
            wrong = self._differing(piece, start)
            if wrong is not None:
                return ~wrong
            if index:
                begins.append(after)
                ends.append(start)
            if not quoted:
                good = self._numeric(after, start)
                if not good.all():
                    return good
            after = start + len(piece)
        good = after == row_ends
        return Match(rows, begins, ends) if good.all() else good

    def _differing(self, piece: bytes, start: Int64s) -> npt.NDArray[np.bool_] | None:
        """Which rows lack `piece` at `start`; None when all have it."""
        size = len(piece)
        last = len(self.data) - size
        if start[0] < 0 or start[-1] > last:
            return (start < 0) | (start > last)
        if not size:
            return None
        windows = np.ndarray(
            shape=(last + 1,), dtype=f"V{size}", buffer=self.data.data, strides=(1,)
        )
        found = windows[start]
        if found.tobytes() == piece * len(start):
            return None
        want = np.frombuffer(piece, np.uint8)
        wrong: npt.NDArray[np.bool_] = (found.view(np.uint8).reshape(-1, size) != want).any(axis=1)
        return wrong

    def _numeric(self, begin: Int64s, end: Int64s) -> npt.NDArray[np.bool_]:
        """Whether what looks like a number can be one in JSON: Arrow's parsers accept more."""
        head = self.data[begin]
        minus = head == _MINUS
        digit = head - _ZERO < 10
        good: npt.NDArray[np.bool_] = (digit | minus) & (self.data[end - 1] - _ZERO < 10)
        if minus.any():
            begin = begin + minus
            head = self.data[begin]
            good &= head - _ZERO < 10
        zero = np.flatnonzero((head == _ZERO) & (end - begin > 1))
        if len(zero):
            following = self.data[begin[zero] + 1]
            good[zero] &= (following == _DOT) | (following | 32 == b"e"[0])
        return good
