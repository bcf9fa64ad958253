"""Committed versions into `_delta_log`: in order, put if absent, the same bytes each time.

Whoever committed a version publishes it; whoever finds one missing before its own publishes that
too, from the outbox. Any number may do so at once: a slot is filled once, and who comes second
finds its own bytes there. PROTOCOL.md, "Delta Log Entries".
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict, deque
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson
import xxhash

from deltalakedb import fork, tracing
from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.catalog.records import TableRow
from deltalakedb.commit import outbox
from deltalakedb.commit.bodies import INLINE_BYTES
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.storage.open import open_store
from deltalakedb.storage.pieces import Held, StoredFile, compare
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import Content, ObjectStore

PUBLISH_SECONDS = 30.0
"""How long a write waits for its version to be in the log."""
RETURNED = "deltalakedb.returned"
"""In the commitInfo of a commit that gives a table back to its log without the catalog: the epoch
of the fence that it takes down."""
STAGED = "_staged_commits/"
"""Where bodies of long commits wait for the log."""
_PATIENCE_SECONDS = 0.03
"""How long the one before may take before we look into the outbox for it."""
_OTHERS_SECONDS = 0.5
"""How long who has committed a version may take to put it before others do."""
_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_NEAR = 0.0003, 0.01, 0.003
_BATCH = 200

_stores: OrderedDict[tuple[int, str, Any], ObjectStore] = OrderedDict()
_MOST_STORES = 256
_puts: OrderedDict[tuple[int, str], deque[float]] = OrderedDict()
"""The seconds of this process's last puts, by process and log; of as many logs as stores."""
_lock = fork.Lock()


def commit_name(version: int) -> str:
    """The name of a commit's file in `_delta_log`."""
    return f"{version:020d}.json"


def log_of(table: TableRow, storage_options: Mapping[str, Any] | None) -> ObjectStore:
    """The store of a table's `_delta_log`, one a process and place."""
    spec = StoreSpec(table.log_location, dict(storage_options or {}))
    key = (os.getpid(), spec.url, tuple(sorted((k, str(v)) for k, v in spec.options.items())))
    with _lock:
        found = _stores.get(key)
        if found is None or found.spec != spec:
            found = _stores[key] = open_store(spec)
        _stores.move_to_end(key)
        if len(_stores) > _MOST_STORES:
            _stores.popitem(last=False)
        return found


@tracing.traced("publish")
def publish(
    database: DatabaseUrl,
    table: TableRow,
    log: ObjectStore,
    row: outbox.OutboxRow,
    *,
    known: int,
    wait: float = PUBLISH_SECONDS,
) -> bool:
    """Put a version into the log after those before it; False when that takes longer than `wait`.

    `known`: a version that is in the log. MIRROR_CONFLICT when a foreign file is in the slot.
    """
    deadline = time.monotonic() + wait
    if row.version - 1 > known and not _wait_for(log, row.version - 1, _PATIENCE_SECONDS):
        while True:
            reached = drain(database, table, log, after=known, until=row.version - 1)
            if reached >= row.version - 1 or log.exists(commit_name(row.version - 1)):
                break
            if time.monotonic() > deadline:
                return False
            time.sleep(_LONGEST_PAUSE)
    put(database, table, log, row)
    return True


def published(
    database: DatabaseUrl, table: TableRow, log: ObjectStore, version: int, *, wait: float
) -> bool:
    """Wait until a version is in the log, and help; for one that another call committed."""
    deadline = time.monotonic() + wait
    if _wait_for(log, version, min(wait, _OTHERS_SECONDS)):
        return True
    while not log.exists(commit_name(version)):
        drain(database, table, log, after=-1, until=version)
        if time.monotonic() > deadline:
            return False
        time.sleep(_LONGEST_PAUSE)
    return True


def _wait_for(log: ObjectStore, version: int, seconds: float) -> bool:
    name = commit_name(version)
    deadline = time.monotonic() + seconds
    pause, longest = _FIRST_PAUSE, _LONGEST_PAUSE if log.spec.is_s3 else _LONGEST_NEAR
    while not log.exists(name):
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, longest)
    return True


@tracing.traced("drain")
def drain(
    database: DatabaseUrl,
    table: TableRow,
    log: ObjectStore,
    *,
    after: int,
    until: int | None = None,
) -> int:
    """Publish what the outbox has after a version; the newest version that is in the log then.

    Nothing is put where one is missing before: another has just deleted it from the outbox, since
    it is in the log.
    """
    reached = after
    for row in outbox.each_waiting(database, table, after):
        if until is not None and row.version > until:
            break
        if row.version > reached + 1 and not log.exists(commit_name(row.version - 1)):
            break
        put(database, table, log, row)
        reached = row.version
    return reached


def confirm(
    database: DatabaseUrl,
    table: TableRow,
    log: ObjectStore,
    heads: Sequence[outbox.OutboxHead],
    published: Container[int],
    *,
    after: int,
) -> int:
    """The newest version up to which all are in the log, with the bytes that were committed.

    `heads` are those that wait after version `after`, `published` those that this process has put
    there itself. What is missing is put there; MIRROR_CONFLICT, and the table marked, where a slot
    is foreign.
    """
    first, last = heads[0].version, heads[-1].version
    if first > after + 1 and not log.exists(commit_name(first - 1)):
        return after
    others = [head for head in heads if head.version not in published]
    for start in range(0, len(others), _BATCH):
        some = others[start : start + _BATCH]
        right = _right(log, some)
        for head in some:
            if head.version not in right:
                return drain(database, table, log, after=head.version - 1, until=last)
    return last


