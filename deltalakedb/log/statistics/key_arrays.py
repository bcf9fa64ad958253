"""Keys of many values that lie in one buffer: `order.key_of`, vectorised.

A value is the bytes `data[begins[i]:ends[i]]`, ascending and not overlapping: a number of JSON, or
what is between the quotes of a string. They are parsed by Arrow where they lie: one string array
has every value and every gap between two of them as its elements, and the gaps are null.
"""

from __future__ import annotations

import builtins
import sys
from decimal import Decimal
from types import NoneType
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from deltalakedb.log.schema import decimal_parameters
from deltalakedb.log.statistics.order import NEG_INF, POS_INF, TRUNCATED_MICROS, key_of

Int64s = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

_INTEGERS = frozenset({"byte", "short", "integer", "long"})
_EXACT_DIGITS = 18
_KEY_BYTES = 8
_ODD_ARE_NULL = 0b01010101
_INSTANT = pa.timestamp("us", "UTC")
_LOCAL = pa.timestamp("us")


def integer_array(data: Bytes, begins: Int64s, ends: Int64s) -> Int64s:
    """Whole numbers; raises pa.ArrowInvalid when one isn't, or exceeds 64 bits."""
    return _integers(_slices(data, begins, ends).cast(pa.int64()))


def key_array(
    data: Bytes,
    begins: Int64s,
    ends: Int64s,
    *,
    quoted: bool,
    type: str,
    upper: bool,
    escapes: bool,
) -> Int64s | None:
    """Keys of JSON strings (`quoted`) or numbers as minima or, `upper`, maxima of a type.

    `escapes` says that a backslash in a string may begin an escape.

    None for a combination that has no vectorised way; raises pa.ArrowInvalid when a value needs
    the exact one (a fraction in an integer column, a timestamp without the zone it needs).
    """
    if quoted:
        if type == "string":
            return _text_keys(data, begins, ends, upper=upper, escapes=escapes)
        if type == "date":
            return _dates(_slices(data, begins, ends))
        if type in ("timestamp", "timestamp_ntz"):
            return _timestamps(data, begins, ends, zoned=type == "timestamp", upper=upper)
        return None
    if type in _INTEGERS:
        return integer_array(data, begins, ends)
    if type in ("float", "double"):
        return _floats(_slices(data, begins, ends), single=type == "float")
    decimal = decimal_parameters(type)
    if decimal is None:
        return None
    if decimal[0] > _EXACT_DIGITS:
        return _floats(_slices(data, begins, ends), single=False)
    return _decimals(_slices(data, begins, ends), decimal[1])


def value_keys(values: list[Any], type: str, *, upper: bool) -> Int64s:
    """Keys of decoded JSON values, None where there is none: `key_of` of each, vectorised."""
    try:
        found = _value_keys(values, set(map(builtins.type, values)), type, upper)
    except (ValueError, TypeError, OverflowError):
        # Among them pa.ArrowInvalid and ArrowTypeError: some value needs the exact way.
        found = None
    if found is not None:
        return found
    return np.array([key_of(value, type, upper=upper) for value in values], np.int64)


def _value_keys(
    values: list[Any], kinds: set[builtins.type], type: str, upper: bool
) -> Int64s | None:
    kinds = kinds - {NoneType}
    if kinds == {str}:
        texts = pa.array(values, pa.large_string())
        offsets = np.frombuffer(texts.buffers()[1], np.int64)
        present = texts.is_valid().to_numpy(zero_copy_only=False)
        data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
        begins, ends = offsets[:-1][present], offsets[1:][present]
        keys = key_array(data, begins, ends, quoted=True, type=type, upper=upper, escapes=False)
        return None if keys is None else _spread(keys, present, upper)
    if not kinds or not kinds <= {int, float, Decimal}:
        return None
    decimal = decimal_parameters(type)
    if type in _INTEGERS and kinds == {int}:
        parsed = pa.array(values, pa.int64())
    elif type in ("float", "double") or (decimal and decimal[0] > _EXACT_DIGITS):
        if kinds != {float}:
            values = [None if value is None else float(value) for value in values]
        parsed = pa.array(values, pa.float64())
    elif decimal and float not in kinds:
        parsed = pa.array(values, pa.decimal128(_EXACT_DIGITS, decimal[1]))
    else:
        return None
    present = parsed.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_floating(parsed.type):
        numbers = np.frombuffer(parsed.buffers()[1], np.float64)[: len(parsed)]
        if np.isnan(numbers[present]).any():
            return None
        keys = _float_keys(numbers, single=type == "float")
    else:
        step = 2 if decimal else 1
        keys = np.frombuffer(parsed.buffers()[1], np.int64)[: step * len(parsed) : step]
    return _spread(keys[present], present, upper)


