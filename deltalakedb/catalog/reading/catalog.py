"""The light side of a catalog: a reader, and what every snapshot of it shares."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import NamedTuple, NoReturn

from deltalakedb import fork
from deltalakedb.catalog.dialects.reader import Reader
from deltalakedb.catalog.dialects.readers import reader_of
from deltalakedb.catalog.reading.proof import proven_rows
from deltalakedb.catalog.records import TableRow, TextTest
from deltalakedb.database_url import DatabaseUrl

_TEXTS = 1_000
"""Partitions whose values are kept by their ids."""
_MANY = 1_000
_SIFTINGS = 16
"""Questions for few of many partitions that together take what fetching them all does."""


class PartitionRow(NamedTuple):
    """A row of `dl_partitions`: live counts are those of the head."""

    partition_id: int
    partition_values: str
    num_files: int
    total_bytes: int


class PartitionSet:
    """Partition tuples of a load, in one order; what is derived of them is kept with them.

    `total`: how many the load has, which are more where only some were asked for.
    """

    def __init__(self, rows: list[PartitionRow], total: int | None = None) -> None:
        self.rows = rows
        self.texts = [row.partition_values for row in rows]
        self.total = len(rows) if total is None else total

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def num_files(self) -> int:
        """Live files of all of them."""
        return sum(row.num_files for row in self.rows)

    @cached_property
    def place_of(self) -> dict[int, int]:
        """The place of each partition id in `rows`."""
        return {row.partition_id: place for place, row in enumerate(self.rows)}


class LightCatalog:
    """A catalog that is only read. Cheap: no connection is made before the first question."""

    def __init__(self, database: DatabaseUrl) -> None:
        self.reader: Reader = reader_of(database)
        self._catalog_id: str | None = None
        self._partitions: tuple[int, int, int, PartitionSet] | None = None
        """Of a load, from which version on to which, what `partitions` found."""
        self._sifted: tuple[int, int, int] | None = None
        """Of which load and version few were asked for last, and how often."""
        self._texts: dict[int, str] = {}
        self._lock = fork.Lock()

    def __repr__(self) -> str:
        return f"LightCatalog({self.reader.dialect.described!r})"

    def __reduce__(self) -> NoReturn:
        # Told here for all that hold a catalog: tables, snapshots, their file lists.
        raise TypeError(
            "a table that was opened with connect_to_table holds a database connection, so neither "
            "it nor its snapshots can be pickled; open it where it is needed, or hand on its rows "
            "with snapshot.to_dask()"
        )

    @property
    def catalog_id(self) -> str:
        """The catalog's own uuid: part of the key of whatever is cached of it."""
        if self._catalog_id is None:
            self._catalog_id = str(self.reader.rows("SELECT catalog_id FROM dl_catalog")[0][0])
        return self._catalog_id

    @property
    def knows_id(self) -> bool:
        """Whether `catalog_id` is known without a question."""
        return self._catalog_id is not None

    def kept_partitions(self, load_id: int, version: int) -> PartitionSet | None:
        """What `partitions` would give without a question to the database."""
        with self._lock:
            kept = self._partitions
        if kept is None:
            return None
        load, oldest, newest, found = kept
        return found if load == load_id and oldest <= version <= newest else None

    def partition_texts(
        self, table: TableRow, version: int, ids: Collection[int]
    ) -> dict[int, str]:
        """The partition values of a few partitions, by id; those that aren't there are left out.

        An id is made of the values, so that what was answered once holds for every load.
        """
        known = {ident: self._texts[ident] for ident in ids if ident in self._texts}
        if len(known) == len(ids):
            return known
        found = proven_rows(
            self.reader,
            table,
            version,
            ("partition_id", "partition_values"),
            "SELECT partition_id, partition_values FROM dl_partitions "
            f"WHERE load_id = ? AND partition_id IN ({', '.join(map(str, ids))})",
            (table.live_load,),
        )
        if len(self._texts) < _TEXTS:
            self._texts.update(found)
        return dict(found)

    def partitions(
        self, table: TableRow, version: int, tests: Sequence[TextTest] = ()
    ) -> PartitionSet:
        """Partition tuples of which the live load may have files at `version`, and that pass.

        Those that were emptied before are left out. The first time it is only those that pass,
        which are few of many. After that it is all of them, and they are kept: what wasn't empty
        at one version serves for newer ones too, as far as the answer is as new. Of many whose
        answer isn't, those that pass are asked for again, until all would have cost no more.
        """
        load_id = table.live_load
        kept = self.kept_partitions(load_id, version)
        if kept is not None:
            return kept
        if tests and self._may_sift(load_id, version):
            return self._passing(table, version, tests)
        with self._lock:
            known = self._partitions
        same = known is not None and known[0] == load_id
        oldest = min(version, known[1]) if known is not None and same else version
        columns = PartitionRow._fields
        picked = f"SELECT {', '.join(columns)} FROM dl_partitions WHERE load_id = ?"
        rows = proven_rows(
            self.reader,
            table,
            version,
            columns,
            f"{picked} AND emptied_at IS NULL UNION ALL {picked} AND emptied_at > {oldest}",
            (load_id, load_id),
        )
        found = PartitionSet(list(map(PartitionRow._make, rows)))
        with self._lock:
            self._partitions = (load_id, oldest, version, found)
        return found

    def _may_sift(self, load_id: int, version: int) -> bool:
        """Whether to ask for few partitions rather than for all; it is counted."""
        with self._lock:
            before, kept = self._sifted, self._partitions
            if before is None or before[0] != load_id:
                self._sifted = (load_id, version, _SIFTINGS)
                return True
            if kept is None or kept[0] != load_id or len(kept[3]) <= _MANY:
                return False
            times = before[2] if before[1] == version else 0
            if times >= _SIFTINGS:
                return False
            self._sifted = (load_id, version, times + 1)
            return True

    def _passing(self, table: TableRow, version: int, tests: Sequence[TextTest]) -> PartitionSet:
        conditions, patterns = [], []
        for like, unless in tests:
            alternatives = ["partition_values LIKE ? ESCAPE '!'"] * len(like)
            if unless is not None:
                alternatives.append("partition_values NOT LIKE ? ESCAPE '!'")
            conditions.append(f"({' OR '.join(alternatives)})")
            patterns += [*like, *([] if unless is None else [unless])]
        load_id = table.live_load
        filled = f"load_id = {load_id} AND (emptied_at IS NULL OR emptied_at > {version})"
        count = f"SELECT count(*) FROM dl_partitions WHERE {filled}"
        columns = (*PartitionRow._fields, "total")
        rows = proven_rows(
            self.reader,
            table,
            version,
            columns,
            f"SELECT {', '.join(PartitionRow._fields)}, ({count}) "
            f"FROM dl_partitions WHERE {filled} AND {' AND '.join(conditions)}",
            patterns,
        )
        total = rows[0][-1] if rows else self.reader.rows(count)[0][0]
        return PartitionSet([PartitionRow(*row[:4]) for row in rows], total)

    def close(self) -> None:
        self.reader.close()
