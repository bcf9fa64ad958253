"""What a long write is about to put where, told to the catalog: `dl_staged_files`.

Vacuum leaves alone what is registered while its lease holds, and takes away what a dead writer
left without listing the table. A writer that was paused for longer than its lease doesn't commit
files that are gone: the commit deletes the write's own rows and has to find all of them, and vacuum
marks them as reaped, and commits that, before it deletes a file. Leases are dated by the database.

A write of less than `LATENT_SECONDS` isn't registered, so that small appends ask the database
nothing more; changes of rows aren't either. Only a vacuum that lists the table's folder could take
their files, which tells the commit so (`vacuum`).
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from deltalakedb.catalog.dialects.writer import Statement, Writer, insert
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.records import TableRow
from deltalakedb.error import DeltaLakeError

LATENT_SECONDS = 2.0
LEASE_SECONDS = 600
_RENEWALS = 4
"""How often a lease is renewed within the time that it holds."""
_ROWS = 500
_COLUMNS = ("token", "position", "table_key", "root", "path", "registered_at", "expires_at")


class Registration:
    """The files of one write to one table. `register` before an object's first byte; `tick` now
    and then; `close` when the write's outcome is known."""

    def __init__(self, catalog: LightCatalog, row: TableRow) -> None:
        self._database = catalog.reader.url
        self._row = row
        self._token = secrets.token_hex(16)
        self._began = time.monotonic()
        self._names: list[str] = []
        self._registered = 0
        self._process = os.getpid()
        self._ended: threading.Event | None = None

    def register(self, name: str) -> None:
        """An object that is about to be begun, relative to the table."""
        self._names.append(name)
        self.tick()

    def tick(self, _rows: int = 0) -> None:
        """Tell the catalog what it doesn't know yet, once the write has taken long enough."""
        new = len(self._names) > self._registered
        if new and time.monotonic() - self._began > LATENT_SECONDS:
            self._tell()

    def claims(self) -> tuple[Statement, ...]:
        """For a transaction before the commit: the same as `guards`, and the rows stay."""
        if not self._registered:
            return ()
        return (
            Statement(
                "UPDATE dl_staged_files SET expires_at = expires_at + 1 "
                "WHERE token = ? AND NOT reaped",
                (self._token,),
                rows=self._registered,
            ),
        )

    def guards(self) -> tuple[Statement, ...]:
        """For the commit: all rows are there and none was reaped. None for a short write."""
        if not self._registered:
            return ()
        return (
            Statement(
                "DELETE FROM dl_staged_files WHERE token = ? AND NOT reaped",
                (self._token,),
                rows=self._registered,
            ),
        )

    def close(self) -> None:
        """Leave no row behind; where that fails the lease runs out."""
        if self._ended is None or os.getpid() != self._process:
            return
        self._ended.set()
        with suppress(DeltaLakeError), writing(self._database) as writer:
            writer.transact(
                [
                    Statement(
                        "DELETE FROM dl_staged_files WHERE token = ? AND NOT reaped",
                        (self._token,),
                    )
                ]
            )

    def _tell(self) -> None:
        names = self._names[self._registered :]
        with writing(self._database) as writer:
            now = _now(writer)
            rows = [
                (
                    self._token,
                    self._registered + number,
                    self._row.table_key,
                    self._row.location,
                    name,
                    now,
                    now + LEASE_SECONDS * 1_000,
                    False,
                )
                for number, name in enumerate(names)
            ]
            writer.transact(
                [
                    insert("dl_staged_files", (*_COLUMNS, "reaped"), rows[start : start + _ROWS])
                    for start in range(0, len(rows), _ROWS)
                ]
            )
        self._registered += len(names)
        if self._ended is None:
            self._ended = threading.Event()
            args = (self._ended,)
            threading.Thread(target=self._renew, args=args, name="dl-staged", daemon=True).start()

    def _renew(self, ended: threading.Event) -> None:
        while not ended.wait(LEASE_SECONDS / _RENEWALS):
            # A database that is away may be back in time.
            with suppress(DeltaLakeError), writing(self._database) as writer:
                writer.transact(
                    [
                        Statement(
                            f"UPDATE dl_staged_files SET expires_at = {writer.now} + ? "
                            "WHERE token = ? AND NOT reaped",
                            (LEASE_SECONDS * 1_000, self._token),
                        )
                    ]
                )


def held(catalog: LightCatalog, row: TableRow) -> frozenset[str]:
    """Names that writes have registered and not committed, reaped ones left out."""
    found = catalog.reader.rows(
        "SELECT path FROM dl_staged_files WHERE root = ? AND NOT reaped",
        (row.location,),
    )
    return frozenset(path for (path,) in found)


def abandoned(catalog: LightCatalog, row: TableRow) -> list[str]:
    """Names of files whose writers are dead or were away for too long; in no version."""
    with writing(catalog.reader.url) as writer:
        found = writer.select(
            Statement(
                "SELECT path FROM dl_staged_files WHERE root = ? "
                f"AND (reaped OR expires_at < {writer.now}) ORDER BY token, position",
                (row.location,),
            )
        )
    return [path for (path,) in found]


def reaping(writer: Writer, row: TableRow) -> Statement:
    """Take abandoned files from their writers, which can't commit them from here on.

    By their place: who makes a table knows no key for it yet, and one that was dropped had another.
    """
    return Statement(
        "UPDATE dl_staged_files SET reaped = TRUE WHERE root = ? "
        f"AND NOT reaped AND expires_at < {writer.now}",
        (row.location,),
    )


def reaped(catalog: LightCatalog, row: TableRow) -> list[tuple[str, int, str]]:
    """Token, position and name of all that were taken and aren't forgotten (`removed`)."""
    with writing(catalog.reader.url) as writer:
        found = writer.select(
            Statement(
                "SELECT token, position, path FROM dl_staged_files WHERE root = ? AND reaped",
                (row.location,),
            )
        )
    return [(token, int(position), path) for token, position, path in found]


def removed(rows: Sequence[tuple[str, int, str]]) -> list[Statement]:
    """Forget files that are gone."""
    return [
        Statement(
            "DELETE FROM dl_staged_files WHERE token = ? AND position = ? AND reaped",
            (token, position),
        )
        for token, position, _ in rows
    ]


def _now(writer: Writer) -> int:
    [(now,)] = writer.select(Statement(f"SELECT {writer.now}"))
    return int(now)
