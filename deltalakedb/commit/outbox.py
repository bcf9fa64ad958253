"""The bytes of a commit, kept in SQL until they are durable in the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import xxhash

from deltalakedb.catalog.dialects.writer import Statement, insert
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.catalog.records import TableRow
from deltalakedb.commit.bodies import INLINE_BYTES, Body
from deltalakedb.database_url import DatabaseUrl

if TYPE_CHECKING:
    from deltalakedb.catalog.dialects.writer import Writer


@dataclass(frozen=True)
class OutboxRow:
    """A commit on its way to the log.

    `body` is the whole file, or the first lines of one whose rest is the staged file
    `staged_name` below `_delta_log`. `size` and `digest` are those of the whole.
    """

    version: int
    epoch: int
    body: bytes
    staged_name: str | None
    size: int
    digest: str
    created_at: int


_THE_SAME = (
    "EXISTS (SELECT 1 FROM dl_tables t "
    "WHERE t.table_key = ? AND t.table_id = ? AND t.log_location = ?)"
)
_FEW, _MOST = 4, 200
_HELD_BYTES = 32 << 20
_COLUMNS = ("version", "epoch", "body", "staged_name", "size", "digest", "created_at")


@dataclass(frozen=True)
class OutboxHead:
    """What says whether a file in the log is a commit's."""

    version: int
    size: int
    digest: str
    staged_name: str | None

    def is_whole(self, data: bytes) -> bool:
        """Whether these bytes are the commit's file."""
        return len(data) == self.size and xxhash.xxh3_128_hexdigest(data) == self.digest


def outbox_row(version: int, epoch: int, head: bytes, body: Body, now: int) -> OutboxRow:
    """The row of a commit made of first lines and a body, which may lie in a staged file."""
    if isinstance(body, bytes):
        whole = head + body
        digest = xxhash.xxh3_128_hexdigest(whole)
        return OutboxRow(version, epoch, whole, None, len(whole), digest, now)
    sums = xxhash.xxh3_128(head)
    for piece in body:
        sums.update(piece)
    size = len(head) + body.size
    return OutboxRow(version, epoch, head, body.name, size, sums.hexdigest(), now)


def put(table_key: int, row: OutboxRow) -> Statement:
    """INSERT of a row."""
    values = tuple(getattr(row, name) for name in _COLUMNS)
    return insert("dl_outbox", ("table_key", *_COLUMNS), [(table_key, *values)])


def waiting(writer: Writer, table: TableRow, after: int, limit: int) -> Sequence[OutboxRow]:
    """Rows of the versions after one, in order; an index range that skips what was deleted.

    None for a table that isn't there: its key may be another's by now, and so its log.
    """
    found = writer.select(
        Statement(
            f"SELECT {', '.join(_COLUMNS)} FROM dl_outbox "
            f"WHERE table_key = ? AND version > ? AND {_THE_SAME} "
            f"ORDER BY version LIMIT {int(limit)}",
            (table.table_key, after, table.table_key, table.table_id, table.log_location),
        )
    )
    return [OutboxRow(v, e, bytes(body), *rest) for v, e, body, *rest in found]


def each_waiting(database: DatabaseUrl, table: TableRow, after: int) -> Iterator[OutboxRow]:
    """`waiting`, however many there are: not more at a time than `_HELD_BYTES` of bodies.

    No transaction is open while they are gone through.
    """
    limit = _FEW
    while True:
        with writing(database) as writer:
            rows = waiting(writer, table, after, limit)
        yield from rows
        if len(rows) < limit:
            return
        after = rows[-1].version
        with writing(database) as writer:
            sizes = [min(h.size, INLINE_BYTES) for h in heads(writer, table, after, _MOST)]
        if not sizes:
            return
        limit = max(1, sum(held <= _HELD_BYTES for held in accumulate(sizes)))


def heads(writer: Writer, table: TableRow, after: int, limit: int) -> Sequence[OutboxHead]:
    """As `waiting`, without the bytes."""
    found = writer.select(
        Statement(
            "SELECT version, size, digest, staged_name FROM dl_outbox "
            f"WHERE table_key = ? AND version > ? AND {_THE_SAME} "
            f"ORDER BY version LIMIT {int(limit)}",
            (table.table_key, after, table.table_key, table.table_id, table.log_location),
        )
    )
    return [OutboxHead(*row) for row in found]
