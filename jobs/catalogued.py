"""The tables that a job is asked to look at."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from fnmatch import fnmatchcase

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.reading.queries import all_tables
from deltalakedb.catalog.records import TableRow
from deltalakedb.uri import parse_database


def tables_of(database: str, patterns: Sequence[str]) -> list[TableRow]:
    """Tables whose `[namespace.]name` matches a pattern (`*`, `?`), by name; all without one."""
    with closing(LightCatalog(parse_database(database))) as catalog:
        rows = all_tables(catalog)
    return sorted(
        (r for r in rows if not patterns or any(fnmatchcase(r.full_name, p) for p in patterns)),
        key=lambda row: row.full_name,
    )


def longest_unproven(database: str, rows: Sequence[TableRow]) -> list[TableRow]:
    """The tables, those first that were never found equal to their log, then by when they were."""
    with closing(LightCatalog(parse_database(database))) as catalog:
        proven = dict(
            catalog.reader.rows(
                "SELECT table_id, MAX(finished_at) FROM dl_parity_runs WHERE exit_code = 0 "
                "GROUP BY table_id"
            )
        )
    return sorted(rows, key=lambda row: (int(proven.get(row.table_id, 0)), row.full_name))
