"""Whether a log is still the one that the catalog knows, by who ratifies its versions."""

from __future__ import annotations

import time

import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.commit_tables import mirror
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.records import TableRow
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing.request import ImportRequest, makes_new_load
from deltalakedb.log.reader import read_listing
from deltalakedb.log.segment import LogListing
from deltalakedb.mirror.fingerprints import differing_commits
from deltalakedb.storage.open import open_store
from deltalakedb.storage.store import ObjectStore

PUBLISHED_WITHIN_SECONDS = 5.0
"""How long commits on their way to the log are waited for before a rebuild is refused."""
_PAUSE = 0.05


def agreed_listing(
    catalog: Catalog, request: ImportRequest, table: TableRow, listing: LogListing
) -> LogListing:
    """The log's listing, no older than `table`, once the log agrees with the catalog.

    Where the log ratifies, it must still hold what was imported from it; a rebuild takes it as
    it is. Where SQL ratifies, a log that lags behind is as it should be. Raises LOG_DISAGREES
    with the first version that differs or is lost, MIRROR_CONFLICT for commits of others in a
    log that SQL ratifies, CONCURRENCY_ERROR for a rebuild while commits aren't in the log.
    """
    store = open_store(request.store)
    if table.authority == "log":
        if listing.head < table.head_version:
            # A commit may have come between our listing and our look into the catalog.
            listing = read_listing(store)
        if not request.rebuild:
            _check_commits(catalog, table, listing, store)
            _check_reach(table, listing)
        return listing
    anew = makes_new_load(request, table)
    listing = _published(table, store) if anew else read_listing(store)
    _check_foreign(catalog, table, listing)
    _check_commits(catalog, table, listing, store)
    _check_published(catalog, table, listing)
    return listing


def ratified_by_sql(table: TableRow, listing: LogListing) -> str:
    """What an import says of a table whose versions go from the catalog to the log."""
    behind = table.head_version - listing.head
    lag = f"; {behind} of its versions are on their way there" if behind > 0 else ""
    return (
        f"the SQL catalog ratifies the versions of {table.full_name} and publishes them to its "
        f"log{lag}: there is nothing to import"
    )


def _check_commits(
    catalog: Catalog, table: TableRow, listing: LogListing, store: ObjectStore
) -> None:
    """Sizes and times come from the listing; only commits that differ there are read."""
    first = next(differing_commits(catalog, table, listing, store), None)
    if first is None:
        return
    imported = table.authority == "log"
    raise DeltaLakeError(
        DeltaLakeErrorKind.LOG_DISAGREES,
        f"commit {first} in the log of {table.full_name} is not the one that was "
        + (
            "imported; find out who rewrote it, then import anew with --rebuild"
            if imported
            else "committed; the SQL catalog ratifies this table: find out who rewrote the file, "
            "and restore it"
        ),
        version=first,
    )


def _check_reach(table: TableRow, listing: LogListing) -> None:
    if listing.head < table.head_version:
        raise DeltaLakeError(
            DeltaLakeErrorKind.LOG_DISAGREES,
            f"the log of {table.full_name} ends at version {listing.head}, the catalog has "
            f"{table.head_version}: commit {listing.head + 1} is gone; restore it, or accept the "
            "older log with --rebuild",
            version=listing.head + 1,
        )


def _published(table: TableRow, store: ObjectStore) -> LogListing:
    """A listing that reaches the head: a new load is read from the log, and loses no commit."""
    deadline = time.monotonic() + PUBLISHED_WITHIN_SECONDS
    while True:
        listing = read_listing(store)
        if listing.head >= table.head_version:
            return listing
        if time.monotonic() > deadline:
            break
        time.sleep(_PAUSE)
    raise DeltaLakeError(
        DeltaLakeErrorKind.CONCURRENCY_ERROR,
        f"versions {listing.head + 1} to {table.head_version} of {table.full_name} are committed "
        "and not yet in its log, which a new load is read from; publish them first with "
        "`dl mirror drain`, then run again",
        table=table.full_name,
        version=listing.head + 1,
    )


def _check_foreign(catalog: Catalog, table: TableRow, listing: LogListing) -> None:
    # Asked after the listing: what the log has then was committed before.
    now = queries.find_table(catalog, table.table_id)
    if now.authority != "log" and listing.head > now.head_version:
        raise DeltaLakeError(
            DeltaLakeErrorKind.MIRROR_CONFLICT,
            f"the log of {table.full_name} has version {listing.head}, and the SQL catalog, which "
            f"ratifies this table, ends at {now.head_version}: others wrote to the log; "
            "`dl mirror resolve` shows the ways out",
            version=now.head_version + 1,
        )


def _check_published(catalog: Catalog, table: TableRow, listing: LogListing) -> None:
    published = sa.select(mirror.c.published_version).where(mirror.c.table_key == table.table_key)
    with catalog.read() as connection:
        known = connection.scalar(published)
    # What was published since the listing is no loss.
    if known is not None and listing.head < min(known, table.head_version):
        store_head = listing.head
        raise DeltaLakeError(
            DeltaLakeErrorKind.LOG_DISAGREES,
            f"the log of {table.full_name} ends at version {store_head}, and versions up to "
            f"{known} were published to it: commit {store_head + 1} is gone; restore it",
            version=store_head + 1,
        )
