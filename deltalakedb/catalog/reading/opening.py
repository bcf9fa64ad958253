"""Opening tables: their rows and what holds at their heads, several of them at one moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deltalakedb.catalog.dialects.reader import Usual
from deltalakedb.catalog.reading.queries import (
    METADATA,
    PROTOCOL,
    ROW,
    TABLES,
    Readable,
    lookup_table,
    metadata_state,
    protocol_state,
)
from deltalakedb.catalog.records import TABLE_COLUMNS, TableRow, TableState
from deltalakedb.catalog.schema_version import check_schema_version
from deltalakedb.catalog.table_name import is_uuid, may_be_stored
from deltalakedb.log.lives import LIVE


def open_head(
    catalog: Readable, namespace: str | None, name: str
) -> tuple[TableRow, TableState] | None:
    """A table and what holds at its head (without txns and domains), in one question.

    `namespace` None: the name decides, as in `lookup_table`. None when there is no such table.
    """
    return open_heads(catalog, [(namespace, name)])[0]


def open_heads(
    catalog: Readable, names: Sequence[tuple[str | None, str]]
) -> list[tuple[TableRow, TableState] | None]:
    """As `open_head`, of several tables at one moment: one statement sees one state of them."""
    wanted = [each for each in names if may_be_stored(f"{each[0]}.{each[1]}")]
    found = _open(catalog, wanted) if wanted else []
    return [_named(catalog, found, *each) if each in wanted else None for each in names]


def _open(
    catalog: Readable, names: Sequence[tuple[str | None, str]]
) -> list[tuple[TableRow, TableState]]:
    metadata = ", ".join(f"m.{c}" for c in METADATA)
    protocol = ", ".join(f"p.{c}" for c in PROTOCOL)
    conditions, params = [], []
    for namespace, name in names:
        condition = "t.table_id = ?" if is_uuid(name) else "t.name = ?"
        params.append(name)
        if namespace is not None:
            condition += " AND t.namespace = ?"
            params.append(namespace)
        conditions.append(condition)
    found = catalog.reader.rows(
        Usual(
            f"SELECT s.version_num, {ROW}, {metadata}, {protocol} FROM dl_schema_version s "
            f"CROSS JOIN {TABLES} "
            f"LEFT JOIN dl_metadata m ON m.load_id = h.live_load AND m.removed_version = {LIVE} "
            f"LEFT JOIN dl_protocols p ON p.load_id = h.live_load AND p.removed_version = {LIVE} "
            f"WHERE {' OR '.join(conditions)} ORDER BY t.namespace"
        ),
        params,
    )
    if found:
        check_schema_version(found[0][0], str(catalog.reader.url))
    return [_opened(row[1:]) for row in found]


def _opened(row: tuple[Any, ...]) -> tuple[TableRow, TableState]:
    table = TableRow(*row[: len(TABLE_COLUMNS)])
    rest = row[len(TABLE_COLUMNS) :]
    state = TableState(
        table.head_version,
        metadata_state(rest[: len(METADATA)]),
        protocol_state(rest[len(METADATA) :]),
        {},
        {},
    )
    return table, state


def _named(
    catalog: Readable,
    opened: Sequence[tuple[TableRow, TableState]],
    namespace: str | None,
    name: str,
) -> tuple[TableRow, TableState] | None:
    found = [
        (row, state)
        for row, state in opened
        if name == (row.table_id if is_uuid(name) else row.name)
        and namespace in (None, row.namespace)
    ]
    if len(found) > 1 and found[0][0].namespace != "":
        lookup_table(catalog, name)  # raises, naming them
    return found[0] if found else None


def heads(catalog: Readable) -> dict[str, tuple[int, int]]:
    """(head version, epoch) of every table by its id, at one moment."""
    found = catalog.reader.rows(
        Usual(
            "SELECT t.table_id, h.head_version, h.epoch "
            "FROM dl_tables t JOIN dl_heads h ON h.table_key = t.table_key"
        )
    )
    return {str(table): (int(version), int(epoch)) for table, version, epoch in found}
