"""Sizes, counts and times for people, the same on the command line and in notebooks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def size_text(size: int | None) -> str:
    """Bytes: 999 B, 1.2 kB, 34.5 MB (powers of 1000); nothing for None."""
    if size is None:
        return ""
    if abs(size) < 1000:
        return f"{size} B"
    value = float(size)
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        value /= 1000
        if abs(value) < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:,.1f} EB"


def count_text(count: int, thing: str) -> str:
    """`1 file`, `2,000 files`."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def time_text(milliseconds: int | None) -> str:
    """Milliseconds since 1970 as UTC, to the second; nothing for None."""
    if milliseconds is None:
        return ""
    try:
        return f"{_EPOCH + timedelta(milliseconds=milliseconds):%Y-%m-%d %H:%M:%S}"
    except OverflowError:
        return f"{milliseconds} ms"
