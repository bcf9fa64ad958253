"""What a worker does for a fleet: claim some tables, read their logs, put them down together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import xxhash

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing.request import ImportRequest, identified, import_request
from deltalakedb.importing.run import import_table
from deltalakedb.importing.together import SmallTable, put_together, read_small
from deltalakedb.log.reader import read_listing
from deltalakedb.log.segment import LogListing
from deltalakedb.migrate import claims
from deltalakedb.migrate.advice import what_to_do
from deltalakedb.migrate.mapping import Entry
from deltalakedb.migrate.move import move_table
from deltalakedb.migrate.options import MoveOptions, Until
from deltalakedb.redact import redact
from deltalakedb.secret import Secret
from deltalakedb.storage.open import open_store
from deltalakedb.uri import parse_database


@dataclass(frozen=True)
class Outcome:
    """What became of a table.

    `status`: `imported`, `caught_up`, `unchanged`, `skipped`, `failed`, `elsewhere` (another run
    has it), `large` (left to the caller, who has the whole cluster), `left` (not begun), or the
    state that its strategy has brought it to: `ready`, `probation`, `sql`.
    `retryable`: the same may go better next time.
    """

    location: str
    table: str
    status: str
    seconds: float = 0.0
    version: int | None = None
    files: int | None = None
    error: str | None = None
    error_kind: str | None = None
    what_to_do: str | None = None
    retryable: bool = False
    owner: str = ""
    warnings: tuple[str, ...] = ()
    table_id: str | None = None
    adds: int = 0
    removes: int = 0

    def to_json(self) -> dict[str, Any]:
        """The machine-readable form, without what there is nothing to say of."""
        told = {k: v for k, v in asdict(self).items() if v not in (None, "", ())}
        return {k: v for k, v in told.items() if v or k not in ("adds", "removes")}


@dataclass(frozen=True)
class BatchSpec:
    """Tables that one task imports, for the run that claims them, or brings on until a state."""

    database: Secret
    run: str
    entries: tuple[Entry, ...]
    mode: str | None
    storage_options: Mapping[str, Any]
    until: Until = "ready"


def failure(entry: Entry, error: DeltaLakeError, seconds: float) -> Outcome:
    """The outcome of a table whose work raised `error`."""
    return Outcome(
        entry.location,
        entry.full_name,
        "failed",
        seconds,
        error=error.message,
        error_kind=error.kind.value,
        what_to_do=what_to_do(error.kind.value),
        retryable=error.retryable,
        owner=entry.owner,
    )


def listing_digest(listing: LogListing) -> str:
    """What a log lists, as 32 hexadecimal digits: names, sizes and times of what is read of it."""
    hasher = xxhash.xxh3_128()
    for commit in listing.commits:
        hasher.update(f"{commit.name}:{commit.size}:{commit.modified_ms}\n".encode())
    for checkpoint in listing.checkpoints:
        hasher.update(f"{checkpoint.fingerprint}\n".encode())
    return hasher.hexdigest()


def request_of(entry: Entry, mode: str | None, options: Mapping[str, Any]) -> ImportRequest:
    """The request that imports an entry's table. Raises NOT_FOUND, NOT_A_DELTA_TABLE, …"""
    return import_request(
        entry.location,
        table_location=entry.location,
        mode=mode,
        table_id=None,
        table_name=None,
        rebuild=False,
        storage_options=options,
        spill_root=None,
    )


def import_batch(spec: BatchSpec) -> list[Outcome]:
    """Claim and import the tables of a batch: the small ones in one transaction.

    One that fails stops none. Repeatable: what is done is found done.
    """
    url = parse_database(spec.database)
    with Catalog(url) as catalog:
        mine = claims.claim(catalog, spec.run, [e.location for e in spec.entries])
        outcomes = [
            Outcome(e.location, e.full_name, "elsewhere", owner=e.owner)
            for e in spec.entries
            if e.location not in mine
        ]
        read: list[tuple[Entry, SmallTable]] = []
        for entry in spec.entries:
            if entry.location not in mine:
                continue
            began = time.perf_counter()
            try:
                request = _identified(entry, spec)
                listing = read_listing(open_store(request.store))
                small = read_small(request, listing)
            except DeltaLakeError as error:
                claims.failed(catalog, entry.location, error)
                outcomes.append(failure(entry, error, time.perf_counter() - began))
                continue
            if small is None:
                outcomes.append(Outcome(entry.location, entry.full_name, "large"))
            else:
                read.append((entry, small))
        return outcomes + _put(catalog, url, spec, read)


