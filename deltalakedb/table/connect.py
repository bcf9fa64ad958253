"""`connect_to_table`: from a `deltasql://` URI to a Table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deltalakedb import fork
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.config import CacheConfig, SqlConfig
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.table.table import Table
from deltalakedb.uri import TableUri, parse_table_uri

_catalogs: dict[str, LightCatalog] = {}
_lock = fork.Lock()


def connect_to_table(
    uri: str,
    sql_config: SqlConfig | None = None,
    *,
    cache: CacheConfig | bool | None = True,
    storage_options: Mapping[str, Any] | None = None,
) -> Table:
    """Open a catalogued table, whatever its size, with one small question to the database.

    `uri`: `deltasql://<database URL>.<[namespace.]table>` or `…?table=[namespace.]table`.
    `sql_config`: takes the place of the URI's database (credentials kept out of URIs); one that
    names a variable or a function follows a changed password.
    `cache`: of file lists on local disk: True for the defaults, a CacheConfig, or False or None
    (what ConfigFactory.create_cache_config makes of `enable_caching: false`) for none.
    Tables of one database share its connection. Raises NOT_FOUND (no catalog),
    TABLE_NOT_FOUND, AUTHENTICATION_ERROR, CATALOG_VERSION.
    """
    parsed = parse_table_uri(uri)
    if sql_config is not None:
        parsed = TableUri(sql_config.secret, parsed.namespace, parsed.table)
    return Table(
        parsed,
        open_catalog(parsed.database),
        cache=CacheConfig() if cache is True else cache or None,
        storage_options=storage_options,
    )


def open_catalog(database: DatabaseUrl) -> LightCatalog:
    """The light side of a database's catalog, shared by this process's tables."""
    key = database.secret.reference
    with _lock:
        catalog = _catalogs.get(key)
        if catalog is None or not catalog.reader.is_current():
            catalog = _catalogs[key] = LightCatalog(database)
    return catalog
