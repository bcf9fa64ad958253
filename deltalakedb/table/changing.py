"""Deleting, updating and merging rows, as methods of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

if TYPE_CHECKING:
    from deltalakedb.catalog.reading.catalog import LightCatalog
    from deltalakedb.predicate.parse import Predicate
    from deltalakedb.table.merging import TableMerger
    from deltalakedb.table.operations.base import Base
    from deltalakedb.table.operations.rewrite import RewriteOptions

T = TypeVar("T")


class RowChanges:
    """delta-rs's names for changing rows, over the newest version.

    By deletion vectors where `delta.enableDeletionVectors` is on, else by rewriting files. Change
    data is written where `delta.enableChangeDataFeed` is. Where others changed the same files
    meanwhile, rows decide: CONCURRENCY_ERROR (with `path` and `rows`) for the same ones only.
    """

    _client: Any = None
    """Whose workers do what no other client is said for."""

    def _changed(self, change: Callable[[LightCatalog, Base], T]) -> T:
        raise NotImplementedError

    def delete(
        self,
        predicate: Predicate = None,
        *,
        writer_properties: Any = None,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
        isolation: str | None = None,
        if_version: int | None = None,
        mirror: str | None = None,
        token: str | None = None,
        client: Any = None,
    ) -> dict[str, Any]:
        """Delete the rows for which `predicate` is TRUE; all without one. Returns metrics.

        `num_deleted_rows` is None where whole files went whose statistics tell no number.
        Nothing is committed where no row matches. `client`: a `distributed.Client` whose workers
        read and write; one commit is made of what they did.
        """
        from deltalakedb.table.operations.delete import delete

        options = _options(
            writer_properties,
            commit_properties,
            token,
            hooks=post_commithook_properties,
            isolation=isolation,
            if_version=if_version,
            mirror=mirror,
            client=self._client if client is None else client,
        )
        return self._changed(lambda catalog, base: delete(catalog, base, predicate, options))

    def refresh(self) -> Self:
        raise NotImplementedError

    @overload
    def update(self) -> Self: ...

    @overload
    def update(
        self,
        updates: Mapping[str, str] | None = None,
        new_values: Mapping[str, Any] | Predicate = None,
        predicate: Predicate = None,
        *,
        writer_properties: Any = None,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
        isolation: str | None = None,
        if_version: int | None = None,
        mirror: str | None = None,
        token: str | None = None,
        client: Any = None,
    ) -> dict[str, Any]: ...

    def update(
        self,
        updates: Mapping[str, str] | None = None,
        new_values: Mapping[str, Any] | Predicate = None,
        predicate: Predicate = None,
        *,
        writer_properties: Any = None,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
        isolation: str | None = None,
        if_version: int | None = None,
        mirror: str | None = None,
        token: str | None = None,
        client: Any = None,
    ) -> dict[str, Any] | Self:
        """Set columns where `predicate` is TRUE, everywhere without one. Returns metrics.

        `update()` alone is `refresh`, which once had this name.

        `updates` are Spark SQL expressions by column, over the old values; `new_values` Python
        values. In their place the condition may stand: `update(updates, predicate)`. New rows meet
        the table's constraints, else CONSTRAINT_VIOLATION and no commit. `client` as for `delete`.
        """
        from deltalakedb.table.operations.update import update

        if updates is None and new_values is None and predicate is None:
            return self.refresh()
        options = _options(
            writer_properties,
            commit_properties,
            token,
            hooks=post_commithook_properties,
            isolation=isolation,
            if_version=if_version,
            mirror=mirror,
            client=self._client if client is None else client,
        )
        return self._changed(
            lambda catalog, base: update(catalog, base, updates, new_values, predicate, options)
        )

    def merge(
        self,
        source: Any,
        predicate: str,
        source_alias: str | None = None,
        target_alias: str | None = None,
        *,
        merge_schema: bool = False,
        max_spill_size: int | None = None,
        max_temp_directory_size: int | None = None,
        writer_properties: Any = None,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
        isolation: str | None = None,
        if_version: int | None = None,
        mirror: str | None = None,
        token: str | None = None,
        client: Any = None,
    ) -> TableMerger:
        """A MERGE of `source` (whatever `append` takes) by a condition over both: see `execute`.

        Aliases are `source` and `target` unless given. The source is read once, and kept on disk;
        its keys choose the files that are opened. `merge_schema` adds its columns to the table.
        `max_spill_size`: bytes of memory that the join takes before it goes to disk (default 256
        MiB), `max_temp_directory_size` the most that it takes there. `client` as for `delete`; the
        source lies beside the data meanwhile.
        """
        from deltalakedb.table.merging import TableMerger
        from deltalakedb.table.operations.merge import MergeOptions, merge

        rewrite = _options(
            writer_properties,
            commit_properties,
            token,
            hooks=post_commithook_properties,
            isolation=isolation,
            if_version=if_version,
            mirror=mirror,
            client=self._client if client is None else client,
        )
        options = MergeOptions(
            rewrite=rewrite,
            source_alias=source_alias or "source",
            target_alias=target_alias or "target",
            merge_schema=merge_schema,
            max_spill_size=max_spill_size,
            max_temp_directory_size=max_temp_directory_size,
        )
        return TableMerger(
            lambda data, condition, clauses, options: self._changed(
                lambda catalog, base: merge(catalog, base, data, condition, clauses, options)
            ),
            source,
            predicate,
            options,
        )


def _options(
    writer_properties: Any,
    commit_properties: Any,
    token: str | None,
    client: Any = None,
    **commit: Any,
) -> RewriteOptions:
    from deltalakedb.table.operations.properties import CommitOptions
    from deltalakedb.table.operations.rewrite import RewriteOptions

    return RewriteOptions(
        writer_properties=writer_properties,
        commit=CommitOptions.of(commit_properties, token, **commit),
        client=client,
    )
