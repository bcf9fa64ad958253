"""What a database itself makes of rows: where it is as it was, nothing of them has to be sent.

A seal is the sum of hashes of whole rows, by the database's own function. Two that are equal are of
the same rows; two that differ say nothing, as another server may hash otherwise: then the rows are
read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.records import HEAP, TableRow, in_heap, load_files_name
from deltalakedb.log.rows import LIVE
from deltalakedb.sweep.digest import FILE_COLUMNS, FileSums, Sum, changes_since
from deltalakedb.sweep.proofs import Proof

Sealed = Mapping[int, Sum]
"""Seals by load."""


def known_sums(
    catalog: Catalog, rows: Sequence[TableRow], proofs: Mapping[int, Proof]
) -> tuple[Sealed, dict[int, FileSums]]:
    """Seals of tables' live files, and, of those that the seals prove to be as they were, the sums.

    To be called before rows are read: what is changed in between has another seal the next night.
    A load of its own is known too where commits came since: by what was live then, and the rows of
    those commits; so is its seal.
    """
    sealed: dict[int, Sum] = {}
    known: dict[int, FileSums] = {}
    for row in rows:
        load, proof = row.live_load, proofs.get(row.table_key)
        if proof is None or proof.seal is None or proof.load != load or in_heap(load):
            continue
        if proof.version < row.head_version:
            seal = _moved_on(catalog, load, proof.version, proof.seal)
            if seal is not None:
                since = changes_since(catalog, load, proof.version)
                known[load] = proof.sums + since.new - since.closed
                sealed[load] = seal
    others = [row.live_load for row in rows if row.live_load not in sealed]
    sealed |= _seals(catalog, others, f"removed_version = {LIVE}")
    for row in rows:
        load, proof = row.live_load, proofs.get(row.table_key)
        if load in known or proof is None or proof.seal is None or proof.load != load:
            continue
        if proof.seal == sealed.get(load):
            known[load] = proof.sums
    return sealed, known


def _moved_on(catalog: Catalog, load: int, at: int, seal: Sum) -> Sum | None:
    """The seal of a load whose seal at a version was this; None where it no longer is.

    All rows are hashed once, those that commits since have brought or closed once more.
    """
    then = f"added_version <= {at} AND removed_version > {at}"
    found = _seals(catalog, [load], then)
    if found.get(load) != seal:
        return None
    new = _seals(catalog, [load], f"added_version > {at} AND removed_version = {LIVE}")
    closed = _seals(catalog, [load], f"{then} AND removed_version < {LIVE}")
    return seal + new[load] - closed[load]


def _seals(catalog: Catalog, load_ids: Sequence[int], those: str) -> dict[int, Sum]:
    """Of loads' files of which `those` (SQL) holds; none where the database has no such hash."""
    sources = dict.fromkeys(HEAP if in_heap(load) else load_files_name(load) for load in load_ids)
    with catalog.dialect.errors():
        sealed = catalog.dialect.seals(list(sources), those, FILE_COLUMNS)
    if sealed is None:
        return {}
    found = dict.fromkeys(load_ids, Sum())
    for load, rows, seal in sealed:
        if load in found:
            found[load] = Sum(rows, seal)
    return found
