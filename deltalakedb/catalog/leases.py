"""Leases: what one process at a time may do, as rows of the catalog.

A row survives a pool that lends each transaction another session, and whoever held it is found out
when it goes on after a pause: its token isn't there any more. Time is the database's.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading

import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.commit_tables import leases
from deltalakedb.catalog.holder import holder, is_dead
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

_RENEWALS = 3
"""How often a lease is renewed within the time that it holds."""
_given_up: set[str] = set()
"""Tokens of leases that this process has ended while their database was away."""


class Lease:
    """A claim to `name` that is renewed until it is released, or until its process is.

    `token`: what every piece of bookkeeping under it asks for.
    """

    def __init__(self, catalog: Catalog, name: str, seconds: float | None = None) -> None:
        self.name = name
        self.token = secrets.token_hex(16)
        self._catalog = catalog
        self._milliseconds = round((seconds or catalog.dialect.lease_seconds) * 1000)
        self._process = os.getpid()
        self._ended = threading.Event()

    def held(self) -> bool:
        """Renew it; False when another has taken it, after this process was gone too long."""
        with self._catalog.write() as connection:
            return self._renewed(connection)

    def check(self, connection: sa.Connection) -> None:
        """In a transaction that writes under the lease: what it writes is seen only under it.

        Raises CONCURRENCY_ERROR when another has taken it; it can't, until the transaction ends.
        """
        if not self._renewed(connection):
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONCURRENCY_ERROR,
                "the lease was lost, as this process was silent for too long, and another took "
                "it; nothing was changed, run again",
                lease=self.name,
            )

    def release(self) -> None:
        """Give it up; does nothing in a fork of the process that took it, or when it is lost."""
        self._ended.set()
        if os.getpid() != self._process:
            return
        # What can't be told now is told by its time, by this process's end, or to this process.
        _given_up.add(self.token)
        with contextlib.suppress(DeltaLakeError), self._catalog.write() as connection:
            connection.execute(leases.delete().where(self._mine))
            _given_up.discard(self.token)

    @property
    def _mine(self) -> sa.ColumnElement[bool]:
        return sa.and_(leases.c.name == self.name, leases.c.token == self.token)

    @property
    def _expiry(self) -> sa.ColumnElement[int]:
        return sa.literal_column(f"{self._catalog.dialect.clock_ms} + {self._milliseconds}")

    def _renewed(self, connection: sa.Connection) -> bool:
        renewed = connection.execute(
            leases.update().where(self._mine).values(expires_at=self._expiry)
        )
        return renewed.rowcount == 1

    def _taken(self) -> bool:
        with self._catalog.write() as connection:
            found = self._row(connection)
            if found is None:
                empty = {"holder": "", "token": "", "acquired_at": 0, "expires_at": 0}
                insert = self._catalog.dialect.insert_ignoring(leases)
                connection.execute(insert.values(name=self.name, **empty))
                found = self._row(connection)
            is_free = found is not None and (found.expired or is_dead(found.holder))
            if found is None or not (is_free or found.token in _given_up):
                return False
            connection.execute(
                leases.update()
                .where(leases.c.name == self.name)
                .values(
                    holder=holder(),
                    token=self.token,
                    acquired_at=sa.literal_column(self._catalog.dialect.clock_ms),
                    expires_at=self._expiry,
                )
            )
        return True

    def _row(self, connection: sa.Connection) -> sa.Row[tuple[str, str, bool]] | None:
        expired = leases.c.expires_at <= sa.literal_column(self._catalog.dialect.clock_ms)
        query = sa.select(
            leases.c.holder, leases.c.token, sa.case((expired, 1), else_=0).label("expired")
        )
        locking = self._catalog.dialect.for_update(query.where(leases.c.name == self.name))
        return connection.execute(locking).first()

    def _renew(self) -> None:
        """Renew it from time to time, over connections beside the pool, which may be of one."""
        engine = self._catalog.dialect.engine(poolclass=sa.NullPool)
        pause = self._milliseconds / 1000 / _RENEWALS
        while not self._ended.wait(pause):
            # A database that is away may be back in time.
            with (
                contextlib.suppress(DeltaLakeError),
                self._catalog.dialect.errors(),
                self._catalog.dialect.begin(engine) as connection,
            ):
                if not self._renewed(connection):
                    return


def acquire(catalog: Catalog, name: str, seconds: float | None = None) -> Lease | None:
    """Take the lease of `name` (255 characters) for this process; None while another holds it.

    It holds for `seconds` from its last renewal (None: as the dialect says), and is renewed by a
    thread. One whose time is over, or whose holder is known to be dead, is taken at once.
    """
    lease = Lease(catalog, name, seconds)
    if not lease._taken():
        return None
    threading.Thread(target=lease._renew, name=f"lease {name}", daemon=True).start()
    return lease
