"""Deleting, updating and merging rows, as methods of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from deltalakedb.catalog.reading.catalog import LightCatalog
    from deltalakedb.predicate.parse import Predicate
    from deltalakedb.table.operations.base import Base
    from deltalakedb.table.operations.rewrite import RewriteOptions

T = TypeVar("T")


class RowChanges:
    """delta-rs's names for changing rows, over the newest version.

    By deletion vectors where `delta.enableDeletionVectors` is on, else by rewriting files. Change
    data is written where `delta.enableChangeDataFeed` is. Where others changed the same files
    meanwhile, rows decide: CONCURRENCY_ERROR (with `path` and `rows`) for the same ones only.
    """

    def _changed(self, change: Callable[[LightCatalog, Base], T]) -> T:
        raise NotImplementedError

    def delete(
        self,
        predicate: Predicate = None,
        *,
        writer_properties: Any = None,
        commit_properties: Any = None,
        isolation: str | None = None,
        if_version: int | None = None,
        mirror: str | None = None,
        token: str | None = None,
    ) -> dict[str, Any]:
        """Delete the rows for which `predicate` is TRUE; all without one. Returns metrics.

        `num_deleted_rows` is None where whole files went whose statistics tell no number.
        Nothing is committed where no row matches.
        """
        from deltalakedb.table.operations.delete import delete

        options = _options(
            writer_properties,
            commit_properties,
            token,
            isolation=isolation,
            if_version=if_version,
            mirror=mirror,
        )
        return self._changed(lambda catalog, base: delete(catalog, base, predicate, options))

    def update(
        self,
        updates: Mapping[str, str] | None = None,
        new_values: Mapping[str, Any] | None = None,
        predicate: Predicate = None,
        *,
        writer_properties: Any = None,
        commit_properties: Any = None,
        isolation: str | None = None,
        if_version: int | None = None,
        mirror: str | None = None,
        token: str | None = None,
    ) -> dict[str, Any]:
        """Set columns where `predicate` is TRUE, everywhere without one. Returns metrics.

        `updates` are Spark SQL expressions by column, over the old values; `new_values` Python
        values. New rows meet the table's constraints, else CONSTRAINT_VIOLATION and no commit.
        """
        from deltalakedb.table.operations.update import update

        options = _options(
            writer_properties,
            commit_properties,
            token,
            isolation=isolation,
            if_version=if_version,
            mirror=mirror,
        )
        return self._changed(
            lambda catalog, base: update(catalog, base, updates, new_values, predicate, options)
        )


def _options(
    writer_properties: Any, commit_properties: Any, token: str | None, **commit: Any
) -> RewriteOptions:
    from deltalakedb.table.operations.properties import CommitOptions
    from deltalakedb.table.operations.rewrite import RewriteOptions

    return RewriteOptions(
        writer_properties=writer_properties,
        commit=CommitOptions.of(commit_properties, token, **commit),
    )
