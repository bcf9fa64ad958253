"""`connect_to_table`: from a `deltasql://` URI to a Table."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from deltalakedb import fork
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.reading.queries import no_table
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.secret import Secret
from deltalakedb.table.table import Table
from deltalakedb.uri import TableUri, parse_database, parse_table_uri

if TYPE_CHECKING:
    from deltalakedb.config import CacheConfig, SqlConfig
    from deltalakedb.planning.cache import FileCache
    from deltalakedb.snapshot.snapshot import Snapshot

_MOST_KEPT = 32
"""Databases that stay connected: a process may meet thousands, and has so many descriptors."""


class _Catalogs:
    """Catalogs by database: as long as a table holds one, and the last few beyond that.

    Those before them are disconnected; a table that is still held connects anew when asked.
    """

    def __init__(self) -> None:
        self._held: WeakValueDictionary[str, LightCatalog] = WeakValueDictionary()
        self._kept: OrderedDict[str, LightCatalog] = OrderedDict()

    def get(self, key: str) -> LightCatalog | None:
        found = self._held.get(key)
        if found is not None:
            self.keep(key, found)
        return found

    def keep(self, key: str, catalog: LightCatalog) -> None:
        self._held[key] = self._kept[key] = catalog
        self._kept.move_to_end(key)
        while len(self._kept) > _MOST_KEPT:
            _, oldest = self._kept.popitem(last=False)
            oldest.reader.close_unless_busy()

    def clear(self) -> None:
        self._held.clear()
        self._kept.clear()


_catalogs = _Catalogs()
_own = threading.local()
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
    `cache`: of file lists on local disk: True for what the configuration of `sql_config` says of
    it, or the defaults, a CacheConfig, or False or None (what ConfigFactory.create_cache_config
    makes of `enable_caching: false`) for none. A configuration's logs begin.
    Tables of one database share its connection. Raises NOT_FOUND (no catalog),
    TABLE_NOT_FOUND, AUTHENTICATION_ERROR, CATALOG_VERSION.
    """
    parsed = parse_table_uri(uri)
    if sql_config is not None:
        parsed = TableUri(sql_config.secret, parsed.namespace, parsed.table)
        if sql_config.settings is not None:
            sql_config.settings.begin()
            cache = sql_config.settings.performance.cache if cache is True else cache
    catalog = _catalog_of(parsed.database_secret)

    def opened() -> Table:
        return Table(parsed, catalog, cache=_configured(cache), storage_options=storage_options)

    return catalog.reader.ask_beside(opened, "deltalakedb.snapshot.snapshot")


def snapshots(
    tables: Sequence[str | Table],
    sql_config: SqlConfig | None = None,
    *,
    cache: CacheConfig | bool | None = True,
    storage_options: Mapping[str, Any] | None = None,
) -> list[Snapshot]:
    """The newest versions of several tables of one catalog, as they were at one moment.

    One statement finds them all: what a transaction has done to several tables is in all of these
    snapshots or in none. `tables`: URIs, or opened tables. Raises INVALID_ARGUMENT for tables of
    several catalogs, else what `connect_to_table` raises.
    """
    found = [_place(table, sql_config) for table in tables]
    if not found:
        return []
    catalog = found[0][0]
    for other, _, name in found[1:]:
        if other is not catalog and other.catalog_id != catalog.catalog_id:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"{name} is in {other.reader.dialect.described}, others are in "
                f"{catalog.reader.dialect.described}; two catalogs have no common moment",
            )
    names = [(namespace, name) for _, namespace, name in found]
    snapshots = []
    for each in _each_snapshot(catalog, names, cache, storage_options):
        if isinstance(each, DeltaLakeError):
            raise each
        snapshots.append(each)
    return snapshots


def each_snapshot(tables: Sequence[TableUri]) -> list[Snapshot | DeltaLakeError]:
    """As `snapshots`, of tables of one database; what is wrong with one is in its place."""
    catalog = _catalog_of(tables[0].database_secret)
    return _each_snapshot(catalog, [(table.namespace, table.table) for table in tables])


def _each_snapshot(
    catalog: LightCatalog,
    names: Sequence[tuple[str | None, str]],
    cache: CacheConfig | bool | None = True,
    storage_options: Mapping[str, Any] | None = None,
) -> list[Snapshot | DeltaLakeError]:
    from deltalakedb.catalog.reading.opening import open_each
    from deltalakedb.snapshot.snapshot import Snapshot

    files = _file_cache(cache)
    found: list[Snapshot | DeltaLakeError] = []
    for head, (_, name) in zip(open_each(catalog, names), names, strict=True):
        if head is None:
            found.append(no_table(catalog, name))
        elif isinstance(head, DeltaLakeError):
            found.append(head)
        else:
            found.append(Snapshot(catalog, *head, cache=files, storage_options=storage_options))
    return found


def _file_cache(cache: CacheConfig | bool | None) -> FileCache | None:
    config = _configured(cache)
    if config is None:
        return None
    from deltalakedb.planning.cache import FileCache

    return FileCache(config)


def _configured(cache: CacheConfig | bool | None) -> CacheConfig | None:
    if cache is not True:
        return cache or None
    from deltalakedb.config.reading import CacheConfig

    return CacheConfig()


def _place(
    table: str | Table, sql_config: SqlConfig | None
) -> tuple[LightCatalog, str | None, str]:
    if isinstance(table, Table):
        return table.catalog, None, table.table_id
    parsed = parse_table_uri(table)
    secret = parsed.database_secret if sql_config is None else sql_config.secret
    return _catalog_of(secret), parsed.namespace, parsed.table


def _catalog_of(secret: Secret) -> LightCatalog:
    """`open_catalog` of a database's secret, taken apart where it isn't open yet alone."""
    with _lock:
        catalog = _of_thread().get(secret.reference)
    if catalog is not None and catalog.reader.is_current():
        return catalog
    return open_catalog(parse_database(secret))


def _of_thread() -> _Catalogs:
    found: _Catalogs = getattr(_own, "catalogs", _catalogs)
    return found


def own_connections() -> None:
    """Let this thread have connections of its own, where all others share one a database."""
    _own.catalogs = _Catalogs()


def open_catalog(database: DatabaseUrl) -> LightCatalog:
    """The light side of a database's catalog, shared by this process's tables."""
    key = database.secret.reference
    with _lock:
        catalogs = _of_thread()
        catalog = catalogs.get(key)
        if catalog is None or not catalog.reader.is_current():
            catalog = LightCatalog(database)
            catalogs.keep(key, catalog)
    return catalog
