"""A table in a transaction: what was staged of it, and what was read."""

from __future__ import annotations

from dataclasses import replace

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit.staged import Reads, StagedTable
from deltalakedb.log.commit_writer import CommitInfo
from deltalakedb.log.metadata import Metadata
from deltalakedb.log.paths import decode_path
from deltalakedb.log.protocol import Protocol
from deltalakedb.predicate.tree import Expr
from deltalakedb.snapshot.snapshot import Snapshot
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.compose import composed, joined
from deltalakedb.table.operations.operation import Operation
from deltalakedb.table.operations.write import engine_info


class Member:
    """`base` is the table as the transaction began, later with what is staged of it."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._reads = Reads()
        self._written: list[str] = []

    @property
    def name(self) -> str:
        """The table's name in its catalog."""
        return self._base.row.full_name

    def stage(self, catalog: LightCatalog, operation: Operation) -> None:
        """Do an operation after those before; one that fails leaves nothing behind."""
        before = self._base.staged
        staged = operation(catalog, self._base)
        try:
            whole = staged.table if before is None else composed(before, staged.table)
        except BaseException:
            self._base.data.delete(staged.written)
            raise
        self._written += staged.written
        metadata, protocol = self._base.metadata, self._base.protocol
        if staged.table.metadata is not None:
            metadata = Metadata.from_action(staged.table.metadata)
        if staged.table.protocol is not None:
            protocol = Protocol.from_action(dict(staged.table.protocol))
        self._base = replace(self._base, staged=whole, metadata=metadata, protocol=protocol)

    def snapshot(self, catalog: LightCatalog) -> Snapshot:
        """As the transaction sees the table; what is planned is taken down as read."""
        return self._base.snapshot(catalog, self._note)

    def _note(self, predicate: Expr | None, paths: frozenset[str]) -> None:
        if predicate is None:
            read = Reads(whole_table=True)
        else:
            read = Reads(predicates=(predicate,), paths=paths)
        self._reads = joined(self._reads, read)

    def committing(self, *, serializable: bool) -> StagedTable | None:
        """What is to be committed, or to be held against others where it was only read."""
        staged = self._base.staged
        if staged is None or staged.is_empty:
            if not (serializable and self._reads):
                return None
            row = self._base.row
            info = CommitInfo(operation="READ", engine_info=engine_info())
            return StagedTable(
                table=row, read_version=row.head_version, info=info, reads=self._reads
            )
        staged = replace(staged, metadata_id=self._base.metadata.id)
        if not self._reads:
            return staged
        rebase = staged.rebase
        with_reads = replace(
            staged,
            reads=joined(staged.reads, self._reads),
            info=replace(staged.info, is_blind_append=False),
        )
        if rebase is None:
            return with_reads
        reads, info = with_reads.reads, with_reads.info
        return replace(
            with_reads,
            rebase=lambda clashes: replace(rebase(clashes), reads=reads, info=info),
        )

    def discard(self, *, all_of_it: bool) -> None:
        """Remove what was written: all of it, or files that a later operation took back."""
        names = set(self._written)
        if not all_of_it and self._base.staged is not None:
            adds = self._base.staged.adds.column("path").to_pylist()
            kept = {decode_path(path) for path in adds}
            # Vectors and change data lie under names of their own, and are few.
            names = {name for name in names if name.endswith(".parquet")} - kept
            names -= {decode_path(str(body["path"])) for body in self._base.staged.changes}
        if names:
            self._base.data.delete(sorted(names))
