"""The migration guide's names of transactions over several tables, over `begin`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.snapshot.snapshot import Snapshot
from deltalakedb.table.begin import Transaction, begin
from deltalakedb.table.member import Member
from deltalakedb.uri import parse_table_uri


class MultiTableIsolationLevel(Enum):
    """As `begin`'s."""

    SERIALIZABLE = "Serializable"
    WRITE_SERIALIZABLE = "WriteSerializable"
    SNAPSHOT_ISOLATION = "SnapshotIsolation"


class CrossTableOperationType(Enum):
    """What a participant is to be used for."""

    READ = "read"
    WRITE = "write"
    UPDATE = "update"
    DELETE = "delete"
    MERGE = "merge"


@dataclass(frozen=True)
class MultiTableResult:
    """`success`: whether there was a commit; none is made where nothing was staged."""

    success: bool
    message: str
    versions: dict[str, int]
    group_id: str | None = None


class MultiTableTransaction:
    """Tables are named first, then changed; it begins with the first of them."""

    def __init__(self, level: MultiTableIsolationLevel) -> None:
        self._level = level
        self._transaction: Transaction | None = None
        self._allowed: dict[str, frozenset[CrossTableOperationType]] = {}

    def add_participant(self, uri: str, operations: Collection[CrossTableOperationType]) -> None:
        """Name a table by its URI. INVALID_ARGUMENT for one of another catalog."""
        if self._transaction is None:
            database = parse_table_uri(uri).database
            self._transaction = begin(database.secret.reveal(), isolation=self._level.value)
        self._transaction.table(uri)
        self._allowed[uri] = frozenset(operations)

    def write(self, uri: str, data: Any, mode: Any = "append", **options: Any) -> None:
        """Append or overwrite; `options` as `Transaction.write`."""
        self._using(uri, CrossTableOperationType.WRITE)
        self._begun.write(uri, data, mode=getattr(mode, "value", mode), **options)

    def update(self, uri: str, *arguments: Any, **options: Any) -> dict[str, Any]:
        """As `Transaction.update`."""
        self._using(uri, CrossTableOperationType.UPDATE)
        return self._begun.update(uri, *arguments, **options)

    def delete(self, uri: str, predicate: Any = None, **options: Any) -> dict[str, Any]:
        """As `Transaction.delete`."""
        self._using(uri, CrossTableOperationType.DELETE)
        return self._begun.delete(uri, predicate, **options)

    def table(self, uri: str) -> Member:
        """The table as the transaction has it, for all else."""
        self._using(uri, None)
        return self._begun.table(uri)

    def snapshot(self, uri: str) -> Snapshot:
        """The table as the transaction sees it."""
        self._using(uri, None)
        return self._begun.snapshot(uri)

    def prepare(self) -> None:
        """See, under the lock, whether it could commit now. CONCURRENCY_ERROR with what conflicts.

        Files are written when operations are called. Nothing is held until `commit`.
        """
        found = self._begun.conflicts()
        if found:
            raise found[0]

    def commit(self) -> MultiTableResult:
        """Commit all tables in one transaction of the database. Raises as `Transaction.commit`."""
        result = self._begun.commit()
        if not result.tables:
            return MultiTableResult(False, "nothing was staged, so nothing was committed", {})
        told = ", ".join(f"{table} {version}" for table, version in result.versions.items())
        return MultiTableResult(True, f"committed {told}", result.versions, result.group_id)

    def rollback(self) -> None:
        """Commit nothing, and remove what was written."""
        if self._transaction is not None:
            self._transaction.rollback()

    @property
    def _begun(self) -> Transaction:
        if self._transaction is None:
            raise _invalid("this transaction has no participant yet; name one by add_participant")
        return self._transaction

    def _using(self, uri: str, operation: CrossTableOperationType | None) -> None:
        if uri not in self._allowed or operation not in {None, *self._allowed[uri]}:
            what = "a participant" if operation is None else f"a participant to {operation.value}"
            raise _invalid(f"{parse_table_uri(uri).name} isn't {what}; say so by add_participant")


class MultiTableTransactionManager:
    """Makes transactions."""

    def create_transaction(
        self,
        isolation_level: MultiTableIsolationLevel = MultiTableIsolationLevel.WRITE_SERIALIZABLE,
    ) -> MultiTableTransaction:
        """A transaction without tables yet."""
        return MultiTableTransaction(isolation_level)


def _invalid(what: str) -> DeltaLakeError:
    return DeltaLakeError(DeltaLakeErrorKind.INVALID_ARGUMENT, what)
