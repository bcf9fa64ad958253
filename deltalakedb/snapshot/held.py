"""A version of a table that outlives the load in which it was found.

`dl import --rebuild` makes a new load and drops the old one. Whoever holds a version of the table
asks the new load then: a version means the same in every load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import TypeVar

from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.reading.live import ask_live
from deltalakedb.catalog.reading.versions import check_version
from deltalakedb.catalog.records import TableRow, TableState
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.memory import enough_memory

T = TypeVar("T")


class HeldVersion:
    """A version, the table's row as it was when it was opened, and how to ask about it."""

    def __init__(self, catalog: LightCatalog, row: TableRow, state: TableState) -> None:
        self.catalog = catalog
        self.state = state
        self._row = row

    @property
    def row(self) -> TableRow:
        """The table's row; a newer one after the load was replaced."""
        return self._row

    @property
    def version(self) -> int:
        return self.state.version

    def ask(self, question: Callable[[TableRow], T]) -> T:
        """The answer; asked again of the new load when the one it was asked of is gone.

        Raises TABLE_NOT_FOUND when the table is gone, VERSION_NOT_FOUND
        when the new load doesn't reach back to the version, LOG_DISAGREES when the version is
        another one there.
        """
        with self._memory():
            row, answer = ask_live(
                self._row, question, self._current, accept=self._accept, proven=True
            )
        self._row = row
        return answer

    def stream(self, question: Callable[[TableRow], Iterator[T]]) -> Iterator[T]:
        """As `ask`, for an answer in pieces: once the first has come, the load stays readable."""

        def begun(row: TableRow) -> tuple[list[T], Iterator[T]]:
            pieces = question(row)
            return list(islice(pieces, 1)), pieces

        first, rest = self.ask(begun)
        yield from first
        with self._memory():
            yield from rest

    def _memory(self) -> AbstractContextManager[None]:
        return enough_memory(
            f"the catalog was asked about version {self.version} of {self._row.full_name}",
            "ask by a narrower predicate or for fewer columns, or page through the files",
        )

    def _current(self) -> TableRow:
        row = queries.lookup_table(self.catalog, self._row.table_id)
        if row is None:
            raise queries.no_table(self.catalog, self._row.full_name)
        return row

    def _accept(self, newer: TableRow) -> None:
        """Raise unless the version is the same in the load that is live now."""
        row = self._row
        check_version(self.catalog, newer, self.version)
        state = queries.state_at(self.catalog, newer, self.version, small=True)
        same = (state.metadata, state.protocol) == (self.state.metadata, self.state.protocol)
        if same and row.head_version == self.version:
            totals = queries.totals_at(self.catalog, newer, self.version)
            same = totals == (row.num_files, row.total_bytes)
        if not same:
            raise DeltaLakeError(
                DeltaLakeErrorKind.LOG_DISAGREES,
                f"table {row.full_name} was imported anew from a log in which version "
                f"{self.version} is another one; take a new snapshot",
                table=row.full_name,
                version=self.version,
            )
