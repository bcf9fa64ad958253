"""Changing a table besides its rows, and maintaining it, as methods of a table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind

if TYPE_CHECKING:
    import pyarrow as pa

    from deltalakedb.catalog.reading.catalog import LightCatalog
    from deltalakedb.snapshot.snapshot import Snapshot
    from deltalakedb.table.alter import TableAlterer
    from deltalakedb.table.moment import Timestamp
    from deltalakedb.table.operations.base import Base
    from deltalakedb.table.operations.maintain import Upkept
    from deltalakedb.table.optimize import TableOptimizer

T = TypeVar("T")


class Upkeep:
    """delta-rs's names for maintenance, over the newest version."""

    def _changed(self, change: Callable[[LightCatalog, Base], T]) -> T:
        raise NotImplementedError

    def _newest(self) -> Snapshot:
        raise NotImplementedError

    def _version_of(self, version: Any, timestamp: Any) -> int:
        raise NotImplementedError

    @property
    def alter(self) -> TableAlterer:
        """Changes of columns, constraints, features and properties."""
        from deltalakedb.table.alter import TableAlterer

        return TableAlterer(self._changed)

    @property
    def optimize(self) -> TableOptimizer:
        """Fewer, larger or better ordered files: `optimize.compact()`, `optimize.z_order([…])`."""
        from deltalakedb.table.optimize import TableOptimizer

        return TableOptimizer(self._changed, self._newest)

    def vacuum(
        self,
        retention_hours: float | None = None,
        dry_run: bool = True,
        enforce_retention_duration: bool = True,
        *,
        full: bool = False,
        keep_versions: Sequence[int] | None = None,
    ) -> list[str]:
        """Delete files that no version within the retention needs; their names.

        The catalog tells them without a LIST. `full` lists the table's folder too, for files that
        nobody knows of. `keep_versions`: these and all later ones stay readable. INVALID_ARGUMENT
        for a retention below `delta.deletedFileRetentionDuration` that is enforced.
        """
        from deltalakedb.table.operations.vacuum import VacuumOptions, vacuum

        options = VacuumOptions(
            retention_hours=retention_hours,
            dry_run=dry_run,
            enforce_retention_duration=enforce_retention_duration,
            full=full,
            keep_versions=tuple(keep_versions or ()),
        )
        return self._changed(lambda catalog, base: vacuum(catalog, base, options))

    def restore(
        self,
        target: int | str | dt.datetime,
        *,
        ignore_missing_files: bool = False,
        protocol_downgrade_allowed: bool = False,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> dict[str, int]:
        """Make the table what it was at a version, or at a time (text or datetime), as a commit.

        NOT_FOUND where files of then are gone, unless `ignore_missing_files`.
        """
        from deltalakedb.table.operations.properties import CommitOptions
        from deltalakedb.table.operations.restore import restore

        options = CommitOptions.of(commit_properties, hooks=post_commithook_properties)
        of_time = isinstance(target, str | dt.datetime)
        version = self._version_of(None if of_time else target, target if of_time else None)
        return self._changed(
            lambda catalog, base: restore(
                catalog,
                base,
                version,
                options,
                ignore_missing_files=ignore_missing_files,
                protocol_downgrade_allowed=protocol_downgrade_allowed,
                asked=target if of_time else None,
            )
        )

    def repair(
        self,
        dry_run: bool = False,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> dict[str, Any]:
        """Take files out of the table that aren't there any more; asks the storage for each."""
        from deltalakedb.table.operations.properties import CommitOptions
        from deltalakedb.table.operations.restore import repair

        options = CommitOptions.of(commit_properties, hooks=post_commithook_properties)
        return self._changed(lambda catalog, base: repair(catalog, base, options, dry_run=dry_run))

    def forget(self) -> int:
        """Take versions out of the catalog that `delta.logRetentionDuration` has expired and whose
        files a vacuum has taken; the oldest version that can be read from then on."""
        from deltalakedb.table.operations.forget import forget

        return self._changed(forget)

    def load_cdf(
        self,
        starting_version: int | None = None,
        ending_version: int | None = None,
        starting_timestamp: Timestamp | None = None,
        ending_timestamp: Timestamp | None = None,
        columns: list[str] | None = None,
        predicate: str | None = None,
        allow_out_of_range: bool = False,
    ) -> pa.RecordBatchReader:
        """The change data feed of versions or times, both ends included, as a stream of batches.

        From version 0 (or the oldest that can be read) to the newest by default. With
        `allow_out_of_range` a range that begins after the newest version is empty.
        """
        from deltalakedb.table.operations.change_feed import change_feed

        def read(catalog: LightCatalog, base: Base) -> pa.RecordBatchReader:
            row = base.row
            start = self._first_of(starting_version, starting_timestamp, row.known_since)
            end = row.head_version if ending_version is None else ending_version
            if ending_version is None and ending_timestamp is not None:
                end = self._version_of(None, ending_timestamp)
            end = min(end, row.head_version)
            if start > end and not (allow_out_of_range and start > row.head_version):
                raise DeltaLakeError(
                    DeltaLakeErrorKind.INVALID_ARGUMENT,
                    f"no changes of {row.full_name} from version {start} to {end}: its newest is "
                    f"{row.head_version}; give a range that begins before it ends",
                    head=row.head_version,
                )
            if start > end:
                return change_feed(catalog, base, end, end, columns, "false")
            return change_feed(catalog, base, start, end, columns, predicate)

        return self._changed(read)

    def _first_of(self, version: int | None, timestamp: Timestamp | None, oldest: int) -> int:
        if version is not None:
            return version
        if timestamp is None:
            return oldest
        from deltalakedb.table.moment import milliseconds

        try:
            # The first version that isn't before the time.
            return self._version_of(None, milliseconds(timestamp) - 1) + 1
        except DeltaLakeError as error:
            if error.kind is not DeltaLakeErrorKind.VERSION_NOT_FOUND:
                raise
            return oldest

    def maintain(self, dry_run: bool = False) -> list[Upkept]:
        """Compact, checkpoint, vacuum and forget what is due, and tell why; or only tell."""
        from deltalakedb.table.operations.maintain import maintain

        return self._changed(lambda catalog, base: maintain(catalog, base, dry_run=dry_run))

    def cleanup_metadata(self) -> list[str]:
        """Remove log entries that `delta.logRetentionDuration` has expired; their names."""
        from deltalakedb.table.operations.generate import clean_log

        return self._changed(clean_log)

    def generate(self) -> list[str]:
        """Write symlink manifests of the newest version for Presto and the like; their names.

        UNSUPPORTED_FEATURE where deleted rows are told by vectors.
        """
        from deltalakedb.table.operations.generate import generate

        return self._changed(generate)

    def compact_logs(self, starting_version: int, ending_version: int) -> str:
        """Put a range of commits of the log into one file, for readers to take instead."""
        from deltalakedb.table.operations.generate import compact_logs

        return self._changed(
            lambda catalog, base: compact_logs(catalog, base, starting_version, ending_version)
        )