def _right(log: ObjectStore, heads: Sequence[outbox.OutboxHead]) -> set[int]:
    """Versions whose files are there and theirs; none of those that are large."""
    small = [head for head in heads if head.size <= INLINE_BYTES]
    names = [commit_name(head.version) for head in small]
    try:
        with closing(log.read_each(names)) as files:
            pairs = zip(small, files, strict=True)
            return {head.version for head, data in pairs if head.is_whole(data)}
    except DeltaLakeError as error:
        if error.kind is not DeltaLakeErrorKind.NOT_FOUND:
            raise
        return set()


@dataclass(frozen=True)
class _Joined:
    """A commit's first lines and the staged file with its others, as one file's pieces.

    MIRROR_CONFLICT in the place of the end where that isn't what was committed.
    """

    log: ObjectStore
    row: outbox.OutboxRow
    name: str

    @property
    def size(self) -> int:
        return self.row.size

    def __iter__(self) -> Iterator[bytes]:
        sums = xxhash.xxh3_128()
        for piece in chain([self.row.body], StoredFile(self.log, self.name, -1)):
            sums.update(piece)
            yield piece
        if sums.hexdigest() != self.row.digest:
            raise DeltaLakeError(
                DeltaLakeErrorKind.MIRROR_CONFLICT,
                f"{self.log.describe(self.name)} isn't what version {self.row.version} was "
                "committed with; find out who changed it",
                version=self.row.version,
            )


def content(log: ObjectStore, row: outbox.OutboxRow) -> Content:
    """The file of a commit; a long one in pieces."""
    return row.body if row.staged_name is None else _Joined(log, row, row.staged_name)


def whole(log: ObjectStore, row: outbox.OutboxRow) -> bytes:
    """The file of a commit, whatever its length."""
    data = content(log, row)
    return data if isinstance(data, bytes) else b"".join(data)


def put(database: DatabaseUrl, table: TableRow, log: ObjectStore, row: outbox.OutboxRow) -> None:
    """Put a version into its slot; MIRROR_CONFLICT, and the table marked, where it is foreign."""
    name = commit_name(row.version)
    data = content(log, row)
    began = time.perf_counter()
    is_new = log.put_if_absent(name, data)
    _note_put(log, time.perf_counter() - began)
    if is_new:
        return
    held = compare(log, name, data)
    if held is Held.TORN:
        # Our own put, cut off by a power failure before it was synced.
        log.put(name, data)
    elif held is Held.OTHER:
        mark_foreign(database, table, row.version, log)
        raise foreign(table, log, row.version)


def put_seconds(log: ObjectStore) -> float | None:
    """What a put into a log has taken at best, of this process's last ones; None for none yet."""
    found = _puts.get((os.getpid(), log.spec.url))
    return min(found) if found else None


def _note_put(log: ObjectStore, seconds: float) -> None:
    key = (os.getpid(), log.spec.url)
    with _lock:
        _puts.setdefault(key, deque(maxlen=8)).append(seconds)
        _puts.move_to_end(key)
        if len(_puts) > _MOST_STORES:
            _puts.popitem(last=False)


def foreign(table: TableRow, log: ObjectStore, version: int) -> DeltaLakeError:
    """The error for a file in our slot that isn't ours."""
    return DeltaLakeError(
        DeltaLakeErrorKind.MIRROR_CONFLICT,
        f"{log.describe(commit_name(version))} was written by others, and isn't version {version} "
        f"of {table.full_name} in the catalog; it is left as it is: `dl mirror resolve` shows the "
        "ways out",
        outcome="committed",
        version=version,
    )


def beginning(log: ObjectStore, name: str) -> bytes:
    """The lines that a commit's file begins with: a foreign one may be of any length."""
    there = log.read_range(name, 0, INLINE_BYTES)
    return there if len(there) < INLINE_BYTES else there[: there.rfind(b"\n") + 1]


def gives_back(there: bytes) -> bool:
    """Whether a commit's file, by its beginning, gave its table back to the log.

    That is without the catalog, by a commit of ours, which is short.
    """
    if RETURNED.encode() not in there:
        return False
    infos = [line for line in there.splitlines() if b'"commitInfo"' in line[:40]]
    return any(RETURNED in orjson.loads(line)["commitInfo"] for line in infos)


def mark_foreign(database: DatabaseUrl, table: TableRow, version: int, log: ObjectStore) -> None:
    """Record a foreign file, so that nothing more is committed on top of it.

    Where it gave the table back to the log, without the catalog, the log ratifies from here on.
    """
    name = commit_name(version)
    there = beginning(log, name)
    size, sums = 0, xxhash.xxh3_128()
    for piece in StoredFile(log, name, -1):
        size += len(piece)
        sums.update(piece)
    given_back = [
        Statement(
            "UPDATE dl_heads SET authority = 'log', epoch = epoch + 1 "
            "WHERE table_key = ? AND authority = 'sql'",
            (table.table_key,),
        )
    ]
    with writing(database) as writer:
        writer.transact(
            [
                *(given_back if gives_back(there) else []),
                Statement(
                    "UPDATE dl_mirror SET foreign_version = ?, foreign_size = ?, "
                    f"foreign_digest = ?, foreign_found_at = {writer.now} "
                    "WHERE table_key = ? AND foreign_version IS NULL",
                    (version, size, sums.hexdigest(), table.table_key),
                ),
            ]
        )
