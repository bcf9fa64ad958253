"""Delta tables below a folder or a prefix: a walk over folders, never over data files' names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import ObjectStore
from deltalakedb.uri import normalise_location

_LOG = "_delta_log/"
_AT_ONCE = 16
"""Folders that are listed at the same time."""


@dataclass(frozen=True)
class Found:
    """A table. `below`: its folder relative to where the walk began, without a slash at its end."""

    location: str
    below: str


def discover(root: str, storage_options: Mapping[str, object] | None = None) -> list[Found]:
    """The tables at and below `root` (path, file://, s3://), by location.

    Folders of partitions (`name=value`) and hidden ones (`_x`, `.x`) inside a table aren't entered,
    any other is: a table may lie inside another's folder. Links to folders are followed, and what
    two ways lead to is told once, by the way that has no link in it if there is one. One request
    a folder. Raises NOT_FOUND when there is no such place.
    """
    spec = StoreSpec(normalise_location(root), dict(storage_options or {}))  # type: ignore[arg-type]
    store = open_store(spec)
    if not spec.is_s3:
        # Of a place that isn't there a bucket can't tell; a folder can.
        _require(store)
    seen: dict[str, Found] = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        level = [("", False)]
        visited = {store.identity("")}
        while level:
            listed = pool.map(lambda at: store.folders(at[0]), level)
            following: list[tuple[str, bool]] = []
            for (prefix, inside), names in zip(level, listed, strict=True):
                is_table = f"{prefix}{_LOG}" in names
                if is_table:
                    below = prefix.rstrip("/")
                    location = f"{spec.url.rstrip('/')}/{below}" if below else spec.url
                    seen.setdefault(store.identity(prefix), Found(location, below))
                following += _to_enter(store, names, inside or is_table, visited)
            level = following
    return sorted(seen.values(), key=lambda found: found.location)


def _to_enter(
    store: ObjectStore, names: list[str], inside: bool, visited: set[str]
) -> Iterator[tuple[str, bool]]:
    """Folders that may hold tables and were not entered yet; real ones before links to them."""
    entered = []
    for name in names:
        last = name.rstrip("/").rpartition("/")[2]
        if last.startswith(("_", ".")) or (inside and "=" in last):
            continue
        identity = store.identity(name)
        entered.append((not identity.endswith(f"/{last}"), identity, name))
    for _, identity, name in sorted(entered):
        if identity not in visited:
            visited.add(identity)
            yield name, inside


def _require(store: ObjectStore) -> None:
    if not store.holds_any():
        raise DeltaLakeError(
            DeltaLakeErrorKind.NOT_FOUND,
            f"there is no folder {store.describe()}; check the path after --discover",
            url=store.describe(),
        )