def _spread(keys: Int64s, present: npt.NDArray[np.bool_], upper: bool) -> Int64s:
    out = np.full(len(present), POS_INF if upper else NEG_INF, np.int64)
    out[present] = keys
    return out


def _slices(data: Bytes, begins: Int64s, ends: Int64s) -> pa.Array:
    """Values at even positions, gaps (null) at odd ones."""
    count = len(begins)
    offsets = np.empty(2 * count + 1, np.int64)
    offsets[0:-1:2] = begins
    offsets[1::2] = ends
    offsets[-1] = ends[-1] if count else 0
    valid = np.full((2 * count + 7) // 8, _ODD_ARE_NULL, np.uint8)
    buffers = [pa.py_buffer(valid), pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_string(), 2 * count, buffers)


def _integers(parsed: pa.Array) -> Int64s:
    return np.frombuffer(parsed.buffers()[1], np.int64)[: len(parsed) : 2]


def _dates(values: pa.Array) -> Int64s:
    parsed = values.cast(pa.date32())
    return np.frombuffer(parsed.buffers()[1], np.int32)[: len(parsed) : 2].astype(np.int64)


def _timestamps(data: Bytes, begins: Int64s, ends: Int64s, *, zoned: bool, upper: bool) -> Int64s:
    if zoned:
        micros = _integers(_slices(data, begins, ends).cast(_INSTANT))
    else:
        # The byte before an empty text isn't its own.
        last = np.frombuffer(b"\0", np.uint8) if not len(data) else data[np.maximum(ends, 1) - 1]
        stray = (ends > begins) & (last == b"Z"[0])
        micros = _integers(_slices(data, begins, ends - stray).cast(_LOCAL))
    return micros + TRUNCATED_MICROS if upper else micros


def _floats(values: pa.Array, *, single: bool) -> Int64s:
    parsed = values.cast(pa.float64())
    return _float_keys(
        np.frombuffer(parsed.buffers()[1], np.float64)[: len(parsed) : 2], single=single
    )


def _float_keys(numbers: npt.NDArray[np.float64], *, single: bool) -> Int64s:
    if single:
        with np.errstate(over="ignore"):
            numbers = numbers.astype(np.float32).astype(np.float64)
    bits = (numbers + 0.0).view(np.int64)
    return np.where(bits < 0, bits ^ POS_INF, bits)


def _decimals(values: pa.Array, scale: int) -> Int64s:
    parsed = values.cast(pa.decimal128(_EXACT_DIGITS, scale))
    # The low half of the 128-bit integer is all of it up to 18 digits.
    return np.frombuffer(parsed.buffers()[1], np.int64)[: 2 * len(parsed) : 4]


def _text_keys(data: Bytes, begins: Int64s, ends: Int64s, *, upper: bool, escapes: bool) -> Int64s:
    if not len(begins):
        return begins
    if begins[-1] + _KEY_BYTES > len(data):
        # Only the end of the buffer is too short to read 8 bytes from every value.
        data = np.concatenate([data, np.zeros(_KEY_BYTES, np.uint8)])
    windows = np.ndarray(
        shape=(len(data) - _KEY_BYTES + 1,), dtype=np.uint64, buffer=data.data, strides=(1,)
    )
    words = windows[begins]
    if sys.byteorder == "little":
        words = words.byteswap()
    sizes = ends - begins
    escaped = _with_backslash(words, sizes) if escapes else None
    if sizes.min() < _KEY_BYTES:
        beyond = _BEYOND[np.minimum(sizes, _KEY_BYTES)]
        words &= ~beyond
        if upper:
            # As in `order`: what was cut off may go on, but the empty text wasn't cut off.
            words |= np.where(sizes > 0, beyond, np.uint64(0))
    keys: Int64s = (words ^ np.uint64(1 << 63)).view(np.int64)
    for index in [] if escaped is None else np.flatnonzero(escaped).tolist():
        text = orjson.loads(b'"' + data[begins[index] : ends[index]].tobytes() + b'"')
        keys[index] = key_of(text, "string", upper=upper)
    return keys


def _with_backslash(words: npt.NDArray[np.uint64], sizes: Int64s) -> npt.NDArray[np.bool_]:
    """Which texts have a backslash among the bytes of their key."""
    within = words & ~_BEYOND[np.minimum(sizes, _KEY_BYTES)]
    found: npt.NDArray[np.bool_] = (
        (within.view(np.uint8) == b"\\"[0]).reshape(-1, _KEY_BYTES).any(axis=1)
    )
    return found


# For a text of n bytes, the bits of its key that it doesn't reach.
_BEYOND = np.array([(1 << (8 * (8 - n))) - 1 for n in range(9)], dtype=np.uint64)
