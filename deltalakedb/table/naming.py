"""Tables that a transaction renames and drops: what it knows of them until it commits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.records import TableRow
from deltalakedb.commit.naming import Dropped, NameChange, Renamed


class NameChanges:
    """The changes in their order; `freed` are the ids of tables that have left their names."""

    def __init__(self, catalog: LightCatalog, storage_options: Mapping[str, Any]) -> None:
        self._catalog = catalog
        self._storage_options = storage_options
        self.all: list[NameChange] = []
        self.freed: set[str] = set()

    @property
    def dropped(self) -> list[TableRow]:
        """The tables that go."""
        return [change.table for change in self.all if isinstance(change, Dropped)]

    @property
    def renamed(self) -> set[str]:
        """The ids of the tables that get other names."""
        return {change.table.table_id for change in self.all if isinstance(change, Renamed)}

    def rename(self, row: TableRow, namespace: str, name: str) -> None:
        """A table of the catalog gets another name."""
        self.all.append(Renamed(row, namespace, name))
        self.freed.add(row.table_id)

    def drop(self, row: TableRow) -> None:
        """A table of the catalog goes."""
        self.all.append(Dropped(row))
        self.freed.add(row.table_id)

    def check_free(self, full_name: str, row: TableRow) -> None:
        """Raises TABLE_EXISTS for the name of another table that keeps it."""
        besides = {*self.freed, row.table_id}
        queries.check_name_is_free(self._catalog, full_name, "choose another name", besides)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """For the commit: the logs of tables that go have all there is, and no import of them runs.

        Raises AUTHENTICATION_ERROR for who isn't an owner of the catalog, MIRROR_CONFLICT,
        CONCURRENCY_ERROR while an import runs.
        """
        rows = self.dropped
        if not rows:
            yield
            return
        from deltalakedb.catalog.catalog import Catalog
        from deltalakedb.catalog.grants import check_owner
        from deltalakedb.table.lifetime import leased, publish_all

        with Catalog(self._catalog.reader.url) as catalog, ExitStack() as held:
            check_owner(catalog.dialect, catalog.engine)
            for row in rows:
                publish_all(catalog, row, self._storage_options)
            held.enter_context(leased(catalog, *sorted(row.location for row in rows)))
            yield

    def finish(self) -> None:
        """After the commit: the rows of tables that went, unless somebody still reads them."""
        rows = self.dropped
        if not rows:
            return
        from deltalakedb.catalog.catalog import Catalog
        from deltalakedb.catalog.loads.ledger import remove_unless_read
        from deltalakedb.mirror import tend

        with Catalog(self._catalog.reader.url) as catalog:
            for row in rows:
                tend.forget(catalog.reader.url, row)
                remove_unless_read(catalog, row.live_load)
