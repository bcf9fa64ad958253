"""Delta tables below a folder or a prefix: a walk over folders, never over data files' names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import xxhash

from deltalakedb import logs
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import ObjectStore
from deltalakedb.uri import normalise_location

_LOG = "_delta_log/"
_AT_ONCE = 16
"""Folders that are listed at the same time."""
_AHEAD = 64 * _AT_ONCE
"""Listings that are held at the same time, however many folders there are on a level."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """A table. `below`: its folder relative to where the walk began, without a slash at its end."""

    location: str
    below: str


def discover(
    root: str,
    storage_options: Mapping[str, object] | None = None,
    on_outside: Callable[[str], None] = lambda told: None,
) -> list[Found]:
    """The tables at and below `root` (path, file://, s3://), by location.

    Folders of partitions (`name=value`) and hidden ones (`_x`, `.x`) inside a table aren't entered,
    any other is: a table may lie inside another's folder. Links to folders below `root` are
    followed, and what two ways lead to is told once, by the way that has no link in it if there is
    one. A link that leads out of `root` isn't: `on_outside` gets a sentence about it, and the log.
    One request a folder. Raises NOT_FOUND when there is no such place.
    """
    spec = StoreSpec(normalise_location(root), dict(storage_options or {}))  # type: ignore[arg-type]
    store = open_store(spec)
    if not spec.is_s3:
        # Of a place that isn't there a bucket can't tell; a folder can.
        _require(store)
    seen: dict[str, Found] = {}

    def outside(name: str, identity: str) -> None:
        told = (
            f"{store.describe(name)} is a link to {identity}, outside of what is discovered; it "
            "isn't entered: give it by a --discover of its own"
        )
        logs.note(log, logging.WARNING, told, step="discover")
        on_outside(told)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        level = [("", False)]
        walk = _Walk(store, outside)
        # What a link leads to waits until all has been seen that lies where it is.
        while level or (level := walk.behind_links()):
            following: list[tuple[str, bool]] = []
            for start in range(0, len(level), _AHEAD):
                some = level[start : start + _AHEAD]
                listed = pool.map(lambda at: store.folders(at[0]), some)
                for (prefix, inside), names in zip(some, listed, strict=True):
                    is_table = f"{prefix}{_LOG}" in names
                    if is_table:
                        below = prefix.rstrip("/")
                        location = f"{spec.url.rstrip('/')}/{below}" if below else spec.url
                        seen.setdefault(store.identity(prefix), Found(location, below))
                    following += walk.to_enter(prefix, names, inside or is_table)
            level = following
    return sorted(seen.values(), key=lambda found: found.location)


class _Walk:
    """Folders that were entered, so that none is twice, whatever links there are."""

    def __init__(self, store: ObjectStore, outside: Callable[[str, str], None]) -> None:
        self._store = store
        self._outside = outside
        self._root = store.identity("").rstrip("/")
        self._visited = {_short(self._root)}
        self._links: list[tuple[str, bool, str]] = []

    def to_enter(self, prefix: str, names: list[str], inside: bool) -> Iterator[tuple[str, bool]]:
        """Those in a folder that may hold tables and were not entered yet; links are kept back."""
        here = self._store.identity(prefix).rstrip("/")
        for name in names:
            last = name.rstrip("/").rpartition("/")[2]
            if last.startswith(("_", ".")) or (inside and "=" in last):
                continue
            identity = self._store.identity(name).rstrip("/")
            if identity != f"{here}/{last}":
                self._links.append((name, inside, identity))
            elif self._is_first(identity):
                yield name, inside

    def behind_links(self) -> list[tuple[str, bool]]:
        """Folders that were only met by a link so far, the one by the first of several names."""
        links, self._links = sorted(self._links), []
        found = []
        for name, inside, identity in links:
            if not self._is_first(identity):
                continue
            if identity.startswith(f"{self._root}/"):
                found.append((name, inside))
            else:
                self._outside(name, identity)
        return found

    def _is_first(self, identity: str) -> bool:
        mark = _short(identity)
        first = mark not in self._visited
        self._visited.add(mark)
        return first


def _short(identity: str) -> bytes:
    """Of a million folders a set of these takes 80 MB."""
    return xxhash.xxh3_128_digest(identity.encode("utf-8", "surrogateescape"))


def _require(store: ObjectStore) -> None:
    if not store.holds_any():
        raise DeltaLakeError(
            DeltaLakeErrorKind.NOT_FOUND,
            f"there is no folder {store.describe()}; check the path after --discover",
            url=store.describe(),
        )
