"""A lease as a row: who tends a table's log. Dated by the database's clock.

Locks of a session would stay with a pooled server connection (pgbouncer, ProxySQL), whoever uses
it next. A lease that was lost is noticed where it matters: whatever it guards says
`AND EXISTS (…token…)` in the same transaction.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from deltalakedb.catalog.dialects.writer import Statement, Writer, WrongCountError, insert
from deltalakedb.catalog.holder import holder, is_dead
from deltalakedb.catalog.records import TableRow
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

LEASE_SECONDS = 10


@dataclass(frozen=True)
class Lease:
    """A claim under a name, ours while the row has our token."""

    name: str
    token: str
    seconds: float = LEASE_SECONDS

    def held(self) -> Statement:
        """A statement that touches one row while the lease is ours, and extends it."""
        return Statement(
            "UPDATE dl_leases SET expires_at = {now} + ? WHERE name = ? AND token = ?",
            (round(self.seconds * 1000), self.name, self.token),
            rows=1,
        )


def lease_name(table: TableRow) -> str:
    """The lease of whoever tends a table's log."""
    return f"mirror/{table.table_id}"


def acquire(writer: Writer, name: str, seconds: float = LEASE_SECONDS) -> Lease | None:
    """The lease, unless another holds it and hasn't let it expire."""
    lease = Lease(name, secrets.token_hex(16), seconds)
    held = writer.select(
        Statement(
            f"SELECT holder, token, expires_at < {writer.now} FROM dl_leases WHERE name = ?",
            (name,),
        )
    )
    if held:
        [(before, token, is_over)] = held
        if not is_over and not is_dead(before):
            return None
        taken = Statement(
            f"UPDATE dl_leases SET holder = ?, token = ?, acquired_at = {writer.now}, "
            f"expires_at = {writer.now} + ? WHERE name = ? AND token = ?",
            (holder(), lease.token, round(seconds * 1000), name, token),
            rows=1,
        )
        try:
            writer.transact([taken], relaxed=True)
            return lease
        except WrongCountError:
            return None
    new = insert(
        "dl_leases",
        ("name", "holder", "token", "acquired_at", "expires_at"),
        [(name, holder(), lease.token, 0, 0)],
    )
    try:
        writer.transact([new, extended(writer, lease)], relaxed=True)
    except DeltaLakeError as error:
        if error.kind is DeltaLakeErrorKind.AUTHENTICATION_ERROR:
            raise
        # Another was faster, and its row is there; any other failure will show again.
        return None
    return lease


def acquire_free(writer: Writer, name: str, seconds: float) -> Lease | None:
    """The lease in one message where it is free, else as `acquire`: that asks first."""
    lease = Lease(name, secrets.token_hex(16), seconds)
    taken = Statement(
        f"UPDATE dl_leases SET holder = ?, token = ?, acquired_at = {writer.now}, "
        f"expires_at = {writer.now} + ? WHERE name = ? AND expires_at < {writer.now}",
        (holder(), lease.token, round(seconds * 1000), name),
        rows=1,
    )
    try:
        writer.transact([taken], relaxed=True)
    except WrongCountError:
        return acquire(writer, name, seconds)
    return lease


def extended(writer: Writer, lease: Lease) -> Statement:
    """Renew it; WrongCountError where it is no longer ours."""
    found = lease.held()
    return found._replace(sql=found.sql.replace("{now}", writer.now))


def release(writer: Writer, lease: Lease) -> None:
    """Let others have it at once."""
    writer.transact(
        [
            Statement(
                "UPDATE dl_leases SET expires_at = 0 WHERE name = ? AND token = ?",
                (lease.name, lease.token),
            )
        ],
        relaxed=True,
    )
