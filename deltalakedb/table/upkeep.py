"""Changing a table besides its rows, and maintaining it, as methods of a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

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
