"""The tables of a catalog as they were when a transaction began."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from deltalakedb.catalog.reading import opening, queries
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.reading.live import ask_live
from deltalakedb.catalog.reading.versions import state_to_read
from deltalakedb.catalog.records import TableRow, TableState
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

_used: dict[DatabaseUrl, tuple[str, ...]] = {}
"""The tables of this process's last transaction on a database, by their ids."""
_MOST_AHEAD = 32


class Beginning:
    """Takes the heads of all tables at once; what is read later is as it was then."""

    def __init__(self, catalog: LightCatalog) -> None:
        self._catalog = catalog
        self._heads = opening.heads(catalog)
        self._ahead = self._opened_ahead()

    def note_used(self, table_ids: Iterable[str]) -> None:
        """The tables of a transaction, which the next one may use too."""
        _used[self._catalog.reader.url] = tuple(table_ids)[:_MOST_AHEAD]

    def _opened_ahead(self) -> list[tuple[TableRow, TableState]]:
        """By one question, the tables of this process's last transaction: who goes on to use them
        needs none for each."""
        usual = [each for each in _used.get(self._catalog.reader.url, ()) if each in self._heads]
        if len(usual) < 2:
            return []
        found = opening.open_heads(self._catalog, [(None, table_id) for table_id in usual])
        return [each for each in found if each is not None]

    def open(self, namespace: str | None, name: str) -> tuple[TableRow, TableState]:
        """A table and what holds at its head by now. Raises TABLE_NOT_FOUND."""
        for row, state in self._ahead:
            full = row.full_name if namespace is None else row.name
            if row.table_id == name or (namespace in (None, row.namespace) and full == name):
                return row, state
        found = opening.open_head(self._catalog, namespace, name)
        if found is None and namespace is None and "." in name:
            row = queries.find_table(self._catalog, name)
            found = opening.open_head(self._catalog, None, row.table_id)
        if found is None:
            raise queries.no_table(self._catalog, name)
        return found

    def at_beginning(self, row: TableRow, state: TableState) -> tuple[TableRow, TableState]:
        """An opened table at the version that it had. Raises CONCURRENCY_ERROR, TABLE_NOT_FOUND,
        INVALID_ARGUMENT where its log decides."""
        if row.authority != "sql":
            raise _invalid(
                f"{row.full_name} has authority {row.authority}, where its log decides; a "
                "transaction over several tables needs `sql` for each of them"
            )
        if row.table_id not in self._heads:
            raise DeltaLakeError(
                DeltaLakeErrorKind.TABLE_NOT_FOUND,
                f"{row.full_name} was made after this transaction began; begin another",
                table=row.full_name,
            )
        version, epoch = self._heads[row.table_id]
        if row.epoch != epoch or row.head_version < version:
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONCURRENCY_ERROR,
                f"{row.full_name} was moved, restored or handed over since this transaction "
                "began; begin another",
                rule="epoch",
            )
        if row.head_version != version:
            row, (state, files, size) = ask_live(
                row, lambda live: self._state_at(live, version), lambda: self._again(row)
            )
            row = replace(row, head_version=version, num_files=files, total_bytes=size)
        return row, state

    def _state_at(self, row: TableRow, version: int) -> tuple[TableState, int, int]:
        state = state_to_read(self._catalog, row, version, small=True)
        return state, *queries.totals_at(self._catalog, row, version)

    def _again(self, row: TableRow) -> TableRow:
        return queries.find_table(self._catalog, row.table_id)


def _invalid(what: str) -> DeltaLakeError:
    return DeltaLakeError(DeltaLakeErrorKind.INVALID_ARGUMENT, what)
