"""The identity of a table's place."""

from __future__ import annotations

import xxhash

from deltalakedb.uri import normalise_location


def location_hash(location: str) -> str:
    """The key under which a location is unique in a catalog, however long it is."""
    return xxhash.xxh3_128_hexdigest(normalise_location(location).encode())
