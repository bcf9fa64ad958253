"""`begin`: several tables in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.table_name import full_name, parse_table_name
from deltalakedb.commit.refusal import location_taken, table_exists
from deltalakedb.commit.staged import Isolation, StagedTable
from deltalakedb.config import SqlConfig
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.snapshot.snapshot import Snapshot
from deltalakedb.table.beginning import Beginning
from deltalakedb.table.connect import open_catalog
from deltalakedb.table.member import Member
from deltalakedb.table.merging import TableMerger
from deltalakedb.table.naming import NameChanges
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.operations.write import WriteOptions
from deltalakedb.table.table import Table
from deltalakedb.table.transaction import (
    TransactionResult,
    conflicts,
    ratify_group,
)
from deltalakedb.uri import parse_database, parse_table_uri

if TYPE_CHECKING:
    from deltalakedb.table.operations.create import NewTable


def begin(
    database: str | SqlConfig,
    *,
    isolation: Isolation = "WriteSerializable",
    token: str | None = None,
    mirror: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    commit_properties: Any = None,
    client: Any = None,
) -> Transaction:
    """Begin a transaction over tables of one catalog, at this moment's version of each of them.

    `database`: a SQLite path, a database URL, or a SqlConfig. As a context manager it commits at
    the end of the block, and an exception rolls it back. `isolation`: WriteSerializable holds what
    was read of the tables that are written against others' commits, but for blind appends;
    Serializable holds all that was read, also of tables that are only read; SnapshotIsolation
    only what both have written. `token`, `mirror` and `commit_properties` as `write_deltalake`.
    `client`: a `distributed.Client` whose workers read and write in `delete`, `update`, `merge`.
    """
    url = database.url if isinstance(database, SqlConfig) else parse_database(database)
    options = CommitOptions.of(commit_properties, token, isolation=isolation, mirror=mirror)
    return Transaction(open_catalog(url), options, dict(storage_options or {}), client)


class Transaction:
    """Operations on tables of a catalog, which all become visible at once or not at all.

    A table is named by `name`, `namespace.name`, its URI or an opened `Table`. It is read at the
    version that it had when the transaction began, with what the transaction has done to it
    since. For one thread at a time. `result` is there once it has committed.
    """

    def __init__(
        self,
        catalog: LightCatalog,
        options: CommitOptions,
        storage_options: Mapping[str, Any],
        client: Any = None,
    ) -> None:
        self._catalog = catalog
        self._options = options
        self._storage_options = storage_options
        self._client = client
        self._beginning = Beginning(catalog)
        self._members: dict[str, Member] = {}
        self._gone: list[Member] = []
        self._names = NameChanges(catalog, storage_options)
        self._named_before: dict[tuple[str | None, str], Member] = {}
        self._state: Literal["open", "committed", "rolled back", "unknown"] = "open"
        self.result: TransactionResult | None = None

    def create_table(
        self,
        table: str,
        schema: Any,
        *,
        location: str | None = None,
        partition_by: str | Sequence[str] | None = None,
        properties: Mapping[str, str | None] | None = None,
        name: str | None = None,
        description: str | None = None,
    ) -> Member:
        """Make a table with the transaction; parameters as `dl.create_table`.

        Until the commit it is there for this transaction alone; what is done to it meanwhile is
        part of its version 0. Raises TABLE_EXISTS for a name or a location that is taken, now or
        at the commit.
        """
        from deltalakedb.table.operations.create import NewTable

        self._check_open()
        namespace, called = self._named_new(table)
        new = NewTable(
            name=called,
            namespace=namespace,
            location=location,
            partition_by=[partition_by] if isinstance(partition_by, str) else partition_by or (),
            title=name,
            description=description,
            configuration=properties,
            storage_options=self._storage_options,
        )
        return self._make(new, schema)

    def drop_table(self, table: str | Table, *, purge: bool = False) -> None:
        """Take a table out of the catalog with the transaction, and with it what was done to it.

        Its data and its log stay; its name is free for a table that comes later in the transaction.
        At the commit its log has to have all that the catalog has. `purge` is refused
        (UNSUPPORTED_FEATURE), as nothing could bring files back.
        """
        member = self._member(table)
        if purge:
            raise DeltaLakeError(
                DeltaLakeErrorKind.UNSUPPORTED_FEATURE,
                f"{member.name} can't be purged within a transaction: files that are removed don't "
                "come back with a rollback; drop it without `purge`, or use dl.drop_table",
                table=member.name,
            )
        member.drop()
        del self._members[member.row.table_id]
        self._named_before.clear()
        if not member.is_yet_to_be:
            self._names.drop(member.row)
            self._gone.append(member)

    def rename_table(self, table: str | Table, new_name: str) -> None:
        """Give a table another `[namespace.]name` with the transaction, which knows it by that.

        Raises TABLE_EXISTS for a name that is taken, now or at the commit, INVALID_ARGUMENT for one
        that no table can have.
        """
        namespace, name = parse_table_name(new_name)
        member = self._member(table)
        for other in self._members.values():
            if other is not member and other.name == new_name:
                raise table_exists(new_name)
        self._names.check_free(new_name, member.row)
        self._named_before.clear()
        member.rename(namespace, name)
        if not member.is_yet_to_be:
            self._names.rename(member.row, namespace, name)

    def append(self, table: str | Table, data: Any, **options: Any) -> None:
        """Add rows; `options` as `write`."""
        self.write(table, data, mode="append", **options)

    def overwrite(self, table: str | Table, data: Any, **options: Any) -> None:
        """Replace all rows, those of a predicate, or of partitions; `options` as `write`."""
        self.write(table, data, mode="overwrite", **options)

    def write(
        self,
        table: str | Table,
        data: Any,
        *,
        mode: Literal["append", "overwrite"] = "append",
        commit_properties: Any = None,
        **options: Any,
    ) -> None:
        """Write rows; the files are put now. `options`: `write_deltalake`'s, of how to write."""
        if mode not in ("append", "overwrite"):
            raise _invalid(f"no mode {mode!r} in a transaction; use append or overwrite")
        allowed = WriteOptions.__dataclass_fields__.keys() - {"mode", "commit"}
        unknown = sorted(options.keys() - allowed)
        if unknown:
            raise _invalid(
                f"a write in a transaction has no option {', '.join(unknown)}; it has "
                f"{', '.join(sorted(allowed))}, and what is said of commits is said to `begin`"
            )
        commit = CommitOptions.of(commit_properties)
        self.table(table).write(data, WriteOptions(mode=mode, commit=commit, **options))

    def delete(self, table: str | Table, predicate: Any = None, **options: Any) -> dict[str, Any]:
        """Delete rows, as `Table.delete`; the metrics."""
        return _metrics(self.table(table).delete(predicate, **_of_operation(options)))

    def update(
        self,
        table: str | Table,
        updates: Mapping[str, str] | None = None,
        new_values: Any = None,
        predicate: Any = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Set columns where a predicate is TRUE, as `Table.update`; the metrics."""
        changed = self.table(table)
        return _metrics(changed.update(updates, new_values, predicate, **_of_operation(options)))

    def merge(self, table: str | Table, source: Any, predicate: str, **options: Any) -> TableMerger:
        """A MERGE, as `Table.merge`; its `execute` is to be called within the transaction."""
        return self.table(table).merge(source, predicate, **_of_operation(options))

    def table(self, table: str | Table) -> Member:
        """The table as the transaction has it, for whatever can be done to one."""
        return self._member(table)

    def snapshot(self, table: str | Table) -> Snapshot:
        """The table as this transaction sees it; what is planned on it counts as read."""
        return self._member(table).snapshot()

    def conflicts(self) -> list[DeltaLakeError]:
        """What would keep the transaction from committing now, found out under the lock."""
        self._check_open()
        return conflicts(
            self._catalog, self._staged(), self._options, self._storage_options, self._names.all
        )

    def commit(self) -> TransactionResult:
        """Commit all tables in one transaction of the database, then publish them.

        Where nothing was staged, nothing is committed, and the result has no tables. Raises
        CONCURRENCY_ERROR, having rolled back, and what `write_deltalake` raises.
        """
        self._check_open()
        try:
            with self._names.ready():
                result = self._ratified()
        except DeltaLakeError as error:
            if error.outcome == "failed":
                self.rollback()
            else:
                self._state = "committed" if error.outcome == "committed" else "unknown"
            raise
        except BaseException:
            # Whether the database has committed isn't known here: the files may be needed.
            self._state = "unknown"
            raise
        self._state = "committed"
        self.result = result
        self._beginning.note_used(self._members)
        for member in self._members.values():
            member.discard(all_of_it=result.repeated)
        self._names.finish()
        return result

    def _ratified(self) -> TransactionResult:
        """Where others have rearranged files, rows are changed where they are now."""
        left = self._options.retries
        while True:
            try:
                return ratify_group(
                    self._catalog,
                    self._staged(),
                    self._options,
                    self._storage_options,
                    self._names.all,
                )
            except DeltaLakeError as error:
                if error.facts.get("rule") != "concurrent_delete_delete" or not left:
                    raise
                left -= 1
                followed = [member.follow() for member in self._members.values()]
                if not any(followed):
                    raise

    def rollback(self) -> None:
        """Commit nothing, and remove the files that this transaction has written."""
        if self._state != "open":
            return
        self._state = "rolled back"
        for member in self._members.values():
            member.discard(all_of_it=True)

    def _staged(self) -> list[StagedTable]:
        serializable = self._options.isolation == "Serializable"
        renamed = self._names.renamed
        found = [
            member.committing(serializable=serializable, locked=table_id in renamed)
            for table_id, member in self._members.items()
        ]
        found += [
            member.committing(serializable=serializable, locked=True) for member in self._gone
        ]
        return [each for each in found if each is not None]

    def _member(self, table: str | Table) -> Member:
        self._check_open()
        named = self._named(table)
        member = self._named_before.get(named) or self._called(table)
        if member is None:
            member = self._named_before[named] = self._opened(*named)
        return member

    def _opened(self, namespace: str | None, name: str) -> Member:
        row, state = self._beginning.open(namespace, name)
        member = self._members.get(row.table_id)
        if row.table_id in self._names.freed and (member is None or name != row.table_id):
            raise queries.no_table(self._catalog, name)
        if member is None:
            base = Base.of(*self._beginning.at_beginning(row, state), self._storage_options)
            member = self._members[row.table_id] = Member(
                self._catalog, base, self._options, self._check_open, self._client
            )
        return member

    def _make(self, new: NewTable, schema: Any) -> Member:
        # What an append doesn't need takes a second of imports.
        from deltalakedb.catalog.catalog import Catalog
        from deltalakedb.table.operations.create import creation, new_base
        from deltalakedb.write.schema import schema_of

        for member in self._members.values():
            if member.name == new.full_name:
                raise table_exists(new.full_name)
        with Catalog(self._catalog.reader.url) as catalog:
            token, freed = self._options.token, self._names.freed
            base = new_base(catalog, new, schema_of(schema), token, freed=freed)
        for member in self._members.values():
            if member.location == base.row.location:
                raise location_taken(base.row, member.name)
        member = Member(self._catalog, base, self._options, self._check_open, self._client)
        self._members[base.row.table_id] = member
        member.begin_with(creation(base, WriteOptions()))
        return member

    def _called(self, table: str | Table) -> Member | None:
        """A table that has its name by this transaction."""
        if isinstance(table, Table):
            return None
        named = self._named_new(table) if "://" in table else None
        renamed = self._names.renamed
        for member in self._members.values():
            ours = member.is_yet_to_be or member.row.table_id in renamed
            if ours and member.name == (full_name(*named) if named else table):
                return member
        return None

    def _named_new(self, table: str) -> tuple[str, str]:
        if "://" not in table:
            return parse_table_name(table)
        namespace, name = self._named(table)
        return namespace or "", name

    def _named(self, table: str | Table) -> tuple[str | None, str]:
        if isinstance(table, Table):
            if table.catalog is not self._catalog:
                self._check_catalog(table.catalog, table.name)
            return None, table.table_id
        if "://" not in table:
            return None, table
        parsed = parse_table_uri(table)
        if parsed.database != self._catalog.reader.url:
            self._check_catalog(open_catalog(parsed.database), parsed.name)
        return parsed.namespace, parsed.table

    def _check_catalog(self, other: LightCatalog, name: str) -> None:
        if other is not self._catalog and other.catalog_id != self._catalog.catalog_id:
            raise _invalid(
                f"{name} is in {other.reader.dialect.described}, this transaction in "
                f"{self._catalog.reader.dialect.described}: two catalogs can't commit together; "
                "use a transaction for each"
            )

    def _check_open(self) -> None:
        if self._state != "open":
            raise _invalid(f"this transaction is {self._state}; begin another")

    def __enter__(self) -> Transaction:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.rollback()
        elif self._state == "open":
            self.commit()

    def __repr__(self) -> str:
        names: Sequence[str] = [member.name for member in self._members.values()]
        described = self._catalog.reader.dialect.described
        return f"Transaction({described!r}, {self._state}, tables={list(names)})"


def _of_operation(options: Mapping[str, Any]) -> Mapping[str, Any]:
    said = sorted(options.keys() & {"isolation", "if_version", "mirror", "token"})
    if said:
        raise _invalid(f"{', '.join(said)} can't be said of one operation; say it to `begin`")
    return options


def _metrics(found: dict[str, Any]) -> dict[str, Any]:
    """Without the version, which nobody knows before the transaction commits."""
    return {name: value for name, value in found.items() if name != "version"}


def _invalid(what: str) -> DeltaLakeError:
    return DeltaLakeError(DeltaLakeErrorKind.INVALID_ARGUMENT, what)
