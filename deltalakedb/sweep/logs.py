"""A log as one listing shows it: what is new since the last night, and what its small files say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import xxhash

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.records import TableRow
from deltalakedb.error import DeltaLakeError
from deltalakedb.log.paths import commit_name
from deltalakedb.log.segment import CheckpointEntry, LogListing, list_log
from deltalakedb.mirror import fingerprints
from deltalakedb.parity.catalog_side import catalog_state
from deltalakedb.parity.diff import first_difference
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.sweep.digest import FileSums
from deltalakedb.sweep.findings import Finding
from deltalakedb.sweep.proofs import Proof


@dataclass(frozen=True)
class Log:
    """A listing. `objects`: (size, ms since 1970) by name; `digest` is of all of them."""

    store: StoreSpec
    listing: LogListing
    objects: Mapping[str, tuple[int, int]]
    digest: str

    @property
    def bytes(self) -> int:
        """What the log holds."""
        return sum(size for size, _ in self.objects.values())

    def checkpoint(self, head: int) -> CheckpointEntry | None:
        """The newest complete checkpoint of a version <= `head`."""
        return next((c for c in self.listing.checkpoints if c.version <= head), None)

    def checksum(self, since: int, head: int) -> str | None:
        """The name of the newest `<version>.crc` in since..head."""
        names = [
            name
            for name in self.objects
            if name.endswith(".crc") and name[:20].isdigit() and since <= int(name[:20]) <= head
        ]
        return max(names, default=None)

    def mark(self, name: str | None) -> str | None:
        """An object as it is listed, to see that it is another one later."""
        return None if name is None else f"{name}:{self.objects[name]}"


def list_whole(store: StoreSpec) -> Log:
    """One LIST of a log. Raises NOT_FOUND, EMPTY_LOG, STORAGE_ERROR, …"""
    found = open_store(store).list()
    hasher = xxhash.xxh3_128()
    for each in found:
        hasher.update(f"{each.name}\x1f{each.size}\x1f{each.modified_ms}\n".encode())
    listing = list_log([(o.name, o.size, o.modified_ms) for o in found], store.url)
    objects = {o.name: (o.size, o.modified_ms) for o in found}
    return Log(store, listing, objects, hasher.hexdigest())


def published_version(catalog: Catalog, row: TableRow) -> int:
    """Up to which version a table's commits have been in its log."""
    if row.authority == "log":
        return row.head_version
    found = catalog.reader.rows(
        "SELECT published_version FROM dl_mirror WHERE table_key = ?", (row.table_key,)
    )
    return min(int(found[0][0]), row.head_version) if found else -1


def moved(catalog: Catalog, row: TableRow, log: Log, published: int) -> Iterator[Finding]:
    """What is wrong with the commits of a log that lists something new.

    `published`: the version that was in the log before it was listed.
    """
    known = fingerprints.known_commits(catalog, row)
    found = fingerprints.missing(known, log.listing, row.head_version, published=False)
    lost = sorted({*found, *range(log.listing.head + 1, published + 1)})
    if lost:
        yield Finding("commit-lost", f"commit {lost[0]} is gone ({len(lost)} in all)")
    others = tuple(fingerprints.rewritten(known, log.listing.commits, open_store(log.store)))
    if others:
        yield Finding(
            "commit-rewritten", f"commit {others[0]} is another one ({len(others)} in all)"
        )
    yield from _gap(row, log)
    if row.authority != "log" and log.listing.head > row.head_version:
        # What is in the log by now was committed before, where it was committed here.
        now = queries.find_table(catalog, row.table_id)
        if log.listing.head > now.head_version:
            yield Finding(
                "foreign-commit",
                f"the log has version {log.listing.head}, the catalog ends at {now.head_version}",
            )


def _gap(row: TableRow, log: Log) -> Iterator[Finding]:
    """A commit that is missing between the catalog's head and the log's."""
    listing = log.listing
    base = max((c.version for c in listing.checkpoints), default=-1)
    there = {c.version for c in listing.commits}
    first = max(base, row.head_version) + 1
    store = open_store(log.store)
    for version in range(first, listing.head):
        # One that came while the log was listed may be missing in the list alone.
        if version not in there and not store.exists(commit_name(version)):
            yield Finding(
                "commit-lost", f"commit {version} is missing, and the log goes on to {listing.head}"
            )
            return


def checksum_differs(
    catalog: Catalog, row: TableRow, log: Log, name: str, sums: FileSums
) -> Iterator[Finding]:
    """Totals that a writer counted itself, against the catalog's at that version."""
    version = int(name[:20])
    try:
        said: Mapping[str, Any] = orjson.loads(open_store(log.store).read(name))
        told = (said["numFiles"], said["tableSizeBytes"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        yield Finding("checksum-wrong", f"{name} can't be read: {error}")
        return
    except DeltaLakeError:
        # Cleaned up since the listing.
        return
    if version == row.head_version:
        ours = (sums.files.count, sums.total_bytes)
    else:
        found = catalog.reader.rows(
            "SELECT live_files, live_bytes FROM dl_versions WHERE load_id = ? AND version = ?",
            (row.live_load, version),
        )
        if not found or None in found[0]:
            return
        ours = (int(found[0][0]), int(found[0][1]))
    if ours != told:
        yield Finding(
            "checksum-wrong",
            f"{name} counts {told[0]} files of {told[1]} bytes at version {version}, the catalog "
            f"{ours[0]} of {ours[1]}",
        )
    elif (what := _other_state(catalog, row, version, said)) is not None:
        yield Finding("checksum-wrong", f"{name} has another {what} than the catalog")


def _other_state(
    catalog: Catalog, row: TableRow, version: int, said: Mapping[str, Any]
) -> str | None:
    """Whether a .crc has another schema, id or protocol than the catalog at its version."""
    state = catalog_state(catalog, row, version)
    if state is None:
        return None
    metadata, protocol = said.get("metadata"), said.get("protocol")
    if isinstance(metadata, dict):
        if metadata.get("id") != state.metadata["id"]:
            return "table id"
        if first_difference(metadata.get("schemaString"), state.metadata["schema_string"]):
            return "schema"
    if isinstance(protocol, dict):
        versions = {"minReaderVersion": "min_reader_version"}
        versions["minWriterVersion"] = "min_writer_version"
        if any(protocol.get(theirs) != state.protocol[ours] for theirs, ours in versions.items()):
            return "protocol"
    return None


def is_new(proof: Proof | None, mark: str | None, kept: str) -> bool:
    """Whether an object isn't the one that was looked at when the proof was made."""
    return mark is not None and (proof is None or getattr(proof, kept) != mark)