def _identified(entry: Entry, spec: BatchSpec) -> ImportRequest:
    request = request_of(entry, spec.mode, spec.storage_options)
    return identified(replace(request, name=(entry.namespace, entry.name)), None)


def _put(
    catalog: Catalog, url: DatabaseUrl, spec: BatchSpec, read: Sequence[tuple[Entry, SmallTable]]
) -> list[Outcome]:
    digests = {e.location: listing_digest(small.listing) for e, small in read}

    def within(connection: Any, results: Sequence[Any]) -> None:
        done = {r.location: (r.table_id, digests[r.location]) for r in results}
        claims.imported(connection, catalog, done, spec.run)

    try:
        results = put_together(catalog, url, [small for _, small in read], within)
    except DeltaLakeError:
        # One of them is refused, or has come meanwhile: alone each finds its own fate.
        return [import_alone(catalog, entry, spec) for entry, _ in read]
    return [_done(entry, result) for (entry, _), result in zip(read, results, strict=True)]


def _done(entry: Entry, result: Any) -> Outcome:
    return Outcome(
        entry.location,
        result.table_name,
        result.status,
        result.seconds,
        result.to_version,
        result.live_files,
        owner=entry.owner,
        warnings=tuple(result.warnings),
        table_id=result.table_id,
        adds=result.adds,
        removes=result.removes,
    )


def import_alone(
    catalog: Catalog,
    entry: Entry,
    spec: BatchSpec,
    client: Any = None,
    spill_dir: str | None = None,
) -> Outcome:
    """Import a table by itself, or catch up with it; its parts go to `client`'s workers."""
    began = time.perf_counter()
    try:
        store = request_of(entry, spec.mode, spec.storage_options).store
        digest = listing_digest(read_listing(open_store(store)))
        result = import_table(
            store.url,
            database=str(spec.database.reveal()),
            table_location=entry.location,
            mode=spec.mode,
            table_name=entry.full_name,
            storage_options=dict(spec.storage_options),
            client=client,
            spill_dir=spill_dir,
        )
        claims.seen(catalog, entry.location, digest, result.table_id)
        return _done(entry, result)
    except DeltaLakeError as error:
        if error.kind is DeltaLakeErrorKind.CONCURRENCY_ERROR:
            # Another run imports it at this moment; its own row says how that ends.
            return Outcome(
                entry.location,
                entry.full_name,
                "elsewhere",
                time.perf_counter() - began,
                error=redact(error.message),
                retryable=True,
                owner=entry.owner,
            )
        claims.failed(catalog, entry.location, error)
        return failure(entry, error, time.perf_counter() - began)


def catch_up_batch(spec: BatchSpec) -> list[Outcome]:
    """Catch up with tables that are in the catalog, one after the other."""
    with Catalog(parse_database(spec.database)) as catalog:
        return [import_alone(catalog, entry, spec) for entry in spec.entries]


def move_batch(spec: BatchSpec) -> list[Outcome]:
    """Bring tables that are in the catalog on, each by its strategy, one after the other."""
    return [_moved(entry, spec) for entry in spec.entries]


def _moved(entry: Entry, spec: BatchSpec) -> Outcome:
    began = time.perf_counter()
    try:
        done = move_table(
            entry.location,
            database=str(spec.database.reveal()),
            table_location=entry.location,
            table_name=entry.full_name,
            options=MoveOptions(
                strategy=entry.strategy,
                until=spec.until,
                mode=spec.mode,
                storage_options=dict(spec.storage_options),
            ),
        )
    except DeltaLakeError as error:
        return failure(entry, error, time.perf_counter() - began)
    state = done.migration
    return Outcome(
        entry.location,
        entry.full_name,
        state.state,
        time.perf_counter() - began,
        done.parity_version,
        error=state.reason if not done.success else None,
        owner=entry.owner,
        table_id=state.table_id,
    )
