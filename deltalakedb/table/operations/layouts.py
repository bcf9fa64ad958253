"""Which files OPTIMIZE writes anew together, and in what order their rows go.

PROTOCOL.md, "Add File and Remove File" (`dataChange` false), "Deletion Vectors". What is finished
is told by size and tags, so that it isn't read again.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.log.deletion_vector import cardinality
from deltalakedb.scan.scan import scan_batches
from deltalakedb.scan.tally import Tally
from deltalakedb.table.operations.alter import scan_spec
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.operations.row_columns import read_rows
from deltalakedb.write.files import BUFFERED_BYTES, FileWriter
from deltalakedb.write.z_order import ZOrder

TARGET_TAG = "OPTIMIZE_TARGET_SIZE"
CUBE_TAG = "ZCUBE_ID"
ORDER_TAG = "ZCUBE_ZORDER_BY"
_MOST_DELETED = 0.05
"""Share of a file's rows that may be deleted before it is written anew, as Spark has it."""
_GROWTH = 2


@dataclass(frozen=True, kw_only=True)
class OptimizeOptions:
    """How bins are made and written.

    `target_size`: bytes of a file, else the table's. `paths`: raw paths of the files to look at,
    None for all. `workers`: bins written at a time here, and files read for them. `encoders`: files
    encoded at a time for a bin. None for as many as there are cores. `memory`: bytes of rows that
    may wait in memory. `commit_interval`: seconds between commits at least, so that bins share
    one. `client`: a `distributed.Client` whose workers write bins, None for this process. `tally`
    takes what is read here.
    """

    target_size: int | None = None
    paths: Collection[str] | None = None
    workers: int | None = None
    encoders: int | None = None
    memory: int | None = None
    commit_interval: float = 0.0
    writer_properties: Any = None
    commit: CommitOptions = field(default_factory=CommitOptions)
    client: Any = None
    tally: Tally | None = None


class Layout(Protocol):
    """Which files are to be written anew together, and in what order their rows go."""

    def bins(self, base: Base, files: pa.Table, target: int) -> list[Bin]: ...

    def parameters(self) -> Mapping[str, Any]: ...

    def write(
        self, base: Base, files: pa.Table, writer: FileWriter, options: OptimizeOptions
    ) -> None: ...


@dataclass(frozen=True)
class Bin:
    """Rows of FILE_SCHEMA, of one partition, and tags for the files that replace them."""

    files: pa.Table
    tags: Mapping[str, str] = field(default_factory=dict)


class Compaction:
    """Small files of a partition into files of the target size, rows in the files' order."""

    def __init__(self, predicate: Sequence[str] = (), *, auto: bool = False) -> None:
        self._predicate = list(predicate)
        self._auto = auto

    def parameters(self) -> Mapping[str, Any]:
        """As Spark names them."""
        return {"predicate": self._predicate, "zOrderBy": [], "auto": self._auto}

    def bins(self, base: Base, files: pa.Table, target: int) -> list[Bin]:
        """Files in the order they came, as many as fit; a file that is fine alone is in none."""
        found = []
        for group in _by_partition(files):
            order = pc.sort_indices(group, [("added_version", "ascending"), ("path", "ascending")])
            found += list(_packed(group.take(order), target))
        return found

    def write(
        self, base: Base, files: pa.Table, writer: FileWriter, options: OptimizeOptions
    ) -> None:
        """Rows as they are read."""
        for rows in read_rows(base, files, options.workers, options.tally):
            writer.write(rows)


def _packed(files: pa.Table, target: int) -> Iterator[Bin]:
    tags = {TARGET_TAG: str(target)}
    places: list[int] = []
    size = 0
    purge = False
    rows = zip(
        *(files.column(name).to_pylist() for name in ("size", "tags", "dv", "num_records")),
        strict=True,
    )
    for place, (own, noted, vector, records) in enumerate(rows):
        purged = needs_purge(vector, records)
        full = own >= target or _tag(noted, TARGET_TAG) == str(target)
        if full and not purged:
            continue
        if places and size + own > target:
            if len(places) > 1 or purge:
                yield Bin(files.take(places), tags)
            places, size, purge = [], 0, False
        places.append(place)
        size += own
        purge = purge or purged
    if len(places) > 1 or purge:
        # The last one may grow: only what is as large as it gets is finished.
        yield Bin(files.take(places), tags if size >= target else {})


