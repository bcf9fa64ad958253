"""Tables that are asked for by patterns of their names."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from deltalakedb.catalog.records import TableRow
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind


def matches(row: TableRow, patterns: Sequence[str]) -> bool:
    """Whether `[namespace.]name` is like one of some patterns (`*`, `?`); any is, without one."""
    return not patterns or any(fnmatchcase(row.full_name, pattern) for pattern in patterns)


def check_matched(patterns: Sequence[str], found: int) -> None:
    """INVALID_ARGUMENT where patterns were given and no table is like any: nothing was done."""
    if patterns and not found:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"no table of the catalog is like {' or '.join(map(repr, patterns))}; "
            "`dl tables` lists them",
        )
