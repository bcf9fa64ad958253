"""What the catalog remembers of all its tables, whichever process did it: for metrics."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.reading.queries import all_tables
from deltalakedb.mirror.status import mirror_status
from deltalakedb.uri import parse_database


@dataclass(frozen=True)
class Standing:
    """By table id: `names`; of tables whose log we write, versions that wait (`outbox`) and the
    seconds that the oldest has waited (`unpublished`); commits that came past their fence
    (`bypassed`). `cutovers`: tries to put a fence up, by how they ended."""

    names: Mapping[str, str] = field(default_factory=dict)
    outbox: Mapping[str, int] = field(default_factory=dict)
    unpublished: Mapping[str, float] = field(default_factory=dict)
    bypassed: Mapping[str, int] = field(default_factory=dict)
    cutovers: Mapping[str, int] = field(default_factory=dict)


NOTHING = Standing()
"""Where no catalog was asked."""


def read_standing(database: str) -> Standing:
    """Ask the catalog: three questions, whatever the number of its tables."""
    with closing(LightCatalog(parse_database(database))) as catalog:
        rows = all_tables(catalog)
        [(now,)] = catalog.reader.rows(f"SELECT {catalog.reader.dialect.clock_ms}")
        waiting = {
            row.table_id: status
            for row, status in zip(rows, mirror_status(catalog, rows), strict=True)
            if status.waiting is not None
        }
        moves = catalog.reader.rows("SELECT table_id, details FROM dl_migrations")
    cutovers: Counter[str] = Counter()
    bypassed = {}
    for table_id, text in moves:
        details = json.loads(text or "{}")
        cutovers.update(details.get("cutovers", {}))
        if table_id is not None and "cutovers" in details:
            bypassed[table_id] = int(details.get("foreign_commits", 0))
    return Standing(
        {row.table_id: row.full_name for row in rows},
        {table_id: int(status.waiting or 0) for table_id, status in waiting.items()},
        {table_id: status.lag_seconds(int(now)) for table_id, status in waiting.items()},
        bypassed,
        cutovers,
    )
