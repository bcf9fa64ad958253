"""The light side of a catalog: a reader, and what every snapshot of it shares."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import NamedTuple, NoReturn

from deltalakedb import fork
from deltalakedb.catalog.dialects.reader import Reader
from deltalakedb.catalog.dialects.readers import reader_of
from deltalakedb.catalog.records import TextTest
from deltalakedb.database_url import DatabaseUrl


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
    def place_of(self) -> dict[int, int]:
        """The place of each partition id in `rows`."""
        return {row.partition_id: place for place, row in enumerate(self.rows)}


class LightCatalog:
    """A catalog that is only read. Cheap: no connection is made before the first question."""

    def __init__(self, database: DatabaseUrl) -> None:
        self.reader: Reader = reader_of(database)
        self._catalog_id: str | None = None
        self._partitions: tuple[tuple[int, int], PartitionSet] | None = None
        self._sifted: int | None = None
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

    def kept_partitions(self, load_id: int, version: int) -> PartitionSet | None:
        """What `partitions` would give without a question to the database."""
        with self._lock:
            kept = self._partitions
        same = kept is not None and kept[0][0] == load_id and kept[0][1] >= version
        return kept[1] if kept is not None and same else None

    def partition_texts(self, load_id: int, ids: Collection[int]) -> dict[int, str]:
        """The partition values of a few partitions, by id; those that aren't there are left out."""
        found = self.reader.rows(
            "SELECT partition_id, partition_values FROM dl_partitions "
            f"WHERE load_id = ? AND partition_id IN ({', '.join(map(str, ids))})",
            (load_id,),
        )
        return dict(found)

    def partitions(
        self, load_id: int, version: int, tests: Sequence[TextTest] = ()
    ) -> PartitionSet:
        """Partition tuples that a load has had up to `version` or later; at least those that pass.

        The first time it is only those, which are few of many. After that it is all of them, and
        they are kept: tuples are only ever added, so an answer that is as new serves.
        """
        kept = self.kept_partitions(load_id, version)
        if kept is not None:
            return kept
        if tests and self._sifted != load_id:
            self._sifted = load_id
            return self._passing(load_id, tests)
        rows = self.reader.rows(
            "SELECT partition_id, partition_values, num_files, total_bytes "
            "FROM dl_partitions WHERE load_id = ?",
            (load_id,),
        )
        found = PartitionSet(list(map(PartitionRow._make, rows)))
        with self._lock:
            self._partitions = ((load_id, version), found)
        return found

    def _passing(self, load_id: int, tests: Sequence[TextTest]) -> PartitionSet:
        conditions, patterns = [], []
        for like, unless in tests:
            alternatives = ["partition_values LIKE ? ESCAPE '!'"] * len(like)
            if unless is not None:
                alternatives.append("partition_values NOT LIKE ? ESCAPE '!'")
            conditions.append(f"({' OR '.join(alternatives)})")
            patterns += [*like, *([] if unless is None else [unless])]
        count = "SELECT count(*) FROM dl_partitions WHERE load_id = ?"
        rows = self.reader.rows(
            f"SELECT partition_id, partition_values, num_files, total_bytes, ({count}) "
            f"FROM dl_partitions WHERE load_id = ? AND {' AND '.join(conditions)}",
            (load_id, load_id, *patterns),
        )
        total = rows[0][4] if rows else self.reader.rows(count, (load_id,))[0][0]
        return PartitionSet([PartitionRow(*row[:4]) for row in rows], total)

    def close(self) -> None:
        self.reader.close()
