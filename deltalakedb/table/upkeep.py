"""Changing a table besides its rows, and maintaining it, as methods of a table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from deltalakedb.catalog.reading.catalog import LightCatalog
    from deltalakedb.snapshot.snapshot import Snapshot
    from deltalakedb.table.alter import TableAlterer
    from deltalakedb.table.operations.base import Base
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
