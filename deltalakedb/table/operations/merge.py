"""MERGE: the rows of a source decide what becomes of a target's, and which rows come.

Two passes over the files that may match: the first reads what the condition looks at and joins it
with the source, the second reads the files that have matches, and changes rows.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.commit.staged import Reads, StagedTable
from deltalakedb.engine.joining import Condition, Side, compile_condition, target_alone
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.metadata import Metadata
from deltalakedb.predicate.tree import TRUE, Expr, disjunction
from deltalakedb.scan.scan import indexed_rows
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.delete import since
from deltalakedb.table.operations.identity_numbers import IdentityNumbers
from deltalakedb.table.operations.merge_clauses import (
    Clause,
    Compiled,
    compiled,
    first_applying,
    grown,
    parts,
    predicates_told,
    struct_of,
    taken,
)
from deltalakedb.table.operations.merge_elsewhere import (
    Flags,
    MergeCounts,
    Unmatched,
    merged_elsewhere,
)
from deltalakedb.table.operations.merge_source import Matches, Source, joined, sharpened
from deltalakedb.table.operations.parts import portable
from deltalakedb.table.operations.rewrite import Rewrite, RewriteOptions
from deltalakedb.table.operations.settle import settle
from deltalakedb.table.operations.vectors import MERGE_NAMES
from deltalakedb.table.operations.write import evolved
from deltalakedb.write.constraints import refuse_setting_identity
from deltalakedb.write.input import ROWS_AT_A_TIME

Numbers = npt.NDArray[np.int64]

DEFAULT_MEMORY = 256 << 20
"""Bytes that the join may hold; more goes to disk."""


@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """`max_spill_size`: bytes of memory from which on the join goes to disk;
    `max_temp_directory_size`: bytes that it may take there."""

    rewrite: RewriteOptions
    source_alias: str = "source"
    target_alias: str = "target"
    merge_schema: bool = False
    max_spill_size: int | None = None
    max_temp_directory_size: int | None = None


def merge(
    catalog: LightCatalog,
    base: Base,
    data: Any,
    predicate: str,
    clauses: Sequence[Clause],
    options: MergeOptions,
) -> dict[str, Any]:
    """Merge the rows of `data` into a table; metrics by delta-rs's names.

    Of the clauses of a kind the first whose condition is TRUE counts. INVALID_ARGUMENT where
    several source rows change one target row, and where there is no clause. Raises as
    `update.update`.
    """
    started = time.monotonic()
    if not clauses:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            "a merge without clauses changes nothing; add when_matched_… or when_not_matched_…",
        )
    with tempfile.TemporaryDirectory(prefix="deltalakedb-merge-") as directory:
        source = Source(data, directory)
        made: list[_Merge] = []

        def make(catalog: LightCatalog, base: Base) -> tuple[Rewrite, StagedTable]:
            made.append(_Merge(catalog, base.at_this_moment(), source, predicate, clauses, options))
            return made[-1].stage(started, f"{directory}/{len(made)}")

        result, rewrite = settle(catalog, base, options.rewrite, make)
        counts, metrics = made[-1].counts, result.metrics
    return {
        "num_source_rows": source.num_rows,
        "num_target_rows_inserted": counts.inserted,
        "num_target_rows_updated": counts.updated + counts.updated_unmatched,
        "num_target_rows_deleted": counts.deleted + counts.deleted_unmatched,
        "num_target_rows_copied": rewrite.counts.copied,
        "num_output_rows": rewrite.written.num_rows,
        "num_target_files_scanned": counts.scanned_files,
        "num_target_files_skipped_during_scan": counts.skipped_files,
        "num_target_files_added": metrics.get("numTargetFilesAdded", 0),
        "num_target_files_removed": metrics.get("numTargetFilesRemoved", 0),
        "num_target_deletion_vectors_added": metrics.get("numTargetDeletionVectorsAdded", 0),
        "execution_time_ms": since(started),
        "scan_time_ms": rewrite.counts.scan_ms,
        "rewrite_time_ms": rewrite.counts.rewrite_ms,
        "version": result.version,
    }


class _Merge:
    """One attempt, on one version of the table."""

    def __init__(
        self,
        catalog: LightCatalog,
        base: Base,
        source: Source,
        predicate: str,
        clauses: Sequence[Clause],
        options: MergeOptions,
    ) -> None:
        self._catalog, self._source, self._options = catalog, source, options
        self._predicate, self._clauses = predicate, clauses
        base.check_may_write(removes=any(clause.kind != "insert" for clause in clauses))
        self._metadata: Metadata | None = None
        target = Side(options.target_alias, base.struct)
        mine = Side(options.source_alias, source.struct)
        if target.alias.lower() == mine.alias.lower():
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                f"source and target are both called {target.alias}; give them different aliases",
            )
        self._condition: Condition = compile_condition(predicate, mine, target, base.moment)
        self._base = self._evolved(base)
        self._protocol_changed = self._base.protocol != base.protocol
        found = compiled(clauses, mine, target, self._base.struct, base.moment)
        self._matched = [c for c in found if c.kind in ("update", "delete")]
        self._inserts = [c for c in found if c.kind == "insert"]
        for each in found:
            if each.kind in ("update", "source_update") and each.assignments is not None:
                refuse_setting_identity(self._base.struct, each.assignments.names)
        self._unmatched = [c for c in found if c.kind in ("source_update", "source_delete")]
        self._target = target
        self.counts = MergeCounts()

    def _evolved(self, base: Base) -> Base:
        """With the columns of the source that the table lacks, where that was asked for, and wider
        ones for those whose values it gives."""
        if not self._options.merge_schema:
            return base
        struct = grown(base, self._source.schema, self._clauses, self._options.source_alias)
        if struct == base.struct:
            return base
        metadata, protocol = evolved(base, struct, dict(base.metadata.configuration))
        self._metadata = metadata
        return replace(base, metadata=metadata, protocol=protocol)

    def stage(self, started: float, directory: str) -> tuple[Rewrite, StagedTable]:
        began = time.monotonic()
        base = self._base
        wanted, sharper = self._source.bounds(self._condition, base)
        looked_for = disjunction([wanted, *self._unmatched_rows()])
        files = base.planned(self._catalog, None if looked_for == TRUE else looked_for)
        if not self._unmatched:
            files = sharpened(files, sharper)
        self.counts.scanned_files = files.num_rows
        self.counts.skipped_files = max(base.row.num_files - files.num_rows, 0)
        numbers = IdentityNumbers(self._catalog.reader.url, base.row, base.marks)
        with Rewrite(base, files, self._options.rewrite, numbers) as rewrite:
            if rewrite.client is not None and files.num_rows:
                self._insert(rewrite, merged_elsewhere(self, rewrite, self._source))
            else:
                with self._joined(directory) as join:
                    self._match(rewrite, join)
                    self._change(rewrite, join)
                    self._insert(rewrite, join)
            rewrite.counts.scan_ms = since(began)
            staged = rewrite.staged(
                "MERGE",
                {"predicate": [self._predicate], **predicates_told(self._clauses)},
                Reads(
                    predicates=() if looked_for == TRUE else (looked_for,),
                    paths=frozenset(rewrite.read_paths),
                    whole_table=looked_for == TRUE,
                ),
                self._metrics(started),
                names=MERGE_NAMES,
                metadata=self._metadata,
                protocol=base.protocol if self._protocol_changed else None,
            )
        return rewrite, staged

    def __getstate__(self) -> dict[str, Any]:
        """As workers get it: with what was compiled, without the catalog and the source."""
        options = replace(self._options, rewrite=RewriteOptions())
        own = {"_catalog": None, "_source": None, "_options": options, "counts": MergeCounts()}
        return self.__dict__ | own | {"_base": portable(self._base)}

    def changed(self, rewrite: Rewrite, source: Source, directory: str) -> Flags:
        """Match and change the rewrite's files; which rows of the source match none of them."""
        self._source = source
        alone = np.zeros(source.num_rows, dtype=bool)
        with self._joined(directory) as join:
            self._match(rewrite, join)
            self._change(rewrite, join)
            for numbers in join.unmatched(ROWS_AT_A_TIME) if self._inserts else ():
                alone[numbers] = True
        return alone

    def _joined(self, directory: str) -> Matches:
        return joined(
            self._condition,
            self._target,
            self._source,
            self._options.source_alias,
            directory,
            memory_limit=self._options.max_spill_size or DEFAULT_MEMORY,
            disk_limit=self._options.max_temp_directory_size,
        )

    def _unmatched_rows(self) -> list[Expr]:
        """What target rows are like that change though no source row matches them."""
        found: list[Expr] = []
        for clause in self._clauses:
            if clause.kind in ("source_update", "source_delete"):
                sql = clause.predicate
                parsed = None if sql is None else target_alone(sql, self._target)
                found.append(self._base.parsed(parsed) or TRUE)
        return found

    def _match(self, rewrite: Rewrite, join: Matches) -> None:
        """The first pass: pairs of target rows and source rows."""
        names = join.target_columns()
        numbers = {path: n for n, path in enumerate(rewrite.files.column("path").to_pylist())}

        def target() -> Iterator[tuple[int, Numbers, pa.RecordBatch]]:
            for path, batch in indexed_rows(rewrite.spec(), names or None):
                last = batch.num_columns - 1
                yield numbers[path], batch.column(last).to_numpy(), batch.remove_column(last)

        join.match(target())

    def _change(self, rewrite: Rewrite, join: Matches) -> None:
        """The second pass, over files that have something to change."""
        if not self._matched and not self._unmatched:
            return
        having = join.files()
        files = rewrite.files
        if not self._unmatched:
            files = files.take(pa.array(sorted(having), pa.int64()))
        numbers = {path: n for n, path in enumerate(rewrite.files.column("path").to_pylist())}
        current, places, rows = "", np.empty(0, np.int64), np.empty(0, np.int64)
        for path, batch in rewrite.indexed_rows(rewrite.spec(files=files)):
            if path != current:
                current = path
                places, rows = join.pairs(numbers[path])
            last = batch.num_columns - 1
            index = batch.column(last).to_numpy()
            first, end = np.searchsorted(places, [index[0], index[-1] + 1])
            self._change_batch(
                rewrite, path, index, batch.remove_column(last), places[first:end], rows[first:end]
            )

    def _change_batch(
        self,
        rewrite: Rewrite,
        path: str,
        index: Numbers,
        rows: pa.RecordBatch,
        places: Numbers,
        numbers: Numbers,
    ) -> None:
        at = np.searchsorted(index, places)
        for part in parts(places, ROWS_AT_A_TIME):
            left = taken(rows, at[part])
            self._change_matched(rewrite, path, left, places[part], numbers[part])
        if self._unmatched:
            alone = np.ones(len(index), dtype=bool)
            alone[at] = False
            self._change_unmatched(rewrite, path, rows.filter(pa.array(alone)), index[alone])

    def _change_matched(
        self, rewrite: Rewrite, path: str, left: pa.RecordBatch, places: Numbers, numbers: Numbers
    ) -> None:
        if not self._matched:
            return
        right = self._source.rows(numbers)
        both = self._both(right, left)
        chosen = first_applying(self._matched, both)
        acting = chosen >= 0
        # Places climb, so that equal ones are neighbours.
        mine = places[acting]
        begins = np.flatnonzero(np.diff(mine, prepend=-1))
        distinct, counts = mine[begins], np.diff(begins, append=len(mine))
        deletes = np.array([c.kind == "delete" for c in self._matched])[chosen]
        if len(distinct) < acting.sum() and not deletes[acting].all():
            raise self._ambiguous(left, places, distinct[counts > 1][0])
        if not acting.all():
            rewrite.reads_rows(path, np.setdiff1d(places, distinct))
        for number, clause in enumerate(self._matched):
            which = np.flatnonzero(chosen == number)
            if not len(which):
                continue
            old, seen = taken(left, which), taken(both, which)
            if clause.assignments is not None:
                self.counts.updated += len(which)
                self._update(rewrite, clause, old, seen)
        gone = acting & deletes
        if gone.any():
            _, first = np.unique(places[gone], return_index=True)
            self.counts.deleted += len(first)
            rewrite.tells(left.take(pa.array(np.flatnonzero(gone)[first])), "delete")
        rewrite.removes_rows(path, distinct)

    def _change_unmatched(
        self, rewrite: Rewrite, path: str, rows: pa.RecordBatch, places: Numbers
    ) -> None:
        if not rows.num_rows:
            return
        seen = pa.RecordBatch.from_pydict({self._target.alias: struct_of(self._of_target(rows))})
        chosen = first_applying(self._unmatched, seen)
        for number, clause in enumerate(self._unmatched):
            which = pa.array(np.flatnonzero(chosen == number))
            if not len(which):
                continue
            old = rows.take(which)
            if clause.assignments is None:
                self.counts.deleted_unmatched += len(which)
                rewrite.tells(old, "delete")
            else:
                self.counts.updated_unmatched += len(which)
                self._update(rewrite, clause, old, seen.take(which))
        rewrite.removes_rows(path, places[chosen >= 0])

    def _update(
        self, rewrite: Rewrite, clause: Compiled, old: pa.RecordBatch, seen: pa.RecordBatch
    ) -> None:
        assert clause.assignments is not None
        rewrite.tells(old, "update_preimage")
        names = clause.assignments.names
        new = rewrite.inserts(clause.assignments.applied(old, seen), names, updated=True)
        rewrite.tells(new, "update_postimage")

    def _insert(self, rewrite: Rewrite, join: Matches | Unmatched) -> None:
        """Source rows that match none."""
        if not self._inserts:
            return
        only_inserts = not self._matched and not self._unmatched
        for numbers in join.unmatched(ROWS_AT_A_TIME):
            right = self._source.rows(numbers)
            seen = pa.RecordBatch.from_pydict({self._options.source_alias: struct_of(right)})
            chosen = first_applying(self._inserts, seen)
            for number, clause in enumerate(self._inserts):
                which = pa.array(np.flatnonzero(chosen == number))
                if not len(which):
                    continue
                assert clause.assignments is not None
                rows = clause.assignments.alone(seen.take(which))
                new = rewrite.inserts(rows, clause.assignments.names)
                self.counts.inserted += new.num_rows
                # Of a version that only adds files readers know the changes.
                if not only_inserts:
                    rewrite.tells(new, "insert")

    def _both(self, right: pa.RecordBatch, left: pa.RecordBatch) -> pa.RecordBatch:
        return pa.RecordBatch.from_pydict(
            {
                self._options.source_alias: struct_of(right),
                self._target.alias: struct_of(self._of_target(left)),
            }
        )

    def _of_target(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The columns that the table had before the source's were added."""
        return rows.select([f.name for f in self._target.schema.fields])

    def _ambiguous(self, left: pa.RecordBatch, places: Numbers, place: int) -> DeltaLakeError:
        row = left.slice(int(np.flatnonzero(places == place)[0]), 1).to_pylist()[0]
        shown = str(row)[:200]
        return DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT,
            f"several source rows change the same row of {self._base.row.full_name} ({shown}) by "
            f"{self._predicate}; make the source unique by what the condition compares",
            predicate=self._predicate,
            row=shown,
        )

    def _metrics(self, started: float) -> Callable[[Rewrite], dict[str, int]]:
        def metrics(rewrite: Rewrite) -> dict[str, int]:
            counts = self.counts
            return {
                "numSourceRows": self._source.num_rows,
                "numTargetRowsInserted": counts.inserted,
                "numTargetRowsUpdated": counts.updated + counts.updated_unmatched,
                "numTargetRowsDeleted": counts.deleted + counts.deleted_unmatched,
                "numTargetRowsMatchedUpdated": counts.updated,
                "numTargetRowsMatchedDeleted": counts.deleted,
                "numTargetRowsNotMatchedBySourceUpdated": counts.updated_unmatched,
                "numTargetRowsNotMatchedBySourceDeleted": counts.deleted_unmatched,
                "numTargetRowsCopied": rewrite.counts.copied,
                "numOutputRows": rewrite.written.num_rows,
                "executionTimeMs": since(started),
                "scanTimeMs": rewrite.counts.scan_ms,
                "rewriteTimeMs": rewrite.counts.rewrite_ms,
            }

        return metrics
