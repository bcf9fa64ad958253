"""What a commit's file holds after its first lines: bytes, or a file beside the log.

A long body is written there as its lines are made, before the lock, and is never held whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from deltalakedb.commit.committer import Ratifier
    from deltalakedb.commit.staged import StagedTable

INLINE_BYTES = 4 << 20
"""Above this a commit's body lies in a staged file; servers take messages of 16 MB or less."""


class StagedBody(Protocol):
    """A body that lies in a file, relative to `_delta_log`; gone through some bytes at a time."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int: ...

    def __iter__(self) -> Iterator[bytes]: ...


Body: TypeAlias = "bytes | StagedBody"


class Bodies:
    """The bodies of one call's tables, each made once."""

    def __init__(self, ratifier: Ratifier) -> None:
        self._ratifier = ratifier
        self._made: dict[int, tuple[StagedTable, Body]] = {}

    def make(self, table: StagedTable) -> None:
        """Before the lock, what isn't another one with its rows' ids, which the lock tells."""
        if not (table.tracks_rows and table.added.num_rows):
            self.of(table)

    def of(self, table: StagedTable) -> Body:
        """The body of a table's commit."""
        if id(table) not in self._made:
            self._made[id(table)] = table, self._made_of(table)
        return self._made[id(table)][1]

    def _made_of(self, table: StagedTable) -> Body:
        begun, size = [], 0
        lines = table.lines()
        for piece in lines:
            begun.append(piece)
            size += len(piece)
            if size > INLINE_BYTES:
                return self._ratifier.stage(table.table, chain(begun, lines))
        return b"".join(begun)

    def keep(self, names: Sequence[str | None]) -> None:
        """Remove the files beside the log of what isn't committed: all but those that are named."""
        for table, body in self._made.values():
            if not isinstance(body, bytes) and body.name not in names:
                self._ratifier.discard(table.table, body.name)
