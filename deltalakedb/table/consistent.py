"""`consistent_versions`: which versions of several tables belong together, from their logs alone.

Members of a transaction are published one after the other, so the newest versions of several logs
may hold one part of a transaction without the other. Each member names all of them, by the tables'
`metaData.id`, in its `transactionGroup` action.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any

import orjson
import pyarrow.parquet as pq

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.place import log_store
from deltalakedb.log.reader import read_listing
from deltalakedb.storage.open import open_store
from deltalakedb.storage.store import ObjectStore

_COMMITS = 50
_CLOCK_MS = 3_600_000
"""How far the database's clock may ever have been set back."""


class ConsistentVersions(dict[str, int]):
    """The version of each path, of which no transaction has a part without the others.

    That is all that is promised: commits of single tables that depend on each other may still be
    cut. `newest`: of each log. `timestamps`: when each version was committed, in ms, None where
    its commit is no longer there. `unknown`: paths of logs whose commits were cleaned up before
    they told whether a transaction is split.
    """

    def __init__(self, logs: Sequence[_Log]) -> None:
        super().__init__({log.path: log.version for log in logs})
        self.newest = {log.path: log.newest for log in logs}
        self.timestamps = {log.path: log.times.get(log.version) for log in logs}
        self.unknown = [log.path for log in logs if log.is_cut_off]


@dataclass(frozen=True)
class _Group:
    version: int
    members: tuple[tuple[str, int], ...]


@dataclass
class _Log:
    """A log, looked at from its newest commit back."""

    path: str
    store: ObjectStore
    names: dict[int, str]
    checkpoint: Sequence[str]
    newest: int
    version: int
    ids: set[str] = field(default_factory=set)
    groups: list[_Group] = field(default_factory=list)
    times: dict[int, int | None] = field(default_factory=dict)
    is_cut_off: bool = False

    @classmethod
    def of(cls, path: str, storage_options: Mapping[str, Any] | None) -> _Log:
        store = open_store(log_store(path, storage_options))
        listing = read_listing(store)
        checkpoint = listing.checkpoints[0].names if listing.checkpoints else ()
        names = {entry.version: entry.name for entry in listing.commits}
        return cls(path, store, names, checkpoint, listing.head, listing.head)

    def look(self, back_to: int) -> None:
        """Take in commits, newest first, until one is older than a time in ms."""
        wanted = self._wanted()
        while some := list(islice(wanted, _COMMITS)):
            bodies = self.store.read_many([self.names[version] for version in some])
            for version, body in zip(some, bodies, strict=True):
                self._take(version, body)
            time = self.times[some[-1]]
            if time is not None and time < back_to:
                return
        self.is_cut_off = min(self.times, default=self.newest + 1) > 0

    def look_at_newest(self) -> int | None:
        """When the newest version was committed, in ms; None where nothing tells."""
        if self.newest in self.names and self.newest not in self.times:
            self._take(self.newest, self.store.read(self.names[self.newest]))
        return self.times.get(self.newest)

    def _wanted(self) -> Iterator[int]:
        for version in count(self.newest, -1):
            if version not in self.names:
                return
            if version not in self.times:
                yield version

    def _take(self, version: int, body: bytes) -> None:
        self.times[version] = None
        for line in body.splitlines():
            if b'"commitInfo"' in line:
                self.times[version] = _committed_at(orjson.loads(line).get("commitInfo") or {})
            elif b'"metaData"' in line:
                self._note(orjson.loads(line).get("metaData"))
            elif b'"transactionGroup"' in line:
                group = orjson.loads(line).get("transactionGroup")
                if group is not None:
                    members = tuple(
                        (str(one["tableId"]), int(one["proposedVersion"]))
                        for one in group["participants"]
                    )
                    self.groups.append(_Group(version, members))

    def _note(self, metadata: Mapping[str, Any] | None) -> None:
        if metadata is not None and metadata.get("id"):
            self.ids.add(str(metadata["id"]))

    def identify(self) -> None:
        """Find the table's id, where the commits that were looked at don't say it."""
        if self.ids:
            return
        for name in self.checkpoint:
            for metadata in _checkpoint_metadata(self.store, name):
                self._note(metadata)
        if not self.ids and 0 in self.names:
            for line in self.store.read(self.names[0]).splitlines():
                self._note(orjson.loads(line).get("metaData"))


def consistent_versions(
    paths: Sequence[str], *, storage_options: Mapping[str, Any] | None = None
) -> ConsistentVersions:
    """Versions of Delta tables at `paths` that split no transaction over several of them.

    No catalog is asked: whoever reads the logs can read these versions. Raises VERSION_NOT_FOUND
    where a table would have to be read before its first version, and what reading logs raises.
    """
    logs = [_Log.of(path, storage_options) for path in dict.fromkeys(paths)]
    newest = [log.look_at_newest() for log in logs]
    # A transaction that some log lacks was committed after that log's newest version.
    known = [time for time in newest if time is not None]
    back_to = min(known) - _CLOCK_MS if len(known) == len(logs) and known else -1
    for log in logs:
        log.look(back_to)
        log.identify()
    _settle(logs)
    return ConsistentVersions(logs)


def _settle(logs: Sequence[_Log]) -> None:
    """Lower versions until no group is split."""
    by_id = {ident: log for log in logs for ident in log.ids}
    changed = True
    while changed:
        changed = False
        for log in logs:
            split = [
                group.version
                for group in log.groups
                if group.version <= log.version
                and any(
                    ident in by_id and by_id[ident].version < version
                    for ident, version in group.members
                )
            ]
            if split:
                log.version = min(split) - 1
                changed = True
            if log.version < 0:
                raise DeltaLakeError(
                    DeltaLakeErrorKind.VERSION_NOT_FOUND,
                    f"{log.path} was made by a transaction that the other logs don't have yet; "
                    "`dl mirror drain` publishes it",
                )


def _committed_at(info: Mapping[str, Any]) -> int | None:
    time = info.get("timestamp")
    return time if isinstance(time, int) else None


def _checkpoint_metadata(store: ObjectStore, name: str) -> Iterator[Mapping[str, Any] | None]:
    if name.endswith(".json"):
        for line in store.read(name).splitlines():
            yield orjson.loads(line).get("metaData")
        return
    with store.open_input(name) as source:
        for batch in pq.ParquetFile(source).iter_batches(columns=["metaData.id"]):
            yield from batch.column("metaData").drop_null().to_pylist()
