"""Rows of Arrow as the text that MySQL takes: LOAD DATA's lines, and VALUES of an INSERT.

All by columns. LOAD DATA separates by control characters that hardly ever occur in the values,
so that backslashes, quotes, tabs and line ends of JSON need no escape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_ESCAPE, _LINE, _FIELD = "\x1d", "\x1e", "\x1f"
FORMAT = (
    f"FIELDS TERMINATED BY X'{ord(_FIELD):02X}' ESCAPED BY X'{ord(_ESCAPE):02X}' "
    f"LINES TERMINATED BY X'{ord(_LINE):02X}'"
)
"""LOAD DATA's description of what `lines` gives."""
_SLICE_BYTES = 8 << 20


def lines(rows: pa.Table) -> Iterator[memoryview]:
    """The rows as LOAD DATA's lines, some megabytes at a time."""
    for batch in _slices(rows):
        yield _data(_joined(batch, _line_field, _FIELD, f"{_ESCAPE}N", _LINE))[0].data


def values(rows: pa.Table, most_bytes: int) -> Iterator[bytes]:
    """The rows as lists of VALUES, `(1,'a'),(2,NULL)`, each of at most `most_bytes`.

    A single row that is longer comes alone.
    """
    for batch in _slices(rows):
        data, ends = _data(_joined(batch, _literal, ",", "NULL", "),("))
        start = first = 0
        while first < len(ends):
            fitting = int(np.searchsorted(ends, start + most_bytes, side="right"))
            first = max(fitting, first + 1)
            end = int(ends[first - 1])
            # Without the separator after the last one, but for its parenthesis.
            yield b"(" + data[start : end - 2].tobytes()
            start = end


def _slices(rows: pa.Table) -> list[pa.RecordBatch]:
    each = max(1, rows.nbytes // max(rows.num_rows, 1))
    batches: list[pa.RecordBatch] = rows.to_batches(max(1, _SLICE_BYTES // each))
    return batches


def _joined(
    batch: pa.RecordBatch,
    encode: Callable[[pa.Array], pa.Array],
    separator: str,
    null: str,
    end: str,
) -> pa.StringArray:
    options = {"null_handling": "replace", "null_replacement": null}
    columns = [encode(column) for column in batch.columns]
    columns[-1] = pc.binary_join_element_wise(columns[-1], "", end, **options)
    return pc.binary_join_element_wise(*columns, separator, **options)


def _text(column: pa.Array) -> pa.StringArray:
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return column.cast(pa.string())


def _line_field(column: pa.Array) -> pa.StringArray:
    text = _text(column)
    if pa.types.is_string(column.type) and _contains(text, _ESCAPE, _LINE, _FIELD):
        text = pc.replace_substring_regex(text, f"([{_ESCAPE}{_LINE}{_FIELD}])", f"{_ESCAPE}\\1")
    return text


def _literal(column: pa.Array) -> pa.StringArray:
    text = _text(column)
    if not pa.types.is_string(column.type):
        return text
    for special in ("\\", "'"):
        if _contains(text, special):
            text = pc.replace_substring(text, special, special * 2)
    return pc.binary_join_element_wise("", text, "", "'")


def _contains(text: pa.StringArray, *characters: str) -> bool:
    data, _ = _data(text)
    found = bytes(data)
    return any(character.encode() in found for character in characters)


def _data(text: pa.StringArray) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The bytes of all values one after the other, and where each value ends."""
    _, offsets, data = text.buffers()
    places = np.frombuffer(offsets, np.int32)[text.offset : text.offset + len(text) + 1]
    first, last = int(places[0]), int(places[-1])
    content = np.frombuffer(data, np.uint8)[first:last] if data else np.zeros(0, np.uint8)
    return content, places[1:].astype(np.int64) - first
