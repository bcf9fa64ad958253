"""Changes of rows in files that others have only rearranged meanwhile, found where those rows are.

What OPTIMIZE replaced holds the same rows as what came in its place. A transaction that has removed
rows of such files removes them from the new ones instead: those of equal values, as many of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit.staged import NO_READS, StagedTable, VectorClash, no_files
from deltalakedb.scan.file import ROW_INDEX
from deltalakedb.scan.scan import indexed_rows
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.compose import composed
from deltalakedb.table.operations.lives import lives_where
from deltalakedb.table.operations.rewrite import Rewrite, RewriteOptions
from deltalakedb.table.operations.row_changes import changes_between
from deltalakedb.table.operations.row_digests import row_digests


@dataclass(frozen=True)
class Remapped:
    """The staged changes, of the files that are there now, and the objects that this has made."""

    staged: StagedTable
    written: tuple[str, ...]


def remapped(
    catalog: LightCatalog, base: Base, newest: Base, staged: StagedTable
) -> Remapped | None:
    """`staged`, of `base`, by the files of `newest`; None where that isn't possible.

    It isn't where none of its files was rearranged, where rows that it removes are gone, or where
    either side changes schema or properties. What else others did is the commit's to judge.
    """
    if staged.metadata is not None or staged.protocol is not None:
        return None
    if (newest.row.live_load, newest.metadata, newest.protocol) != (
        base.row.live_load,
        base.metadata,
        base.protocol,
    ):
        return None
    since = base.row.head_version
    places = _places(catalog, newest, since)
    removed = staged.removes.column("path").to_pylist()
    lost = {path for path in removed if path in places.gone}
    if not lost:
        return None
    ended, begun = (_of(files, lost) for files in (staged.removes, staged.adds))
    wanted: Counter[bytes] = Counter()
    for _, rows, kinds in changes_between(newest, ended, begun):
        assert pc.all(pc.equal(kinds, "delete"), min_count=0).as_py()
        wanted.update(row_digests(rows.drop_columns([ROW_INDEX])))
    partitions = pc.is_in(
        places.come.column("partition_values"), ended.column("partition_values").combine_chunks()
    )
    files = places.come.filter(partitions)
    rewrite = Rewrite(newest, files, RewriteOptions())
    with rewrite:
        rewrite.tells_changes = False
        _remove(rewrite, wanted)
        if wanted.total():
            rewrite.discard()
            return None
        there = rewrite.staged("REMAP", {}, NO_READS, lambda done: {})
    kept = _without(staged, lost)
    whole = composed(kept, there)
    return Remapped(
        replace(
            whole,
            table=staged.table,
            read_version=staged.read_version,
            info=staged.info,
            in_commit_timestamps=staged.in_commit_timestamps,
            tracks_rows=staged.tracks_rows or there.tracks_rows,
            metadata_id=staged.metadata_id,
            if_version=staged.if_version,
            began=staged.began,
        ),
        tuple(rewrite.names),
    )


@dataclass(frozen=True)
class _Places:
    """`gone`: raw paths of files that were last rearranged away; `come`: files that live in the
    place of such ones."""

    gone: frozenset[str]
    come: pa.Table


def _places(catalog: LightCatalog, newest: Base, since: int) -> _Places:
    row = newest.row
    changes = catalog.reader.rows(
        "SELECT version, MAX(CASE WHEN data_change IS NULL OR data_change THEN 1 ELSE 0 END) "
        "FROM dl_changes WHERE table_key = ? AND version > ? AND version <= ? GROUP BY version",
        (row.table_key, since, row.head_version),
    )
    rearranging = {int(version) for version, changing in changes if not changing}
    if not rearranging:
        return _Places(frozenset(), no_files())
    lives = lives_where(
        catalog,
        row,
        f"((f.removed_version > {since} AND f.removed_version <= {row.head_version}) OR "
        f"(f.added_version > {since} AND f.added_version <= {row.head_version}))",
    )
    came: set[str] = set()
    last: dict[str, int] = {}
    for path, added, ended in zip(
        *(lives.column(n).to_pylist() for n in ("path", "added_version", "removed_version")),
        strict=True,
    ):
        last[path] = max(last.get(path, 0), ended)
        if added in rearranging:
            came.add(path)
    gone = frozenset(path for path, version in last.items() if version in rearranging)
    live = lives.filter(pc.greater(lives.column("removed_version"), row.head_version))
    return _Places(gone, _of(live, came))


def _of(files: pa.Table, paths: set[str]) -> pa.Table:
    return files.filter(
        pa.array([p in paths for p in files.column("path").to_pylist()], pa.bool_())
    )


def _remove(rewrite: Rewrite, wanted: Counter[bytes]) -> None:
    """As many rows as are wanted go, of those values; what isn't found is left in `wanted`."""
    for path, rows in indexed_rows(rewrite.spec()):
        if not wanted.total():
            return
        index = rows.column(ROW_INDEX).to_numpy()
        found = []
        for number, digest in enumerate(row_digests(rows.drop_columns([ROW_INDEX]))):
            if wanted[digest] > 0:
                wanted[digest] -= 1
                found.append(number)
        rewrite.removes_rows(path, index[np.array(found, np.int64)])


def _without(staged: StagedTable, lost: set[str]) -> StagedTable:
    """Without what it does to the files, also where it is made again."""
    rebase = staged.rebase

    def again(clashes: Sequence[VectorClash]) -> StagedTable:
        assert rebase is not None
        return _without(rebase(clashes), lost)

    made: Callable[[Sequence[VectorClash]], StagedTable] | None = rebase and again
    left = set(staged.adds.column("path").to_pylist()) | set(
        staged.removes.column("path").to_pylist()
    )
    return replace(
        staged,
        added=_of(staged.adds, left - lost),
        removes=_of(staged.removes, left - lost),
        rebase=made,
    )
