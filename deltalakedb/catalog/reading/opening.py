"""Opening tables: their rows and what holds at their heads, several of them at one moment."""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
from deltalakedb.error import DeltaLakeError
from deltalakedb.log.lives import LIVE

_FEW = 10
"""Parameters of a question that is asked again and again, as by a transaction over some tables."""


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
    opened = []
    for each in open_each(catalog, names):
        if isinstance(each, DeltaLakeError):
            raise each
        opened.append(each)
    return opened


def open_each(
    catalog: Readable, names: Sequence[tuple[str | None, str]]
) -> list[tuple[TableRow, TableState] | DeltaLakeError | None]:
    """As `open_heads`; what is wrong with one name is in its place."""
    wanted = dict.fromkeys(each for each in names if may_be_stored(f"{each[0]}.{each[1]}"))
    found = _Opened(_open(catalog, wanted) if wanted else [])
    return [found.named(catalog, *each) if each in wanted else None for each in names]


def _open(
    catalog: Readable, names: Collection[tuple[str | None, str]]
) -> list[tuple[TableRow, TableState]]:
    metadata = ", ".join(f"m.{c}" for c in METADATA)
    protocol = ", ".join(f"p.{c}" for c in PROTOCOL)
    alike: dict[tuple[str, str | None], list[str]] = {}
    for namespace, name in names:
        column = "table_id" if is_uuid(name) else "name"
        alike.setdefault((column, namespace), []).append(name)
    conditions, params = [], []
    for (column, namespace), some in alike.items():
        condition = f"t.{column} IN ({', '.join('?' * len(some))})"
        params += some
        if namespace is not None:
            condition += " AND t.namespace = ?"
            params.append(namespace)
        conditions.append(condition)
    statement = (
        f"SELECT s.version_num, {ROW}, {metadata}, {protocol} FROM dl_schema_version s "
        f"CROSS JOIN {TABLES} "
        f"LEFT JOIN dl_metadata m ON m.load_id = h.live_load AND m.removed_version = {LIVE} "
        f"LEFT JOIN dl_protocols p ON p.load_id = h.live_load AND p.removed_version = {LIVE} "
        f"WHERE {' OR '.join(conditions)} ORDER BY t.namespace"
    )
    found = catalog.reader.rows(Usual(statement) if len(params) <= _FEW else statement, params)
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


class _Opened:
    """Tables that were found, by what they are asked for by."""

    def __init__(self, found: Sequence[tuple[TableRow, TableState]]) -> None:
        self._by_id: dict[str, list[tuple[TableRow, TableState]]] = {}
        self._by_name: dict[str, list[tuple[TableRow, TableState]]] = {}
        for each in found:
            self._by_id.setdefault(each[0].table_id, []).append(each)
            self._by_name.setdefault(each[0].name, []).append(each)

    def named(
        self, catalog: Readable, namespace: str | None, name: str
    ) -> tuple[TableRow, TableState] | DeltaLakeError | None:
        """The table of a name; INVALID_ARGUMENT where several namespaces have it."""
        found = (self._by_id if is_uuid(name) else self._by_name).get(name, [])
        if namespace is not None:
            found = [each for each in found if each[0].namespace == namespace]
        if len(found) > 1 and found[0][0].namespace != "":
            try:
                lookup_table(catalog, name)  # raises, naming them
            except DeltaLakeError as error:
                return error
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
