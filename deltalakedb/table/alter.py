"""`Table.alter`: delta-rs's names for changes of a table's metadata, and more.

Each method makes one commit and returns its `WriteResult`; nothing is committed where the table is
that way already. `commit_properties` and `post_commithook_properties` are as in `write_deltalake`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from deltalakedb.log.schema import StructType
from deltalakedb.table.operations import alterations, columns, settings
from deltalakedb.table.operations.alter import Altered, Change, alter
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.transaction import WriteResult

if TYPE_CHECKING:
    from deltalakedb.catalog.reading.catalog import LightCatalog


class TableAlterer:
    """What can be changed of a table besides its rows."""

    def __init__(
        self, changed: Callable[[Callable[[LightCatalog, Base], WriteResult]], WriteResult]
    ) -> None:
        self._changed = changed

    def add_columns(
        self,
        fields: Any,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> WriteResult:
        """Add nullable columns, last; in structs that the table has too, what is new in them.

        `fields`: a field or several, of Arrow or delta-rs, or a schema. SCHEMA_MISMATCH for a
        column that is there.
        """
        added = alterations.struct_of(fields)
        named = [field.name for field in added.fields]
        return self._alter(
            lambda base: alterations.with_schema(
                base, columns.with_columns(base.struct, added), "ADD COLUMNS", {"columns": named}
            ),
            commit_properties,
            post_commithook_properties,
        )

    def rename_column(
        self,
        column: str,
        name: str,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> WriteResult:
        """Give a column (a dotted path) another name. It takes column mapping.

        UNSUPPORTED_FEATURE without it, SCHEMA_MISMATCH where a constraint or a generated column
        names it.
        """
        return self._alter(
            lambda base: alterations.rename(base, column, name),
            commit_properties,
            post_commithook_properties,
        )

    def drop_column(
        self,
        column: str,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> WriteResult:
        """Take a column (a dotted path) out. It takes column mapping; files keep its values."""
        return self._alter(
            lambda base: alterations.drop(base, column),
            commit_properties,
            post_commithook_properties,
        )

    def move_column(
        self,
        column: str,
        *,
        first: bool = False,
        after: str | None = None,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> WriteResult:
        """Put a column first, or after another one of the same struct."""
        return self._change_column(
            column,
            lambda struct, path: columns.moved(struct, path, first=first, after=after),
            {"column": column, "position": "FIRST" if first else f"AFTER {after}"},
            commit_properties,
            post_commithook_properties,
        )

    def change_type(
        self,
        column: str,
        type: Any,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> WriteResult:
        """Widen a column's type (an Arrow type, or Delta's name of one), rewriting nothing.

        UNSUPPORTED_FEATURE unless `delta.enableTypeWidening` is true.
        """
        return self._alter(
            lambda base: alterations.widen(base, column, type),
            commit_properties,
            post_commithook_properties,
        )

    def drop_column_not_null(
        self,
        column_name: str,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> WriteResult:
        """Let a column be null."""
        return self._change_column(
            column_name,
            columns.nullable,
            {"column": column_name, "nullable": True},
            commit_properties,
            post_commithook_properties,
        )

    def set_column_metadata(
        self,
        column: str,
        metadata: Mapping[str, Any],
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> WriteResult:
        """Set keys of a column's metadata, such as `comment`; a value of None takes one away."""
        given = dict(metadata)
        return self._change_column(
            column,
            lambda struct, path: columns.with_metadata(struct, path, given),
            {"column": column, "metadata": given},
            commit_properties,
            post_commithook_properties,
        )

    def add_constraint(
        self,
        constraints: Mapping[str, str],
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> WriteResult:
        """Add CHECK constraints: name to Spark SQL, true for all rows from now on.

        The rows that are there are read first; CONSTRAINT_VIOLATION shows one that breaks it.
        """
        return self._alter(
            lambda base: alterations.constrain(base, constraints),
            commit_properties,
            post_commithook_properties,
        )

    def drop_constraint(
        self,
        name: str,
        raise_if_not_exists: bool = True,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> WriteResult:
        """Drop a CHECK constraint."""
        return self._alter(
            lambda base: alterations.unconstrain(base, name, must_exist=raise_if_not_exists),
            commit_properties,
            post_commithook_properties,
        )

    def add_feature(
        self,
        feature: Any,
        allow_protocol_versions_increase: bool = False,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> WriteResult:
        """Support table features, by name or delta-rs's enumeration, with what they imply.

        UNSUPPORTED_FEATURE where that takes higher protocol versions and they aren't allowed.
        """
        listed = [feature] if isinstance(feature, str) or not _is_list(feature) else list(feature)
        return self._alter(
            lambda base: settings.support(base, listed, may_raise=allow_protocol_versions_increase),
            commit_properties,
            post_commithook_properties,
        )

    def drop_feature(
        self,
        feature: Any,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> WriteResult:
        """Take a writer's feature out of the protocol, once nothing of the table uses it."""
        return self._alter(
            lambda base: settings.unsupport(base, feature),
            commit_properties,
            post_commithook_properties,
        )

    def set_table_properties(
        self,
        properties: Mapping[str, Any],
        raise_if_not_exists: bool = True,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> WriteResult:
        """Set properties; features that they need are supported from then on.

        INVALID_ARGUMENT for unknown names that begin with `delta.`, unless `raise_if_not_exists`
        is false.
        """
        given = settings.property_texts(properties)
        return self._alter(
            lambda base: settings.configure(base, given, known=raise_if_not_exists),
            commit_properties,
            post_commithook_properties,
        )

    def unset_table_properties(
        self,
        names: Iterable[str],
        raise_if_not_exists: bool = True,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> WriteResult:
        """Take properties away, so that their defaults hold."""
        listed = [names] if isinstance(names, str) else list(names)
        return self._alter(
            lambda base: settings.unconfigure(base, listed, must_exist=raise_if_not_exists),
            commit_properties,
            post_commithook_properties,
        )

    def set_table_name(
        self,
        name: str,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> WriteResult:
        """Set the name in the table's metadata; `dl rename` gives it another one in the catalog."""
        return self._alter(
            lambda base: alterations.call(base, name),
            commit_properties,
            post_commithook_properties,
        )

    def set_table_description(
        self,
        description: str,
        *,
        commit_properties: Any = None,
        post_commithook_properties: Any = None,
    ) -> WriteResult:
        """Set the description in the table's metadata."""
        return self._alter(
            lambda base: alterations.describe(base, description),
            commit_properties,
            post_commithook_properties,
        )

    def _change_column(
        self,
        column: str,
        change: Callable[[StructType, columns.Path], StructType],
        parameters: Mapping[str, Any],
        commit_properties: Any,
        hooks: Any,
    ) -> WriteResult:
        def changed(base: Base) -> Altered:
            path = columns.path_of(base.struct, column)
            struct = change(base.struct, path)
            return alterations.with_schema(base, struct, "CHANGE COLUMN", parameters)

        return self._alter(changed, commit_properties, hooks)

    def _alter(self, change: Change, commit_properties: Any, hooks: Any) -> WriteResult:
        options = CommitOptions.of(commit_properties, hooks=hooks)
        return self._changed(lambda catalog, base: alter(catalog, base, change, options))


def _is_list(given: Any) -> bool:
    return isinstance(given, Iterable)
