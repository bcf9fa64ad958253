"""The tables that a job is asked to look at."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.reading.patterns import check_matched, matches
from deltalakedb.catalog.reading.queries import all_tables
from deltalakedb.catalog.records import TableRow
from deltalakedb.uri import parse_database


def tables_of(database: str, patterns: Sequence[str]) -> list[TableRow]:
    """Tables whose `[namespace.]name` matches a pattern (`*`, `?`), by name; all without one.

    Raises INVALID_ARGUMENT where none does.
    """
    with closing(LightCatalog(parse_database(database))) as catalog:
        rows = all_tables(catalog)
    found = sorted(
        (row for row in rows if matches(row, patterns)),
        key=lambda row: row.full_name,
    )
    check_matched(patterns, len(found))
    return found
