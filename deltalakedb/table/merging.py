"""delta-rs's builder of a MERGE."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.table.operations.merge_clauses import Clause, Kind

if TYPE_CHECKING:
    from deltalakedb.table.operations.merge import MergeOptions

Updates = Mapping[str, str]


class TableMerger:
    """Clauses are added one after the other; `execute` merges.

    Of the matched clauses the first whose predicate is TRUE counts for a row, and so on for the
    other two kinds. Expressions are Spark SQL; columns go by the aliases of source and target, or
    by themselves where only one side has them.
    """

    def __init__(
        self,
        run: Callable[[Any, str, Sequence[Clause], MergeOptions], dict[str, Any]],
        source: Any,
        predicate: str,
        options: MergeOptions,
    ) -> None:
        self._run = run
        self._source = source
        self._predicate = predicate
        self._options = options
        self._clauses: list[Clause] = []

    def when_matched_update(self, updates: Updates, predicate: str | None = None) -> TableMerger:
        """Set columns of target rows that a source row matches."""
        return self._set("update", updates, predicate)

    def when_matched_update_all(
        self, predicate: str | None = None, except_cols: Sequence[str] | None = None
    ) -> TableMerger:
        """Set all columns that source and table have, but `except_cols`, to the source's values.

        With `merge_schema` the table gets those of the source that it hasn't.
        """
        return self._add(Clause("update", predicate, None, tuple(except_cols or ())))

    def when_matched_delete(self, predicate: str | None = None) -> TableMerger:
        """Delete target rows that a source row matches."""
        return self._add(Clause("delete", predicate))

    def when_not_matched_insert(
        self, updates: Updates, predicate: str | None = None
    ) -> TableMerger:
        """Insert a row for a source row that matches none; what isn't set has its default."""
        return self._set("insert", updates, predicate)

    def when_not_matched_insert_all(
        self, predicate: str | None = None, except_cols: Sequence[str] | None = None
    ) -> TableMerger:
        """Insert source rows that match none, without `except_cols`."""
        return self._add(Clause("insert", predicate, None, tuple(except_cols or ())))

    def when_not_matched_by_source_update(
        self, updates: Updates, predicate: str | None = None
    ) -> TableMerger:
        """Set columns of target rows that no source row matches."""
        return self._set("source_update", updates, predicate)

    def when_not_matched_by_source_delete(self, predicate: str | None = None) -> TableMerger:
        """Delete target rows that no source row matches."""
        return self._add(Clause("source_delete", predicate))

    def execute(self) -> dict[str, Any]:
        """Merge and commit; metrics by delta-rs's names. Errors as `operations.merge.merge`."""
        return self._run(self._source, self._predicate, self._clauses, self._options)

    def _set(self, kind: Kind, updates: Updates, predicate: str | None) -> TableMerger:
        if not updates:
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                "updates are empty; give expressions by column, or use the clause for all columns",
            )
        return self._add(Clause(kind, predicate, dict(updates)))

    def _add(self, clause: Clause) -> TableMerger:
        self._clauses.append(clause)
        return self
