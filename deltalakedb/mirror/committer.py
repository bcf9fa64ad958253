"""The log as a commit sees it: asked before, ratifying under the lock, published to afterwards."""

from __future__ import annotations

import logging
import uuid
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from deltalakedb import logs
from deltalakedb.catalog.records import TableRow
from deltalakedb.commit import outbox
from deltalakedb.commit.heads import LockedHead
from deltalakedb.commit.version import Committed
from deltalakedb.database_url import DatabaseUrl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.paths import CheckpointFile, CommitFile, parse_log_name
from deltalakedb.mirror import publish, tend
from deltalakedb.storage.pieces import Held, StoredFile, compare
from deltalakedb.storage.store import ObjectStore

_log = logging.getLogger(__name__)


class LogRatifier:
    """`commit.committer.Ratifier` over the stores of the tables' logs."""

    def __init__(
        self, database: DatabaseUrl, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        self._database = database
        self._options = storage_options
        self._logs: dict[str, ObjectStore] = {}

    def _log_of(self, table: TableRow) -> ObjectStore:
        found = self._logs.get(table.log_location)
        if found is None:
            found = self._logs[table.log_location] = publish.log_of(table, self._options)
        return found

    def check_log(self, table: TableRow) -> int:
        """The newest version in the log: listed from the head on, and below any checkpoint."""
        log = self._log_of(table)
        try:
            found = log.list("", publish.commit_name(max(table.head_version, 0)))
        except DeltaLakeError as error:
            if error.kind is not DeltaLakeErrorKind.NOT_FOUND:
                raise
            return -1
        names = [parse_log_name(each.name) for each in found]
        versions = [n.version for n in names if isinstance(n, CommitFile | CheckpointFile)]
        return max(versions, default=-1)

    def is_ahead(self, table: TableRow, head: LockedHead) -> bool:
        if head.authority == "log" or self.is_far(table):
            return False
        log, published = self._log_of(table), head.published_version
        return log.exists(publish.commit_name(head.head_version + 1)) or (
            published >= 0 and not log.exists(publish.commit_name(published))
        )

    def stage(self, table: TableRow, pieces: Iterable[bytes]) -> StoredFile:
        log = self._log_of(table)
        name = f"{publish.STAGED}{uuid.uuid4()}.json"
        size = 0
        try:
            with log.open_output(name) as file:
                for piece in pieces:
                    file.write(piece)
                    size += len(piece)
            log.sync([name])
        except BaseException:
            self.discard(table, name)
            raise
        return StoredFile(log, name, size)

    def discard(self, table: TableRow, name: str) -> None:
        self._log_of(table).discard([name])

    def ratify(self, table: TableRow, row: outbox.OutboxRow) -> bool:
        log = self._log_of(table)
        name = publish.commit_name(row.version)
        data = publish.content(log, row)
        if row.version and not log.exists(publish.commit_name(row.version - 1)):
            # Acknowledged by the catalog alone, until now.
            publish.drain(self._database, table, log, after=-1, until=row.version - 1)
        if not log.put_if_absent(name, data):
            held = compare(log, name, data)
            if held is Held.OTHER:
                return False
            if held is Held.TORN:
                log.put(name, data)
        log.sync([name])
        return True

    def is_far(self, table: TableRow) -> bool:
        return self._log_of(table).spec.is_s3

    def adopt(self, table: TableRow) -> None:
        from deltalakedb.mirror.adopt import adopt

        adopt(self._database, table, self._log_of(table))

    def relieve(self, table: TableRow) -> None:
        log = self._log_of(table)
        tend.tend_now(self._database, table, log, checkpoint=False)

    def publish(self, done: Committed, *, wait: float, hooks: tend.Hooks | None = None) -> bool:
        """After the commit: into the log, by us or by others; False, and a warning, past `wait`."""
        table = done.table.table
        log = self._log_of(table)
        if table.authority == "log":
            ready = True
        elif done.row is None:
            ready = done.version <= done.published_version or publish.published(
                self._database, table, log, done.version, wait=wait
            )
        else:
            known = max(done.published_version, tend.known(self._database, table))
            ready = self._publish(table, log, done, known, wait)
        own = ready and done.row is not None
        tend.note(self._database, table, log, done.version if ready else -1, hooks, own=own)
        if not ready:
            told = (
                f"version {done.version} of {table.full_name} is committed, and isn't in its log "
                "yet; `dl mirror drain` puts it there"
            )
            warnings.warn(told, RuntimeWarning, stacklevel=5)
            facts = {"table": table.full_name, "table_id": table.table_id}
            logs.note(_log, logging.WARNING, told, step="publish", version=done.version, **facts)
        return ready

    def leave(self, done: Committed, *, hooks: tend.Hooks | None = None) -> bool:
        """Not wait: the version goes to the log with the next round of this process."""
        table = done.table.table
        tend.note(self._database, table, self._log_of(table), -1, hooks)
        return done.version <= done.published_version

    def _publish(self, table: TableRow, log: Any, done: Committed, known: int, wait: float) -> bool:
        assert done.row is not None
        try:
            return publish.publish(self._database, table, log, done.row, known=known, wait=wait)
        except DeltaLakeError as error:
            if error.kind is DeltaLakeErrorKind.MIRROR_CONFLICT:
                raise
            # The commit stands: an error now would make callers write it again.
            return False
