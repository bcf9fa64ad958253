"""The end of a table's life in a catalog, and its moves: drop, rename, relocate.

They change what the catalog says; data and log go with `purge` alone. Before a table is dropped or
its log moves, what the log may lack has to be in it: `_require_published` is the one place that
sees to it. A name is the catalog's alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.commit_tables import outbox
from deltalakedb.catalog.dialects.writers import writer_of
from deltalakedb.catalog.grants import check_owner
from deltalakedb.catalog.loads.ledger import remove_unless_read
from deltalakedb.catalog.loads.swap import location_lease
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.records import HEAD_COLUMNS, TABLE_COLUMNS, TableRow
from deltalakedb.catalog.table_name import parse_table_name
from deltalakedb.catalog.tables import heads, tables
from deltalakedb.commit.naming import forgetting
from deltalakedb.config import SqlConfig
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.location import location_hash
from deltalakedb.log.place import log_store, table_of_log
from deltalakedb.log.reader import read_listing
from deltalakedb.mirror import fingerprints, publish, tend
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.table.purge import Purge
from deltalakedb.uri import normalise_location


@dataclass(frozen=True)
class DroppedTable:
    """What was dropped. `rows_removed`: False while somebody still reads (`dl gc` removes them).

    `files_removed`: how many files of data and log went too; None without `purge`.
    """

    table_id: str
    name: str
    location: str
    log_location: str
    rows_removed: bool
    files_removed: int | None = None


@dataclass(frozen=True)
class MovedTable:
    """A table under its new name, or at its new place."""

    table_id: str
    name: str
    location: str
    log_location: str


def drop_table(
    table: str,
    *,
    database: str | SqlConfig,
    purge: bool = False,
    writers_stopped: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> DroppedTable:
    """Take a table out of the catalog. Its data and its log stay, its name is free again.

    `table`: uuid, name or `namespace.name`. Records of its imports and diffs are kept. With
    `purge` every file below its location and its log is removed for good, the log last; a table
    whose log decides has to have no writers of its own then (`writers_stopped`).

    Raises TABLE_NOT_FOUND, CONCURRENCY_ERROR (an import of it runs, or writers are at work on what
    is to be purged), MIRROR_CONFLICT (its log lacks commits), AUTHENTICATION_ERROR (who isn't an
    owner of the catalog), INVALID_ARGUMENT (others' files are among those to be purged).
    """
    with Catalog(database) as catalog, ExitStack() as held:
        row = queries.find_table(catalog, table)
        check_owner(catalog.dialect, catalog.engine)
        purged, lease = None, None
        if purge:
            purged = Purge.of(catalog, row, storage_options, writers_stopped=writers_stopped)
        publish_all(catalog, row, storage_options)
        held.enter_context(leased(catalog, row.location))
        if purged is not None:
            lease = held.enter_context(purged.alone(catalog))
        with catalog.write() as connection:
            row = _locked(catalog, connection, row)
            _require_published(connection, row)
            if lease is not None:
                lease.check(connection)
            driver = connection.connection.dbapi_connection
            writer_of(catalog.url, driver).run(forgetting(row.table_key))
        # Past this point it is dropped; what can't be removed now is garbage of `dl gc`.
        removed = remove_unless_read(catalog, row.live_load)
        files = None if purged is None else purged.remove()
    return DroppedTable(row.table_id, row.full_name, row.location, row.log_location, removed, files)


def rename_table(table: str, new_name: str, *, database: str | SqlConfig) -> MovedTable:
    """Give a table another `[namespace.]name`; its old one is free again.

    Tables that are open go on. Raises INVALID_ARGUMENT for a name that no table can have,
    TABLE_EXISTS for one that is taken, TABLE_NOT_FOUND.
    """
    namespace, name = parse_table_name(new_name)
    advice = "choose another name"
    with Catalog(database) as catalog:
        row = queries.find_table(catalog, table)
        queries.check_name_is_free(catalog, new_name, advice, {row.table_id})
        taken = f"the name {new_name} was taken by another table meanwhile; {advice}"
        return _update(catalog, row, taken, namespace=namespace, name=name)


def relocate_table(
    table: str,
    *,
    database: str | SqlConfig,
    log_dir: str | None = None,
    table_location: str | None = None,
    storage_options: Mapping[str, object] | None = None,
) -> MovedTable:
    """Follow a table whose log or data has moved.

    `log_dir`: the table or its `_delta_log` at the new place; `table_location`: where the data is
    now. Either is enough where the log stands in the table's folder. The log has to be the one
    that was imported: each commit that both know must be the same, none may be lost, and it
    reaches the catalog's version (it may have moved on). The data isn't looked at.

    Raises LOG_DISAGREES for another log, TABLE_EXISTS when another table is at the new place,
    INVALID_ARGUMENT, TABLE_NOT_FOUND, NOT_A_DELTA_TABLE, CONCURRENCY_ERROR, MIRROR_CONFLICT.
    """
    with Catalog(database) as catalog:
        row = queries.find_table(catalog, table)
        publish_all(catalog, row, storage_options)
        store, location = _places(row, log_dir, table_location, storage_options)
        at_location = queries.table_at(catalog, location)
        if at_location is not None and at_location.table_id != row.table_id:
            raise DeltaLakeError(
                DeltaLakeErrorKind.TABLE_EXISTS,
                f"{location} is the place of table {at_location.full_name}; drop that one first, "
                "or correct the place",
                table=at_location.full_name,
            )
        taken = f"{location} was taken by another table meanwhile; correct the place"
        with leased(catalog, row.location, location):
            _check_same_log(catalog, queries.find_table(catalog, row.table_id), store)
            return _update(
                catalog,
                row,
                taken,
                published=True,
                location=location,
                location_hash=location_hash(location),
                log_location=store.url,
            )


@contextmanager
def leased(catalog: Catalog, *locations: str) -> Iterator[None]:
    """No import of these locations runs meanwhile. Raises CONCURRENCY_ERROR while one does."""
    with ExitStack() as leases:
        for location in dict.fromkeys(locations):
            leases.callback(location_lease(catalog, location).release)
        yield


def _update(
    catalog: Catalog, row: TableRow, taken: str, *, published: bool = False, **values: object
) -> MovedTable:
    """Change a table's own row. Raises TABLE_EXISTS, saying `taken`, for another table's values.

    `published`: only when the log has all that the catalog has, else MIRROR_CONFLICT.
    """
    update = tables.update().where(tables.c.table_key == row.table_key).values(**values)
    with catalog.write() as connection:
        locked = _locked(catalog, connection, row)
        if published:
            _require_published(connection, locked)
        try:
            connection.execute(update)
        except sa.exc.IntegrityError:
            raise DeltaLakeError(DeltaLakeErrorKind.TABLE_EXISTS, taken) from None
        after = _read(catalog, connection, row)
    return MovedTable(after.table_id, after.full_name, after.location, after.log_location)


def _locked(catalog: Catalog, connection: sa.Connection, row: TableRow) -> TableRow:
    """The table's row while its head is locked, which whoever changes the table takes first.

    Raises TABLE_NOT_FOUND when it is gone, CONCURRENCY_ERROR when it isn't where it was.
    """
    head = sa.select(heads.c.table_key).where(heads.c.table_key == row.table_key)
    connection.execute(catalog.dialect.for_update(head))
    locked = _read(catalog, connection, row)
    if (locked.location, locked.log_location) != (row.location, row.log_location):
        raise DeltaLakeError(
            DeltaLakeErrorKind.CONCURRENCY_ERROR,
            f"table {row.full_name} was moved by another meanwhile; run this again",
            table=row.table_id,
        )
    return locked


def _read(catalog: Catalog, connection: sa.Connection, row: TableRow) -> TableRow:
    columns = [heads.c[n] if n in HEAD_COLUMNS else tables.c[n] for n in TABLE_COLUMNS]
    joined = tables.join(heads, heads.c.table_key == tables.c.table_key)
    query = sa.select(*columns).select_from(joined).where(tables.c.table_id == row.table_id)
    values = connection.execute(query).first()
    if values is None:
        raise queries.no_table(catalog, row.full_name)
    return TableRow(*values)


def publish_all(
    catalog: Catalog, row: TableRow, storage_options: Mapping[str, object] | None = None
) -> None:
    """Put what the catalog has acknowledged into the log first; no store is asked for nothing."""
    waits = catalog.reader.rows(
        "SELECT count(*) FROM dl_outbox WHERE table_key = ?", (row.table_key,)
    )
    if waits != [(0,)]:
        tend.tend_now(catalog.reader.url, row, publish.log_of(row, storage_options))
    tend.forget(catalog.reader.url, row)


def _require_published(connection: sa.Connection, row: TableRow) -> None:
    """Raise MIRROR_CONFLICT when the log lacks commits that the catalog has acknowledged."""
    waiting = sa.select(sa.func.count(), sa.func.min(outbox.c.version)).where(
        outbox.c.table_key == row.table_key
    )
    count, first = connection.execute(waiting).one()
    if count:
        raise DeltaLakeError(
            DeltaLakeErrorKind.MIRROR_CONFLICT,
            f"{count} commit{'s' if count > 1 else ''} of table {row.full_name} from version "
            f"{first} on aren't in its log yet; publish them first: `dl mirror drain "
            f"{row.full_name}`",
            table=row.full_name,
            version=first,
        )


def _places(
    row: TableRow,
    log_dir: str | None,
    table_location: str | None,
    storage_options: Mapping[str, object] | None,
) -> tuple[StoreSpec, str]:
    """Log and location, where only what has moved is given."""
    if log_dir is None and table_location is None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            "nothing has moved; say where the log is now (log_dir), the data (table_location), "
            "or both",
        )
    # A log in a folder of its own doesn't move with the data.
    together = row.log_location.rstrip("/") == f"{row.location.rstrip('/')}/_delta_log"
    if log_dir is not None:
        store = log_store(log_dir, storage_options)
    elif together:
        store = log_store(str(table_location), storage_options)
    else:
        store = log_store(row.log_location, storage_options)
    if table_location is not None:
        return store, normalise_location(table_location)
    return store, table_of_log(store) if together else row.location


def _check_same_log(catalog: Catalog, row: TableRow, spec: StoreSpec) -> None:
    store = open_store(spec)
    listing = read_listing(store)
    known = fingerprints.known_commits(catalog, row)
    lost = fingerprints.missing(known, listing, row.head_version, published=True)
    if lost:
        raise _another_log(row, spec, f"commit {lost[0]} isn't there", lost[0])
    commits = listing.commits
    if not any(commit.version in known for commit in commits):
        raise _another_log(
            row, spec, "it shares no commit with the catalog that would tell", row.head_version
        )
    thorough = fingerprints.few(commits)
    first = next(fingerprints.rewritten(known, commits, store, thorough=thorough), None)
    if first is not None:
        raise _another_log(row, spec, f"commit {first} is another one", first)


def _another_log(row: TableRow, spec: StoreSpec, why: str, version: int) -> DeltaLakeError:
    return DeltaLakeError(
        DeltaLakeErrorKind.LOG_DISAGREES,
        f"{spec.url} is not the log that {row.full_name} was imported from: {why}; correct the "
        f"place, or `dl drop` the table and import that log under --table-id {row.table_id}",
        table=row.full_name,
        version=version,
    )
