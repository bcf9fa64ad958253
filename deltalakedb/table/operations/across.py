"""Appends of several processes as one commit: who has the table's lease takes along what waits.

The lease only keeps versions from being many; whether an append is committed once is decided by its
row in `dl_waiting`, which the commit takes away (`commit.waiting`). So whoever holds the lease may
die or stand still: the others go on when it has run out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.catalog.holder import is_dead
from deltalakedb.commit import waiting
from deltalakedb.commit.version import Committed
from deltalakedb.commit.waiting import Appends, Found
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.mirror.committer import LogRatifier
from deltalakedb.mirror.lease import Lease, acquire_free, release
from deltalakedb.mirror.publish import log_of, put_seconds
from deltalakedb.table.operations.joint import (
    Append,
    commit_here,
    commit_joined,
    joined,
    tokens,
)
from deltalakedb.table.transaction import publish

SLOW_SECONDS = 0.005
"""From here on a put into the log is worth waiting for others."""
LEASE_SECONDS = 3.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.004, 0.008
_GATHERING_PAUSE = 0.001
_GATHERED_SHARE = 0.5
"""Of the time of a put, that others are waited for who came the last time."""
_MOST = 100
"""Rows that are looked at for one version."""
_MOST_APPENDS = 1_000
"""Appends in one version: each has a token to ask for."""
_ATTEMPTS = 3

_company: dict[tuple[int, DatabaseUrl, int], int] = {}
"""By process, database and table: how many processes' appends waited together the last time.