def needs_purge(vector: str | None, records: int | None) -> bool:
    """Whether so many of a file's rows are deleted that it is worth writing anew."""
    if vector is None:
        return False
    deleted = cardinality(orjson.loads(vector))
    return records is None or deleted > records * _MOST_DELETED


def _tag(tags: str | None, name: str) -> str | None:
    return None if tags is None else orjson.loads(tags).get(name)


def _by_partition(files: pa.Table) -> Iterator[pa.Table]:
    ids = files.column("partition_values")
    # Databases give rows in any order.
    for text in sorted(pc.unique(ids).to_pylist()):
        yield files.filter(pc.equal(ids, text))


class Purge(Compaction):
    """Every file that has a deletion vector, written anew without the deleted rows."""

    def bins(self, base: Base, files: pa.Table, target: int) -> list[Bin]:
        """Each such file alone: who changes another one isn't in the way."""
        marked = files.filter(pc.is_valid(files.column("dv")))
        return [Bin(marked.slice(place, 1)) for place in range(marked.num_rows)]

    def parameters(self) -> Mapping[str, Any]:
        """As Spark names them."""
        return {**super().parameters(), "applyPurge": True}


class ZOrdering:
    """All rows of a partition by a curve through several columns, in files of the target size.

    Files that were ordered together are a cube; new files become one, with cubes that aren't
    much larger, so that each row is written anew a few times only.
    """

    def __init__(self, base: Base, columns: Sequence[str], predicate: Sequence[str] = ()) -> None:
        self._order = ZOrder(base.struct, base.metadata.partition_columns, columns)
        self._columns = orjson.dumps(list(columns)).decode()
        self._predicate = list(predicate)
        self._names = list(columns)

    def parameters(self) -> Mapping[str, Any]:
        """As Spark names them."""
        return {"predicate": self._predicate, "zOrderBy": self._names}

    def bins(self, base: Base, files: pa.Table, target: int) -> list[Bin]:
        """One for each partition that has files outside of cubes."""
        return [each for group in _by_partition(files) for each in self._bins(group)]

    def _bins(self, files: pa.Table) -> list[Bin]:
        fresh: list[int] = []
        cubes: dict[str, list[int]] = {}
        sizes = files.column("size").to_pylist()
        rows = zip(
            *(files.column(name).to_pylist() for name in ("tags", "dv", "num_records")), strict=True
        )
        for place, (tags, vector, records) in enumerate(rows):
            cube = _tag(tags, CUBE_TAG)
            ordered = cube is not None and _tag(tags, ORDER_TAG) == self._columns
            if cube is None or not ordered or needs_purge(vector, records):
                fresh.append(place)
            else:
                cubes.setdefault(cube, []).append(place)
        if not fresh:
            return []
        size = sum(sizes[place] for place in fresh)
        for places in sorted(cubes.values(), key=lambda cube: sum(sizes[p] for p in cube)):
            more = sum(sizes[place] for place in places)
            if more > size * _GROWTH:
                break
            fresh += places
            size += more
        marks = {CUBE_TAG: str(uuid.uuid4()), ORDER_TAG: self._columns}
        return [Bin(files.take(sorted(fresh)), marks)]

    def write(
        self, base: Base, files: pa.Table, writer: FileWriter, options: OptimizeOptions
    ) -> None:
        """Two reads: a sample of the ordered columns, and all rows, put aside by ranges."""
        spec = scan_spec(base, files, options.tally)
        names = self._order.columns
        ranges = self._order.sampled(scan_batches(spec, names, workers=options.workers))
        memory = options.memory or BUFFERED_BYTES
        for rows in ranges.sorted(read_rows(base, files, options.workers, options.tally), memory):
            writer.write(rows)
