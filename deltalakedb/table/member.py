"""A table in a transaction: what was staged of it, and what was read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.records import TableRow
from deltalakedb.commit.staged import Reads, StagedTable, VectorClash
from deltalakedb.log.commit_writer import CommitInfo
from deltalakedb.log.metadata import Metadata
from deltalakedb.log.paths import decode_path
from deltalakedb.log.protocol import Protocol
from deltalakedb.predicate.tree import Expr
from deltalakedb.snapshot.snapshot import Snapshot
from deltalakedb.table.alter import TableAlterer
from deltalakedb.table.changing import RowChanges
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.compose import composed, joined
from deltalakedb.table.operations.net_changes import net_changes, tell_one_by_one
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.operations.provenance import commit_info, engine_info
from deltalakedb.table.operations.remap import remapped
from deltalakedb.table.operations.write import WriteOptions, write
from deltalakedb.table.transaction import WriteResult

T = TypeVar("T")
_CHANGE_FILES = ("numAddedChangeFiles", "numTargetChangeFilesAdded")


class Member(RowChanges):
    """A table as a transaction has it; what is done to it becomes part of the transaction.

    Deletes, updates and merges rows, and alters the table, as `Table` does; results tell metrics,
    and as version the one that the transaction reads.
    """

    def __init__(
        self,
        catalog: LightCatalog,
        base: Base,
        options: CommitOptions,
        check_open: Callable[[], None],
        client: Any = None,
    ) -> None:
        self._catalog = catalog
        self._check_open = check_open
        self._base = base
        self._begun = base
        self._options = options
        self._client = client
        self._reads = Reads()
        self._written: list[str] = []
        self._parts: list[StagedTable] = []
        self._remapped: StagedTable | None = None
        self._told = 0
        """Of how many of the parts what is staged tells the changes as those of one commit."""

    @property
    def name(self) -> str:
        """The table's name in its catalog."""
        return self._base.row.full_name

    @property
    def location(self) -> str:
        """Where its data is."""
        return self._base.row.location

    @property
    def row(self) -> TableRow:
        """The table as the catalog had it, but for a name that the transaction gave it."""
        return self._base.row

    def rename(self, namespace: str, name: str) -> None:
        """Give it another name within the transaction."""
        base = self._base
        row = replace(base.row, namespace=namespace, name=name)
        staged = None if base.staged is None else replace(base.staged, table=row)
        self._base = replace(base, row=row, staged=staged)

    @property
    def is_yet_to_be(self) -> bool:
        """Whether the transaction makes the table."""
        return self._base.is_yet_to_be

    def begin_with(self, creation: StagedTable) -> None:
        """Make the table with what the transaction does to it."""
        self._enlist(creation, [])

    @property
    def alter(self) -> TableAlterer:
        """Columns, constraints, features and properties."""
        return TableAlterer(self._changed)

    def write(self, data: Any, options: WriteOptions) -> WriteResult:
        """Append rows, or replace rows by them."""
        return self._changed(lambda catalog, base: write(catalog, base, data, options))

    def _changed(self, change: Callable[[LightCatalog, Base], T]) -> T:
        self._check_open()
        return change(self._catalog, replace(self._base, enlist=self._enlist))

    def _enlist(self, table: StagedTable, written: Sequence[str]) -> None:
        """Take what an operation does, after those before it."""
        self._check_open()
        said = replace(
            table.info, txn_id=self._options.token, isolation_level=self._options.isolation
        )
        table = replace(table, info=said, metadata_id=self._base.metadata.id)
        before = self._base.staged
        self._parts.append(table)
        self._remapped = None
        whole = table if before is None else composed(before, table)
        self._written += written
        metadata, protocol = self._base.metadata, self._base.protocol
        if table.metadata is not None:
            metadata = Metadata.from_action(table.metadata)
        if table.protocol is not None:
            protocol = Protocol.from_action(dict(table.protocol))
        self._base = replace(self._base, staged=whole, metadata=metadata, protocol=protocol)

    def snapshot(self) -> Snapshot:
        """As the transaction sees the table; what is planned is taken down as read."""
        return self._base.snapshot(self._catalog, self._note)

    def _note(self, predicate: Expr | None, paths: frozenset[str]) -> None:
        if predicate is None:
            read = Reads(whole_table=True)
        else:
            read = Reads(predicates=(predicate,), paths=paths)
        self._reads = joined(self._reads, read)

    def committing(self, *, serializable: bool, locked: bool = False) -> StagedTable | None:
        """What is to be committed, or to be held against others where it was only read.

        `locked`: also where it was not, as its name changes.
        """
        staged = self._remapped or self._with_changes_of_one_commit()
        reads = self._reads if staged is None else joined(staged.reads, self._reads)
        if staged is None or staged.is_empty:
            if not serializable:
                reads = Reads()
            if not (locked or reads):
                return None
            row = self._base.row
            info = CommitInfo(operation="READ", engine_info=engine_info())
            return StagedTable(table=row, read_version=row.head_version, info=info, reads=reads)
        rebase = staged.rebase
        said = self._with_all_said(staged, reads)
        if rebase is None:
            return said

        def again(clashes: Sequence[VectorClash]) -> StagedTable:
            # Others have changed other rows.
            return self._with_all_said(replace(rebase(clashes), changes=said.changes), reads)

        return replace(said, rebase=again)

    def follow(self) -> bool:
        """Whether what was done is now that of the newest version's files, in which others have
        only rearranged the rows; for the commit alone, not for further operations."""
        staged, begun = self._remapped or self._with_changes_of_one_commit(), self._begun
        if staged is None or begun.is_yet_to_be or not staged.removes.num_rows:
            return False
        newest = Base.named(self._catalog, begun.row.table_id, begun.storage_options)
        found = remapped(self._catalog, begun, newest, staged)
        if found is None:
            return False
        self._written += found.written
        self._remapped = found.staged
        return True

    def _with_changes_of_one_commit(self) -> StagedTable | None:
        staged, parts = self._base.staged, self._parts
        if staged is None or self._told == len(parts) or not tell_one_by_one(self._base, parts):
            return staged
        found = net_changes(self._base, parts, staged)
        self._written += found.names
        if self._options.is_synced(self._base.metadata.configuration):
            self._base.data.sync(found.names)
        told = {n: len(found.adds) for n in _CHANGE_FILES if n in staged.info.metrics}
        info = replace(staged.info, metrics={**staged.info.metrics, **told})
        staged = replace(staged, changes=tuple(found.adds), info=info)
        self._base, self._told = replace(self._base, staged=staged), len(parts)
        return staged

    def _with_all_said(self, staged: StagedTable, reads: Reads) -> StagedTable:
        """With what was said of the transaction as a whole, and what was read within it."""
        options, info = self._options, staged.info
        whole = commit_info("", {}, {}, options, blind=False)
        txns = {body["appId"]: body for body in (*options.txns, *staged.txns)}
        info = replace(
            info,
            is_blind_append=info.is_blind_append and not self._reads,
            user_metadata=info.user_metadata or whole.user_metadata,
            extra={**whole.extra, **info.extra},
        )
        return replace(staged, reads=reads, info=info, txns=tuple(txns.values()))

    def drop(self) -> None:
        """Take back what was done to it."""
        self.discard(all_of_it=True)
        reads = self._reads if self._base.staged is None else self._base.staged.reads
        self._reads = joined(self._reads, reads)
        self._base, self._written = replace(self._base, staged=None), []
        self._parts, self._told, self._remapped = [], 0, None

    def discard(self, *, all_of_it: bool) -> None:
        """Remove what was written: all of it, or files that a later operation took back."""
        names = set(self._written)
        staged = self._remapped or self._base.staged
        if not all_of_it and staged is not None:
            if len(self._parts) == 1 and self._remapped is None:
                return
            adds = staged.adds.column("path").to_pylist()
            kept = {decode_path(path) for path in adds}
            # Vectors and change data lie under names of their own, and are few.
            names = {name for name in names if name.endswith(".parquet")} - kept
            names -= {decode_path(str(body["path"])) for body in staged.changes}
        if names:
            self._base.data.discard(sorted(names))
