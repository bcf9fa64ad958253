"""How commands read the catalog: over a bare connection, and one load's rows together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from deltalakedb.catalog.reading.catalog import LightCatalog
    from deltalakedb.catalog.records import TableRow

T = TypeVar("T")


@contextmanager
def open_catalog(database: str, beside: str | None = None) -> Iterator[LightCatalog]:
    """A catalog to be read. Raises NOT_FOUND, CATALOG_VERSION, AUTHENTICATION_ERROR, …

    `beside`: a module that is wanted next, imported while the database makes the connection.
    """
    from deltalakedb.catalog.reading.catalog import LightCatalog
    from deltalakedb.catalog.schema_version import check_schema_version
    from deltalakedb.uri import parse_database

    catalog = LightCatalog(parse_database(database))
    try:

        def version_rows() -> list[tuple[Any, ...]]:
            return catalog.reader.rows("SELECT version_num FROM dl_schema_version")

        found = catalog.reader.ask_beside(version_rows, beside) if beside else version_rows()
        [(version,)] = found
        check_schema_version(version, str(catalog.reader.url))
        yield catalog
    finally:
        catalog.close()


def read_table(catalog: LightCatalog, table: str, ask: Callable[[TableRow], T]) -> T:
    """What `ask` finds out about a table; asked again if an import has replaced it meanwhile."""
    from deltalakedb.catalog.reading.live import ask_live
    from deltalakedb.catalog.reading.queries import find_table

    def current() -> TableRow:
        return find_table(catalog, table)

    return ask_live(current(), ask, current)[1]
