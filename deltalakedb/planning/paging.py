"""A version's file list page by page, in the order of an index: each page costs a page.

Pages are found by key (`path_key`, a hash of the file's identity), not by offset, so the last one
is as quick as the first and nothing is given twice or left out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter

import pyarrow as pa

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.reading.proof import proven_rows
from deltalakedb.catalog.reading.queries import file_schema, live_predicate
from deltalakedb.catalog.records import TableRow, load_files_name
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.columns import column_of
from deltalakedb.planning.request import FILE_COLUMNS

FileIdentity = tuple[str, str | None]
"""Raw path and deletion vector id."""


@dataclass(frozen=True)
class Bookmark:
    """Where a page ended: its greatest `path_key`, and which files with that key were given.

    Two files share a key once in a blue moon; then they may stand on both sides of a page's end.
    """

    path_key: int
    given: frozenset[FileIdentity]


@dataclass(frozen=True)
class Page:
    """Some files (FILE_COLUMNS), and where the next page begins; None after the last one."""

    files: pa.RecordBatch
    end: Bookmark | None


def read_page(
    catalog: LightCatalog, table: TableRow, version: int, size: int, after: Bookmark | None
) -> Page:
    """The next `size` files of a version after a bookmark, in one indexed question."""
    given = after.given if after is not None else frozenset()
    where = live_predicate(table, version)
    if after is not None:
        where += f" AND path_key >= {after.path_key}"
    own = [c for c in FILE_COLUMNS if c != "partition_values"]
    picked = ", ".join(f"p.{c}" if c == "partition_values" else f"f.{c}" for c in FILE_COLUMNS)
    # One row more than wanted tells whether there is another page.
    rows = proven_rows(
        catalog.reader,
        table,
        version,
        (*FILE_COLUMNS, "path_key"),
        f"SELECT {picked}, f.path_key FROM (SELECT path_key, partition_id, {', '.join(own)} "
        f"FROM {load_files_name(table.live_load)} WHERE {where} "
        f"ORDER BY path_key LIMIT {size + len(given) + 1}) f "
        f"JOIN dl_partitions p ON p.load_id = {table.live_load} "
        "AND p.partition_id = f.partition_id",
    )
    rows.sort(key=itemgetter(-1))
    path, dv = FILE_COLUMNS.index("path"), FILE_COLUMNS.index("dv_id")
    fresh = [row for row in rows if not given or (row[path], row[dv]) not in given]
    end = None
    if len(fresh) > size:
        fresh = fresh[:size]
        last = fresh[-1][-1]
        at_end = frozenset((row[path], row[dv]) for row in fresh if row[-1] == last)
        still = given if after is not None and after.path_key == last else frozenset()
        end = Bookmark(last, at_end | still)
    schema = file_schema(FILE_COLUMNS)
    columns = list(zip(*fresh, strict=True))[:-1] if fresh else [()] * len(schema)
    arrays = [column_of(v, f.type) for v, f in zip(columns, schema, strict=True)]
    return Page(pa.RecordBatch.from_arrays(arrays, schema=schema), end)


class FilePages:
    """The pages of a version, read when they are asked for.

    At most `keep` pages stay in memory, the least recently used leave first. Iterating reads what
    isn't kept; with `keep` 0 it holds one page at a time and remembers nothing.
    """

    def __init__(self, read: Callable[[int, Bookmark | None], Page], size: int, keep: int) -> None:
        self._read = read
        self._size = size
        self._keep = keep
        self._kept: OrderedDict[int, Page] = OrderedDict()
        # Bookmark n is where page n begins; page 0 begins before all files.
        self._starts: list[Bookmark | None] = [None]
        self._count: int | None = None

    @property
    def kept(self) -> int:
        """Pages in memory."""
        return len(self._kept)

    def page(self, number: int) -> pa.RecordBatch:
        """Page `number`, from 0; those before it are walked through once to find its beginning.

        Raises INVALID_ARGUMENT for a page that isn't there. An empty table has one, empty, page.
        """
        while number >= len(self._starts) and self._count is None:
            self._at(len(self._starts) - 1)
        if number < 0 or number >= len(self._starts):
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"there is no page {number}; pages are 0 to {len(self._starts) - 1}",
                page=number,
            )
        return self._at(number).files

    def _at(self, number: int) -> Page:
        found = self._kept.get(number)
        if found is None:
            found = self._read(self._size, self._starts[number])
            if found.end is None:
                self._count = number + 1
            elif number + 1 == len(self._starts):
                self._starts.append(found.end)
            self._kept[number] = found
            while len(self._kept) > self._keep:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(number)
        return found

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self.first(None)

    def first(self, limit: int | None) -> Iterator[pa.RecordBatch]:
        """The pages of the first `limit` files; without pages to keep, no row more is read."""
        number, after, left = 0, None, limit
        while left is None or left > 0:
            if self._keep:
                found = self._at(number)
            else:
                found = self._read(self._size if left is None else min(self._size, left), after)
            files = found.files if left is None else found.files.slice(0, left)
            if files.num_rows:
                yield files
            if found.end is None:
                return
            number, after = number + 1, found.end
            left = None if left is None else left - files.num_rows
