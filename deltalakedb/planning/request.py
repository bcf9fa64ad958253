"""What may be asked of a version's files, and what the answer is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deltalakedb.record import record

if TYPE_CHECKING:
    import pyarrow as pa

    from deltalakedb.catalog.reading.catalog import PartitionRow
    from deltalakedb.catalog.records import TableRow
    from deltalakedb.predicate.tree import Expr

FILE_COLUMNS = (
    "path",
    "size",
    "modification_time",
    "num_records",
    "partition_values",
    "dv_id",
    "stats",
)
"""The columns of a listing, in their order."""

PLAN_COLUMNS = (
    "path",
    "size",
    "partition_values",
    "modification_time",
    "num_records",
    "dv_id",
    "dv",
    "stats",
    "base_row_id",
    "default_row_commit_version",
)
"""Columns of a plan: those of FileRows (`log.rows`); paths are raw, as in the log."""

ROWS_AT_ONCE = 20_000
"""Up to here a result is fetched row by row; more is streamed in bulk."""
IDS_IN_SQL = 10_000
"""Up to here ids of partitions are listed in a statement."""


@record(frozen=True)
class Step:
    """What a step of planning left: `files` (None: not counted there), how, in how many ms."""

    name: str
    files: int | None
    detail: str
    milliseconds: float


@dataclass
class Plan:
    """The files that may match, and how they were found."""

    files: pa.Table
    steps: list[Step] = field(default_factory=list)
    partitions: int | None = None
    """How many the load has; None: nobody looked."""
    readable: bool = True
    """Whether the partition values that the predicate is about are values of their types."""


@record(frozen=True)
class PlanRequest:
    """One question: which files of `version` may hold rows that satisfy `predicate`."""

    table: TableRow
    version: int
    partition_columns: tuple[str, ...]
    predicate: Expr | None
    columns: tuple[str, ...]


@record(frozen=True)
class PartitionGroup:
    """Partitions with one question left to their files.

    `predicate` None: none, all their files match; `partitions` None: all there are.
    """

    predicate: Expr | None
    partitions: list[PartitionRow] | None
