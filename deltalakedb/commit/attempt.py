"""One attempt to commit: lock, check, write. PROTOCOL.md, "Delta Log Entries"."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from deltalakedb.catalog.dialects.writer import (
    LostConnectionError,
    Statement,
    Writer,
    WrongCountError,
    joined,
)
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.catalog.records import TableRow
from deltalakedb.commit import metrics
from deltalakedb.commit.bodies import Bodies
from deltalakedb.commit.committer import Ratifier
from deltalakedb.commit.conflict import Ours, check, tracks_rows
from deltalakedb.commit.create import make
from deltalakedb.commit.heads import Locked, LockedHead, lock, stands, winners
from deltalakedb.commit.matching import Matching
from deltalakedb.commit.naming import Dropped, change_names, unpublished
from deltalakedb.commit.refusal import (
    catalog_behind,
    dropped,
    files_taken,
    log_exists,
    not_live,
    not_the_same,
)
from deltalakedb.commit.slot import Slot, taken
from deltalakedb.commit.staged import StagedCommit, StagedTable, VectorClash
from deltalakedb.commit.version import Committed, Version, group_row
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

_PAUSE_SECONDS = 0.003

checked: dict[tuple[int, DatabaseUrl, int], str] = {}
"""By process, database and table: the incarnation of the server at whose word the log was held
against the head."""


united: set[tuple[DatabaseUrl, int]] = set()
"""Tables of a database whose last commit of vectors here was made anew under the lock."""


class RestartError(Exception):
    """What was read isn't what is locked: read again."""


