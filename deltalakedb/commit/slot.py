"""A version of a log, reserved: where the log ratifies, nothing is locked while a store is asked.

Such a commit is a transaction that checks it and reserves the version, the put into the log, and a
transaction that writes its rows. The reservation is a row with a holder and an expiry: who comes
meanwhile waits for it, and passes over a holder that is dead or silent for too long. It keeps no
two writers apart, that the put alone does, if absent; but it tells whoever deletes files that the
log may get a version yet that names them.
"""

from __future__ import annotations

from dataclasses import dataclass

import xxhash

from deltalakedb.catalog.dialects.writer import Statement, Writer
from deltalakedb.catalog.holder import holder, is_dead
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

SLOT_SECONDS = 10
"""How long a holder may be silent while others wait."""


def slot_name(table_id: str) -> str:
    """The row of `dl_leases` that a table's reservation is."""
    return f"slot/{table_id}"


@dataclass(frozen=True)
class Reservation:
    """A row as it was found. `token` begins with the version."""

    expires_at: int
    token: str
    holder: str

    @property
    def version(self) -> int:
        """The version that is reserved."""
        return int(self.token.partition("/")[0])

    @property
    def is_abandoned(self) -> bool:
        """Whether its holder is known to be dead, so that it puts nothing any more."""
        return is_dead(self.holder)

    def holds(self, now: int) -> bool:
        """Whether others wait for it at a time of the database."""
        return self.expires_at > now and not self.is_abandoned


@dataclass
class Slot:
    """What a commit, by its token, reserves of one table."""

    table_id: str
    commit: str
    token: str = ""

    def is_ours(self, found: Reservation) -> bool:
        """Whether an earlier attempt of the same commit has made it."""
        return found.token.partition("/")[2] == self._mark

    @property
    def _mark(self) -> str:
        return xxhash.xxh3_128_hexdigest(self.commit.encode())

    def reserve(self, writer: Writer, version: int) -> list[Statement]:
        """Under the lock of the head: it is ours, whoever had it."""
        self.token = f"{version}/{self._mark}"
        name = slot_name(self.table_id)
        return [
            Statement("DELETE FROM dl_leases WHERE name = ?", (name,)),
            Statement(
                "INSERT INTO dl_leases (name, holder, token, acquired_at, expires_at) "
                f"VALUES (?, ?, ?, {writer.now}, {writer.now} + ?)",
                (name, holder(), self.token, SLOT_SECONDS * 1_000),
            ),
        ]

    def free(self) -> Statement:
        """Others need not wait any longer."""
        return Statement(
            "DELETE FROM dl_leases WHERE name = ? AND token = ?",
            (slot_name(self.table_id), self.token),
        )


def taken(name: str, found: Reservation) -> DeltaLakeError:
    """The error for who has waited for long enough."""
    return DeltaLakeError(
        DeltaLakeErrorKind.TIMEOUT_ERROR,
        f"version {found.version} of {name} is being put into its log by {found.holder}; run "
        "again, or end that process if it hangs",
        holder=found.holder,
        version=found.version,
    )
