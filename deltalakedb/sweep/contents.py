"""What is inside a data file: its bytes against an earlier night's, its pages, its statistics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

if TYPE_CHECKING:
    import pyarrow.parquet as pq

WHOLE_BYTES = 4 << 20
"""Files up to this size are read whole, and their bytes are known from then on."""
_DECODED_BYTES = 32 << 20
"""So much of a file is decoded, as it is in memory; what it says of itself is what is believed."""


def digest_of(data: bytes) -> str:
    """By which the bytes of a file are known again."""
    return xxhash.xxh3_64_hexdigest(data)


def opened(data: Any) -> pq.ParquetFile:
    """A Parquet file whose pages are held against their checksums, where its writer left any.

    `data`: its bytes, or the file itself.
    """
    import pyarrow.parquet as pq

    source = pa.BufferReader(data) if isinstance(data, bytes) else data
    return pq.ParquetFile(source, page_checksum_verification=True)


def wrong_values(file: pq.ParquetFile, stats: str | None, *, loose: bool, turn: int) -> str | None:
    """What of a file can't be decoded, or isn't within the statistics it was added with.

    Row groups are taken in turn, from the `turn`-th on, while they are small enough. `loose`: rows
    were deleted since, so that no count of nulls holds.
    """
    groups = file.metadata.num_row_groups
    left = _DECODED_BYTES
    nulls: dict[str, int] = {}
    said = _said(stats)
    read = 0
    for step in range(groups):
        number = (turn + step) % groups
        group = file.metadata.row_group(number)
        left -= max(group.total_byte_size, 0)
        if left < 0:
            break
        read += 1
        try:
            rows = file.read_row_group(number, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            if getattr(error, "errno", None) is not None:
                raise
            if "crypt" in str(error):
                # Whose key this doesn't have.
                return None
            return f"row group {number} can't be decoded: {_first_line(error)}"
        for name, column in zip(rows.column_names, rows.columns, strict=True):
            nulls[name] = nulls.get(name, 0) + column.null_count
            if (wrong := _out_of_bounds(column, name, said)) is not None:
                return wrong
    if read < groups or loose or said.get("tightBounds") is False:
        return None
    return next(_miscounted(nulls, said.get("nullCount")), None)


def _said(stats: str | None) -> Mapping[str, Any]:
    try:
        found = None if stats is None else orjson.loads(stats)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _miscounted(nulls: Mapping[str, int], counts: object) -> Iterator[str]:
    if not isinstance(counts, dict):
        return
    for name, count in counts.items():
        if isinstance(count, int) and nulls.get(name, count) != count:
            yield f"column {name} has {nulls[name]} nulls, and was added with {count}"


def _out_of_bounds(column: pa.ChunkedArray, name: str, said: Mapping[str, Any]) -> str | None:
    """Numbers and dates outside what the log says; other kinds are cut short by many writers."""
    kind = column.type
    if not (pa.types.is_signed_integer(kind) or pa.types.is_date32(kind)):
        return None
    low, high = (_bound(said.get(which), name, kind) for which in ("minValues", "maxValues"))
    if low is None and high is None:
        return None
    found = pc.min_max(column).as_py()
    first, last = found["min"], found["max"]
    if first is None:
        return None
    if (low is not None and first < low) or (high is not None and last > high):
        return f"column {name} goes from {first} to {last}, and was added with {low} to {high}"
    return None


def _bound(ends: object, name: str, kind: pa.DataType) -> Any:
    value = ends.get(name) if isinstance(ends, dict) else None
    if pa.types.is_date32(kind):
        try:
            return date.fromisoformat(value) if isinstance(value, str) else None
        except ValueError:
            return None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