class Attempt:
    """One transaction, or the two that it takes where the log ratifies."""

    def __init__(
        self,
        writer: Writer,
        staged: StagedCommit,
        ratifier: Ratifier,
        bodies: Bodies,
        newest: Mapping[int, int],
        max_unpublished: int,
        holds: bool,
        put: int,
    ) -> None:
        self._writer = writer
        self._staged = staged
        self._ratifier = ratifier
        self._bodies = bodies
        self._newest = newest
        self.is_far = any(ratifier.is_far(each.table) for each in staged.tables)
        self._max_unpublished = max_unpublished
        self._holds = holds
        """Whether vectors are united under the lock even where that takes time: among many writers
        of one file, whoever lets it go for that may never be in time."""
        self._changed: dict[int, StagedTable] = {}
        self._crowded: list[TableRow] = []
        self._behind: list[StagedTable] = []
        self._slots = {
            table.table.table_key: Slot(table.table.table_id, staged.token)
            for table in staged.tables
            if table.is_ratified_by_log and not table.makes_table
        }
        self._slot: Slot | None = None
        self.put = put
        """The version that was put into the log without an answer; -1 where no such put is under
        way, since another has the slot."""
        self.sent = False

    def run(self, wait: float) -> list[Committed]:
        with metrics.locking():
            locked = self._lock(wait)
        repeated = self.repeated(locked, own=self.put >= 0)
        if (
            self.put >= 0
            and locked.heads[self._staged.tables[0].table.table_key].head_version >= self.put
        ):
            self.put = -1
        if repeated is not None:
            self._writer.rollback()
            return repeated
        for table in self._staged.tables:
            if not table.makes_table:
                self.check_head(table, locked)
        if self._staged.name_changes:
            self._change_names()
        self._staged = make(self._writer, self.again(), locked)
        done: list[Committed] = []
        statements: list[Statement] = []
        versions = [
            (t.table.table_id, locked.heads[t.table.table_key].head_version + 1)
            for t in self._staged.tables
            if not t.is_empty
        ]
        for table in self._staged.tables:
            if not table.is_empty:
                version = Version(self._writer, self._staged, table, locked, versions)
                try:
                    done.append(version.committed(self._bodies))
                except WrongCountError:
                    raise not_live(table.table) from None
                statements += [*version.statements, *table.guards, *table.takes]
        if self._staged.group_id is not None:
            statements.append(group_row(self._staged, versions, locked.now))
        for each in done:
            if each.table.makes_table and each.table.is_ratified_by_log:
                self._begin_log(each)
            elif each.table.is_ratified_by_log:
                statements.append(self._ratify(each, locked, wait))
        self._commit(statements if len(done) == 1 else joined(statements))
        for table in self._staged.tables:
            table.forget_rows()
            if table.table.table_key not in self._changed:
                united.discard((self._writer.url, table.table.table_key))
            key = (os.getpid(), self._writer.url, table.table.table_key)
            checked[key] = locked.incarnation
        return done

    def _change_names(self) -> None:
        changes = self._staged.name_changes
        self._crowded += unpublished(self._writer, changes)
        if self._crowded:
            raise RestartError
        change_names(self._writer, changes)

    def _commit(self, statements: Sequence[Statement]) -> None:
        try:
            self._send(statements)
        except LostConnectionError:
            raise
        except DeltaLakeError as error:
            if self.put >= 0:
                # The log has it, so it is committed whatever the database says: adopt it.
                raise LostConnectionError(str(error)) from error
            raise

    def _send(self, statements: Sequence[Statement]) -> None:
        self.sent = True
        try:
            self._writer.commit(statements)
        except WrongCountError:
            raise not_live(self._staged.tables[0].table) from None

    def again(self) -> StagedCommit:
        """The commit for another attempt, with what was made anew."""
        if not self._changed:
            return self._staged
        tables = tuple(
            self._changed.get(table.table.table_key, table) for table in self._staged.tables
        )
        return replace(self._staged, tables=tables)

    def help_out(self) -> None:
        """Outside the transaction: what the next attempt needs others not to be in the way of."""
        self.give_up()
        for row in self._crowded:
            self._ratifier.relieve(row)
        for table in self._behind:
            self._ratifier.adopt(table.table)

    def own(self, locked: Locked) -> list[Committed] | None:
        """What this call has committed, whose answer was lost."""
        return self.repeated(locked, own=True)

    def repeated(self, locked: Locked, *, own: bool = False) -> list[Committed] | None:
        """What a call with this token, or with these app versions, has committed.

        `own`: the token is there because of this call, whose answer was lost.
        """
        found = []
        gone = {c.table.table_id for c in self._staged.name_changes if isinstance(c, Dropped)}
        for table in self._staged.tables:
            if table.table.table_id in gone:
                continue
            if table.makes_table:
                key = locked.made.get(table.table.table_id)
                if key is not None:
                    known = replace(table, table=replace(table.table, table_key=key))
                    found.append(Committed(known, 0, 0, None, not own))
                continue
            head = _head_of(locked, table)
            version = head.committed if own or head.committed is not None else head.gathered
            # Of members others may have made another commit.
            for txn in () if own and self._staged.members else table.txns:
                stored = head.txns.get(str(txn["appId"]))
                if version is None and stored is not None and stored[0] >= int(txn["version"]):
                    version = stored[1]
            if version is not None:
                again = not own or head.committed is None
                found.append(Committed(table, version, 0, None, again, head.published_version))
        if not found:
            # What only drops tables leaves no token behind.
            is_done = own and gone and not {h.table_id for h in locked.heads.values()} & gone
            return [] if is_done else None
        if self._staged.members and not own:
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONCURRENCY_ERROR,
                "one of the appends that were gathered was committed before; commit each alone",
                rule="repeated",
            )
        writes = [table for table in self._staged.tables if not table.is_empty]
        if len(found) < len(writes):
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONCURRENCY_ERROR,
                "some tables of this transaction hold its application's version already, others "
                "don't; give a transaction over several tables the same appId and version in each",
                rule="repeated",
            )
        return found

    def check_head(self, table: StagedTable, locked: Locked) -> None:
        """Whether the head is as the commit needs it. Raises CONCURRENCY_ERROR, by rule."""
        head = _head_of(locked, table)
        row = table.table
        known = checked.get((os.getpid(), self._writer.url, row.table_key))
        if known is not None and known != locked.incarnation:
            del checked[(os.getpid(), self._writer.url, row.table_key)]
            raise RestartError
        if head.table_id != row.table_id or (table.is_remembered and known is None):
            raise not_the_same(row)
        newest = self._newest.get(row.table_key, -1)
        if head.head_version < newest:
            if head.authority != "log":
                raise catalog_behind(row, head.head_version, newest)
            self._behind.append(table)
            raise RestartError
        if (head.location, head.epoch) != (row.location, row.epoch):
            raise not_the_same(row, f" (epoch {row.epoch} then, {head.epoch} now)")
        if head.foreign_version is not None:
            raise DeltaLakeError(
                DeltaLakeErrorKind.MIRROR_CONFLICT,
                f"version {head.foreign_version} in the log of {row.full_name} isn't the catalog's;"
                " nothing is committed until `dl mirror resolve` has settled that",
                version=head.foreign_version,
            )
        if known is not None and self._ratifier.is_ahead(row, head):
            # A catalog that was restored in place, under a server that lives on.
            del checked[(os.getpid(), self._writer.url, row.table_key)]
            raise RestartError
        if table.if_version is not None and head.head_version != table.if_version:
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONCURRENCY_ERROR,
                f"{row.full_name} is at version {head.head_version}, not at {table.if_version} as "
                "this write demands; look at it again",
                rule="if_version",
                version=head.head_version,
            )
        if table.began is not None and not table.guards:
            passed = (time.monotonic() - table.began) * 1_000
            if locked.now - passed <= head.listed_before:
                raise files_taken(row)
        waiting = head.head_version - head.published_version
        if head.authority != "log" and waiting >= self._max_unpublished:
            self._crowded.append(row)
            raise RestartError
        if head.head_version != table.read_version:
            self._check_winners(table, head)

    def _check_winners(self, table: StagedTable, head: LockedHead) -> None:
        row = table.table
        if head.head_version < table.read_version:
            raise catalog_behind(row, head.head_version, table.read_version)
        if not table.is_blind_append and table.read_version < head.changes_since:
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONCURRENCY_ERROR,
                f"what changed in {row.full_name} between version {table.read_version} and "
                f"{head.changes_since} is no longer known; run this again on the newest version",
                rule="changes_unknown",
            )
        if head.live_load != row.live_load and not table.is_blind_append:
            # Another image of the same table; what was read stays true, its rows lie elsewhere.
            table = replace(table, table=replace(row, live_load=head.live_load))
        found = winners(self._writer, table, head)
        if not table.tracks_rows and any(tracks_rows(winner) for winner in found):
            table = replace(table, tracks_rows=True)
            self._changed[row.table_key] = table
        matching = Matching(self._writer, table)
        ours = Ours(
            table=row.full_name,
            read_version=table.read_version,
            blind_append=table.is_blind_append,
            changes_data=table.changes_data or table.is_empty,
            predicates=table.reads.predicates,
            paths=table.reads.paths,
            whole_table=table.reads.whole_table,
            removes=table.removed_paths,
            domains=frozenset(str(body["domain"]) for body in table.domains),
            has_protocol=table.protocol is not None,
            has_metadata=table.metadata is not None,
            base_protocol=matching.base_protocol(found, head),
            base_metadata=matching.base_metadata(found, head),
        )
        clashes = check(ours, found, self._staged.isolation, matching.may_match)
        if clashes:
            self._rebase(table, head, clashes, found[-1].version)

    def _rebase(
        self, table: StagedTable, head: LockedHead, paths: frozenset[str], version: int
    ) -> None:
        if table.rebase is None:
            path = sorted(paths)[0]
            raise DeltaLakeError(
                DeltaLakeErrorKind.CONCURRENCY_ERROR,
                f"commit {version} of {table.table.full_name} has changed the deletion vector of "
                f"{path}, and so does this one; run it again",
                rule="concurrent_rows",
                version=version,
                path=path,
            )
        live = Matching(self._writer, table).live_rows(head, sorted(paths))
        base = {row["path"]: row for row in table.removes.to_pylist()}
        ours = {row["path"]: row for row in table.adds.to_pylist()}
        holds = self._holds or table.rebases_at_once
        if not holds:
            self._writer.rollback()
        again = table.rebase(
            [VectorClash(base[path], live[path], ours[path]) for path in sorted(paths)]
        )
        self._changed[table.table.table_key] = again.but(read_version=head.head_version)
        united.add((self._writer.url, table.table.table_key))
        if not holds:
            raise RestartError

    def _lock(self, wait: float) -> Locked:
        """The heads, locked while nobody puts a version of theirs into a log."""
        deadline = time.monotonic() + wait
        while True:
            locked = lock(self._writer, self._staged, wait, far=self.is_far)
            held = [
                (table, found)
                for table in self._staged.tables
                if not table.makes_table
                and (found := _head_of(locked, table).slot) is not None
                and found.holds(locked.now)
                and not self._slots[table.table.table_key].is_ours(found)
            ]
            if not held:
                return locked
            self._writer.rollback()
            if time.monotonic() > deadline:
                raise taken(held[0][0].table.full_name, held[0][1])
            time.sleep(_PAUSE_SECONDS)

    def _begin_log(self, each: Committed) -> None:
        """Nobody knows of the table, so that its first version is put within the transaction."""
        assert each.row is not None
        # Of a far store an error may have lost no more than the answer.
        self.put = each.version if self._ratifier.is_far(each.table.table) else -1
        is_new = self._ratifier.ratify(each.table.table, each.row)
        self.put = -1
        if not is_new:
            raise log_exists(each.table.table.location)

    def _ratify(self, each: Committed, locked: Locked, wait: float) -> Statement:
        """Reserve the version, let go of the lock, put it into the log, and lock again."""
        assert each.row is not None
        table = each.table
        self._slot = self._slots[each.key]
        reserve = self._slot.reserve(self._writer, each.version)
        self._send([*table.claims, *reserve])
        self.put = each.version
        try:
            is_there = self._ratifier.ratify(table.table, each.row)
        except DeltaLakeError as error:
            raise LostConnectionError(str(error)) from error
        if not is_there:
            self.put = -1
            self._behind.append(table)
            raise RestartError
        try:
            again = lock(self._writer, self._staged, wait, far=self.is_far)
        except DeltaLakeError as error:
            raise LostConnectionError(str(error)) from error
        if not stands(locked, again):
            self._writer.rollback()
            raise LostConnectionError("others were faster to take it from the log")
        return self._slot.free()

    def give_up(self) -> None:
        """Others need not wait for this attempt, unless its put is under way."""
        if self._slot is not None and self.put < 0:
            with suppress(DeltaLakeError), writing(self._writer.url) as writer:
                writer.transact([self._slot.free()])


def _head_of(locked: Locked, table: StagedTable) -> LockedHead:
    head = locked.heads.get(table.table.table_key)
    if head is None:
        raise dropped(table.table)
    return head
