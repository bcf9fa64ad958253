"""Who ratifies a commit: the seam between the catalog's transaction and the log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from deltalakedb.catalog.records import TableRow
from deltalakedb.commit.bodies import StagedBody
from deltalakedb.commit.heads import LockedHead
from deltalakedb.commit.outbox import OutboxRow


class Ratifier(Protocol):
    """What the log has to say. `commit` knows no store; `mirror` implements this."""

    def check_log(self, table: TableRow) -> int:
        """The newest version in the log, -1 for none: before the lock, on a first commit.

        A catalog whose head is below it has been restored, or the log was written by others.
        """
        ...

    def is_ahead(self, table: TableRow, head: LockedHead) -> bool:
        """Whether a log has what a catalog at `head` can't know of; asked under the lock.

        The slot after the head is taken, or the newest published commit is gone, as after a
        cleanup. False where the log ratifies itself, and of one that is far away.
        """
        ...

    def is_far(self, table: TableRow) -> bool:
        """Whether the log answers over a network, too late to be asked under the lock."""
        ...

    def stage(self, table: TableRow, pieces: Iterable[bytes]) -> StagedBody:
        """Put a body that is too long for SQL beside the log, durably, under a name of its own."""
        ...

    def discard(self, table: TableRow, name: str) -> None:
        """Remove a body that isn't committed."""
        ...

    def ratify(self, table: TableRow, row: OutboxRow) -> bool:
        """Put the version into the log, durably: authority `log`. Nothing is locked meanwhile.

        False when another has taken the slot. Whatever it raises, the version may be there.
        """
        ...

    def adopt(self, table: TableRow) -> None:
        """Bring the catalog up to a log that others wrote to."""
        ...

    def relieve(self, table: TableRow) -> None:
        """Publish what waits, where more does than the table allows."""
        ...
