"""Answers about rows that prove themselves: what was read was the whole of it.

Rows of a load may be deleted, or end, once another load is live, or once versions are pruned.
So every question carries a sentinel, in the same statement: a row of nulls that is there only
while the load is live and the version within what it knows. First another load becomes live, or
`known_since` moves, and that is committed; then rows go. A question that finds the sentinel has
therefore found all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

if TYPE_CHECKING:
    import pyarrow as pa

    from deltalakedb.catalog.dialects.reader import Reader
    from deltalakedb.catalog.records import TableRow


class LoadReplacedError(DeltaLakeError):
    """What was asked of a load is no longer its to answer; ask the table's newest load."""

    def __init__(self, table: TableRow, version: int) -> None:
        super().__init__(
            DeltaLakeErrorKind.CONCURRENCY_ERROR,
            f"the rows of table {table.full_name} at version {version} were replaced or pruned "
            "while they were read, or the database that was asked lags behind; ask again",
            table=table.full_name,
            version=version,
        )


def proven(table: TableRow, version: int, columns: Sequence[str], select: str) -> str:
    """`select` (of `columns`, without LIMIT and ORDER BY) with its sentinel."""
    nulls = ", ".join(f"NULL AS {name}" for name in columns)
    return (
        f"SELECT {nulls} FROM dl_heads WHERE table_key = {table.table_key} "
        f"AND live_load = {table.live_load} AND known_since <= {version} "
        f"AND head_version >= {version} UNION ALL {select}"
    )


def proven_rows(
    reader: Reader,
    table: TableRow,
    version: int,
    columns: Sequence[str],
    select: str,
    params: Sequence[Any] = (),
    *,
    key: int = 0,
) -> list[tuple[Any, ...]]:
    """The rows of a small result, in no order. Column number `key` is never null in them.

    Raises LoadReplacedError.
    """
    rows = reader.rows(proven(table, version, columns, select), params)
    for place, row in enumerate(rows):
        if row[key] is None:
            return rows[:place] + rows[place + 1 :] if place else rows[1:]
    raise LoadReplacedError(table, version)


def proven_batches(
    batches: Iterable[pa.RecordBatch], table: TableRow, version: int, key: str
) -> Iterator[pa.RecordBatch]:
    """The batches of a proven question without its sentinel; none before it was seen.

    Column `key` is never null in the rows themselves. Raises LoadReplacedError.
    """
    waiting: list[pa.RecordBatch] = []
    seen = False
    for batch in batches:
        if not seen and batch.column(key).null_count:
            seen = True
            batch = batch.filter(batch.column(key).is_valid())
            yield from waiting
            waiting = []
        if not batch.num_rows:
            continue
        if seen:
            yield batch
        else:
            waiting.append(batch)
    if not seen:
        raise LoadReplacedError(table, version)


def complete_batches(
    batches: Iterable[pa.RecordBatch], table: TableRow, version: int, expected: tuple[int, int]
) -> Iterator[pa.RecordBatch]:
    """A version's whole list, as it comes. Raises at its end unless it adds up to `expected`.

    `expected`: files and bytes, as they were counted when the version was added; bytes are
    compared where the batches have a `size`.
    """
    files = size = 0
    sized = True
    for batch in batches:
        files += batch.num_rows
        sized = "size" in batch.schema.names
        if sized:
            size += _total(batch)
        yield batch
    compare_totals(table, version, expected, files, size if sized else None)


def check_complete(
    files: pa.Table, table: TableRow, version: int, expected: tuple[int, int]
) -> None:
    """As `complete_batches`, of a list that is there already."""
    size = _total(files) if "size" in files.schema.names else None
    compare_totals(table, version, expected, files.num_rows, size)


def _total(files: pa.RecordBatch | pa.Table) -> int:
    import pyarrow.compute as pc

    return pc.sum(files.column("size")).as_py() or 0


def compare_totals(
    table: TableRow, version: int, expected: tuple[int, int], files: int, size: int | None
) -> None:
    """DATABASE_ERROR unless a version has as many files, and bytes (None: not counted), as it had
    when it was added."""
    if files == expected[0] and size in (None, expected[1]):
        return
    raise DeltaLakeError(
        DeltaLakeErrorKind.DATABASE_ERROR,
        f"the catalog lists {files} files of {size or 0} bytes for version {version} of table "
        f"{table.full_name}, and counted {expected[0]} of {expected[1]} when it was added; run "
        "`dl diff`, then import the table anew with --rebuild",
        table=table.full_name,
        version=version,
    )
