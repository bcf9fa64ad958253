"""Whether the commits of a log are still those that the catalog has seen."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import xxhash

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading import commits, queries
from deltalakedb.log.segment import CommitEntry, LogListing
from deltalakedb.storage.store import ObjectStore

_FETCH_COMMITS = 256
_FETCH_BYTES = 32 << 20
READ_ANYWAY_COMMITS = 256
READ_ANYWAY_BYTES = 8 << 20


@dataclass(frozen=True)
class KnownCommit:
    """A commit file as it was when the catalog took it in."""

    size: int | None
    modified_ms: int | None
    digest: str


def known_commits(catalog: Catalog, table: queries.TableRow) -> dict[int, KnownCommit]:
    """The commits of the live load, by version, ascending."""
    found = commits.commit_fingerprints(catalog, table)
    columns = [found.column(n).to_pylist() for n in found.column_names]
    return {
        version: KnownCommit(size, time, digest)
        for version, size, time, digest in zip(*columns, strict=True)
    }


def differing_commits(
    catalog: Catalog, table: queries.TableRow, listing: LogListing, store: ObjectStore
) -> Iterator[int]:
    """Versions, ascending, whose commit file is not the one that was imported.

    Sizes and times come from the listing; only commits whose size or time differs are read.
    """
    return rewritten(known_commits(catalog, table), listing.commits, store)


def rewritten(
    known: dict[int, KnownCommit],
    commits: Iterable[CommitEntry],
    store: ObjectStore,
    *,
    thorough: bool = False,
) -> Iterator[int]:
    """As `differing_commits`, of some commits. `thorough` reads them whatever the listing says."""
    waiting: list[CommitEntry] = []
    size = 0
    for entry in commits:
        expected = known.get(entry.version)
        if expected is None:
            continue
        same_size = entry.size == expected.size
        if same_size and entry.modified_ms == expected.modified_ms and not thorough:
            continue
        waiting.append(entry)
        # What has another size need not be read; it waits, so that versions ascend.
        size += entry.size if same_size else 0
        if len(waiting) >= _FETCH_COMMITS or size >= _FETCH_BYTES:
            yield from _differing(known, waiting, store)
            waiting, size = [], 0
    yield from _differing(known, waiting, store)


def _differing(
    known: dict[int, KnownCommit], entries: list[CommitEntry], store: ObjectStore
) -> Iterator[int]:
    unclear = [e for e in entries if e.size == known[e.version].size]
    texts = store.read_many([e.name for e in unclear])
    same = {
        e.version
        for e, data in zip(unclear, texts, strict=True)
        if xxhash.xxh3_128_hexdigest(data) == known[e.version].digest
    }
    yield from (e.version for e in entries if e.version not in same)


def unread(commits: Iterable[CommitEntry], read: Collection[int]) -> tuple[CommitEntry, ...]:
    """Commits whose content the replay has not seen."""
    return tuple(c for c in commits if c.version not in read)


def few(commits: tuple[CommitEntry, ...]) -> bool:
    """Whether reading commits costs so little that their sizes and times need no trust."""
    return len(commits) <= READ_ANYWAY_COMMITS and sum(c.size for c in commits) <= READ_ANYWAY_BYTES


def missing(
    known: Iterable[int], listing: LogListing, head: int, *, published: bool
) -> tuple[int, ...]:
    """Versions, ascending, that the log had when the catalog took them in, and has lost.

    Log cleanup removes the oldest commits that a checkpoint covers (PROTOCOL.md, "Metadata
    Cleanup"): no loss. A hole above a commit that is still there isn't its work. `head` is the
    catalog's; `published` says that every version up to it has been in the log.
    """
    present = {c.version for c in listing.commits}
    oldest = min(present, default=None)
    covered = max((c.version for c in listing.checkpoints), default=-1)
    lost = set(range(listing.head + 1, head + 1)) if published else set()
    for version in known:
        if version in present or version > listing.head:
            continue
        cleaned = version <= covered and (oldest is None or version < oldest)
        if not cleaned:
            lost.add(version)
    return tuple(sorted(lost))