Their calls return at the same time, so that they come again within a moment: whoever is first and
doesn't wait for the others has a put of its own, which all of them then wait for.
"""


def commit(some: Sequence[Append]) -> None:
    """Commit appends of this process with those of others, or let another one take them along.

    Each has an outcome then. Where a put takes no time there is nothing to wait for, and what the
    catalog is asked costs more than it saves.
    """
    first = some[0]
    put = put_seconds(log_of(first.base.row, first.base.storage_options))
    if put is None or put < SLOW_SECONDS:
        commit_here(some)
        return
    turn = _Turn(some, put)
    try:
        turn.run()
    except DeltaLakeError as error:
        for each in some:
            if each.outcome is None:
                each.outcome = turn.unknown(each, error) if turn.name else error


class _Turn:
    def __init__(self, some: Sequence[Append], put: float) -> None:
        """`put`: the seconds that a put into the log takes."""
        self._some = some
        self._put = put
        first = some[0]
        self._url = first.catalog.reader.url
        self._table = first.base.row
        self._lease_name = f"group/{self._table.table_id}"
        self._key = (os.getpid(), self._url, self._table.table_key)
        staged = joined([each.staged for each in some])
        began = 0.0 if staged.began is None else (time.monotonic() - staged.began) * 1_000
        self._mine = Appends(staged, tokens(some), began)
        self.name: str | None = None
        """Of our row, from when on others may commit it."""

    def run(self) -> None:
        deadline = time.monotonic() + self._some[0].options.wait
        pause = _FIRST_PAUSE
        if self._led():
            return
        if not self._wait():
            commit_here(self._some)
            return
        while True:
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            found = self._found()
            # Who commits has no row.
            _company[self._key] = max(_company.get(self._key, 1), found.waiting + 1)
            if found.version is not None:
                self._settle(found)
                return
            if not found.is_there or (time.monotonic() > deadline and self._withdrawn()):
                commit_here(self._some)
                return
            if (found.holder is None or is_dead(found.holder)) and self._led():
                return

    def _led(self) -> bool:
        """Commit all that waits, where nobody else is at it; False where somebody is."""
        with writing(self._url) as writer:
            lease = acquire_free(writer, self._lease_name, LEASE_SECONDS)
        if lease is None:
            return False
        try:
            self._gather()
            return any(self._taken() for _ in range(_ATTEMPTS))
        finally:
            self._release(lease)

    def _gather(self) -> None:
        """Wait a moment for those who came along the last time."""
        many = _company.get(self._key, 1)
        end = time.monotonic() + _GATHERED_SHARE * min(self._put, LEASE_SECONDS / 4)
        own = self.name is None
        while many > 1 and time.monotonic() < end:
            with writing(self._url) as writer:
                if waiting.count(writer, self._table) + own >= many:
                    return
            time.sleep(_GATHERING_PAUSE)

    def _taken(self) -> bool:
        kind = self._mine.kind
        with writing(self._url) as writer:
            rows = waiting.of_kind(writer, self._table, kind, _MOST)
        if self.name is not None and self.name not in {row.name for row in rows}:
            # Another has taken it, or sent it away.
            return False
        parts, names = self._fitting(rows)
        _company[self._key] = len(parts)
        if not names:
            commit_here(self._some)
            return True
        members = [token for part in parts for token in part.tokens]
        staged = joined([part.staged for part in parts])
        takes = (waiting.taken(self._table, names),)
        try:
            result = commit_joined(self._some, staged, [*members, *names], takes)
        except DeltaLakeError as error:
            if error.outcome != "failed":
                for each in self._some:
                    each.failed(error)
                return True
            if error.facts.get("rule") == "not_live":
                # Some of them wait no longer.
                return False
            return self._parted(names)
        for each in self._some:
            each.done(result)
        return True

    def _parted(self, names: Sequence[str]) -> bool:
        """The fault of one of them: each process finds out by itself whose."""
        with writing(self._url) as writer:
            waiting.send_away(writer, self._table, [name for name in names if name != self.name])
        if self.name is not None and not self._withdrawn():
            return False
        commit_here(self._some)
        return True

    def _fitting(self, rows: Sequence[waiting.Waiting]) -> tuple[list[Appends], list[str]]:
        """Our appends and those of others that can be one commit with them; the rows' names."""
        parts, names = [self._mine], [self.name] if self.name else []
        known = set(self._mine.tokens)
        apps = {str(txn["appId"]) for txn in self._mine.staged.txns}
        for row in rows:
            if row.name == self.name:
                continue
            theirs = row.appends(self._mine.staged)
            mine = {str(txn["appId"]) for txn in theirs.staged.txns}
            too_many = len(known) + len(theirs.tokens) > _MOST_APPENDS
            if mine & apps or known & set(theirs.tokens) or too_many:
                continue
            parts.append(theirs)
            names.append(row.name)
            apps |= mine
            known |= set(theirs.tokens)
        return parts, names

    def _wait(self) -> bool:
        """Let others take the appends along; False for what is too large for that."""
        body = self._mine.body()
        if len(body) > waiting.MOST_BYTES:
            return False
        with writing(self._url) as writer:
            self.name = waiting.put(writer, self._table, self._mine.kind, body)
        return True

    def _found(self) -> Found:
        assert self.name is not None
        with writing(self._url) as writer:
            return waiting.find(writer, self._table, self.name, self._lease_name)

    def _withdrawn(self) -> bool:
        """Whether nobody else can commit our appends any more."""
        assert self.name is not None
        with writing(self._url) as writer:
            return waiting.withdraw(writer, self._table, self.name)

    def _release(self, lease: Lease) -> None:
        with writing(self._url) as writer:
            release(writer, lease)

    def _settle(self, found: Found) -> None:
        """Another has committed them: wait for the log, as whoever commits does."""
        first = self._some[0]
        assert found.version is not None
        staged, time_ms = self._mine.staged, found.commit_time or 0
        done = Committed(staged, found.version, time_ms, None)
        ratifier = LogRatifier(self._url, first.base.storage_options)
        result = publish(ratifier, done, first.options)
        for each in self._some:
            each.done(result)

    def unknown(self, each: Append, error: DeltaLakeError) -> DeltaLakeError:
        """The error where others may have committed an append, and can't be asked."""
        if error.outcome == "committed":
            return error
        return DeltaLakeError(
            DeltaLakeErrorKind.COMMIT_UNKNOWN,
            f"an append to {self._table.full_name} waited for others to take it along, and what "
            f"became of it can't be asked ({error}); run the same write with "
            f"token={each.options.token!r}: it finds what became of it",
            token=each.options.token,
        )
