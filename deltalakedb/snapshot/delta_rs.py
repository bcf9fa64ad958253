"""delta-rs's names of what a snapshot answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    import pyarrow.dataset as ds

    from deltalakedb.predicate.parse import Predicate
    from deltalakedb.predicate.tree import Expr
    from deltalakedb.scan.scan import ScanSpec
    from deltalakedb.snapshot.scan import Scan


class DeltaRsNames:
    """Answers about files under delta-rs's names, whose arguments choose files, not rows."""

    if TYPE_CHECKING:

        @property
        def location(self) -> str: ...

        def where(self, *predicates: Predicate) -> Expr | None: ...

        def plan(self, predicate: Predicate, columns: Sequence[str]) -> pa.Table: ...

        def partition_values(self, predicate: Predicate) -> list[dict[str, str | None]]: ...

        def scan(self, predicate: Predicate) -> Scan: ...

        def scan_spec(self, predicate: Predicate) -> ScanSpec: ...

    def file_uris(
        self, partition_filters: Predicate = None, *, file_pruning_predicate: Predicate = None
    ) -> list[str]:
        """Absolute paths of the files that may match."""
        from deltalakedb.log.paths import decode_path, is_absolute

        found = self.plan(either(partition_filters, file_pruning_predicate), ("path",))
        root = self.location.rstrip("/")
        return [
            path if is_absolute(raw) else f"{root}/{path}"
            for raw in found.column("path").to_pylist()
            for path in (decode_path(raw),)
        ]

    def partitions(
        self, partition_filters: Predicate = None, *, file_pruning_predicate: Predicate = None
    ) -> list[dict[str, str | None]]:
        """`partition_values`."""
        return self.partition_values(either(partition_filters, file_pruning_predicate))

    def to_pyarrow_dataset(
        self,
        predicate: Predicate = None,
        *,
        partitions: Predicate = None,
        file_pruning_predicate: Predicate = None,
    ) -> ds.Dataset:
        """The rows that satisfy `predicate`, as a dataset; the others only choose files."""
        from deltalakedb.predicate.row_filter import row_filter
        from deltalakedb.scan.dataset import scan_dataset

        choosing = either(partitions, file_pruning_predicate)
        if choosing is None:
            return self.scan(predicate).to_pyarrow_dataset()
        spec = self.scan_spec(self.where(predicate, choosing))
        return scan_dataset(replace(spec, rows=row_filter(self.where(predicate))))


def either(first: Predicate, second: Predicate) -> Predicate:
    """The one that is given. Raises INVALID_ARGUMENT for both."""
    if first is not None and second is not None:
        raise DeltaLakeError(
            DeltaLakeErrorKind.INVALID_ARGUMENT, "two predicates are given; join them with AND"
        )
    return second if first is None else first
