"""What an operation starts from: a table's newest version, and whether we may write to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.reading.catalog import LightCatalog
from deltalakedb.catalog.reading.opening import open_head
from deltalakedb.catalog.reading.proof import proven_rows
from deltalakedb.catalog.records import TableRow, TableState, load_files_name
from deltalakedb.commit.staged import StagedTable, no_files
from deltalakedb.engine.where import parse_where
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.columns import array_of
from deltalakedb.log.features import enabled
from deltalakedb.log.metadata import Metadata, protocol_of
from deltalakedb.log.protocol import Protocol, check_writable
from deltalakedb.log.rows import FILE_SCHEMA, file_keys, without
from deltalakedb.log.schema import StructType, column_mapping_mode
from deltalakedb.log.table_properties import IN_COMMIT_TIMESTAMPS
from deltalakedb.planning.plan import plan
from deltalakedb.planning.request import PlanRequest
from deltalakedb.predicate.tree import TRUE, Expr
from deltalakedb.snapshot.overlay import OnRead, OverlaidSnapshot
from deltalakedb.snapshot.snapshot import Snapshot
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.storage.store import ObjectStore
from deltalakedb.write.constraints import RowChecks
from deltalakedb.write.target import FileTarget

_FEW_FILES = 5_000
_KEYED_ROWS = 20_000
_FROM_FILES = tuple(n for n in FILE_SCHEMA.names if n != "path_key2")


Enlist = Callable[[StagedTable, Sequence[str]], None]
"""Takes an operation's actions, and the names of the objects that it wrote."""


class Shape:
    """Metadata and protocol, and what is made of them once for all bases that have them."""

    def __init__(self, metadata: Metadata, protocol: Protocol) -> None:
        self.metadata = metadata
        self.protocol = protocol
        self.is_enforceable = False
        """Whether that was found out; see `check_enforceable`."""

    @cached_property
    def target(self) -> FileTarget:
        return FileTarget.of(self.metadata, self.protocol)

    @cached_property
    def demands_nothing(self) -> bool:
        struct = self.metadata.schema.struct
        return RowChecks(struct, self.metadata.configuration).is_empty


@lru_cache(512)
def _shape(texts: bytes) -> Shape:
    """By what the catalog has of them, as JSON."""
    metadata, protocol = orjson.loads(texts)
    return Shape(Metadata.of(metadata), protocol_of(protocol))


@dataclass(frozen=True)
class Base:
    """A table at the version on which an operation is based, `row.head_version`.

    `staged` is what a transaction has done to the table before, uncommitted: `metadata`,
    `protocol` and `live_files` are those after it. `enlist` takes what an operation does within a
    transaction, instead of a commit. `is_remembered`: known from an operation before, not read.
    `moment`: the current time in what is parsed, where several conditions are to have one.
    """

    row: TableRow
    metadata: Metadata
    protocol: Protocol
    state: TableState
    storage_options: Mapping[str, Any]
    staged: StagedTable | None = None
    enlist: Enlist | None = field(default=None, compare=False)
    is_remembered: bool = False
    moment: datetime | None = None
    read_shape: Shape | None = field(default=None, compare=False, repr=False)

    def after(self, version: int) -> Base:
        """The table at a version that was committed on this one, for appending to it."""
        # Copied as it is, with what was made of it: nothing is to be checked again.
        found = object.__new__(Base)
        found.__dict__.update(self.__dict__, row=self.row.at(version), is_remembered=True)
        return found

    @classmethod
    def read(
        cls,
        catalog: LightCatalog,
        namespace: str | None,
        name: str,
        storage_options: Mapping[str, Any] | None,
    ) -> Base | None:
        """The table, None where the catalog has none of that name."""
        found = open_head(catalog, namespace, name)
        if found is None:
            return None
        return cls.of(*found, storage_options)

    @classmethod
    def named(
        cls, catalog: LightCatalog, reference: str, storage_options: Mapping[str, Any] | None
    ) -> Base:
        """By uuid, name or `namespace.name`; TABLE_NOT_FOUND for none."""
        row = queries.find_table(catalog, reference)
        found = cls.read(catalog, None, row.table_id, storage_options)
        if found is None:
            raise queries.no_table(catalog, reference)
        return found

    @classmethod
    def of(
        cls, row: TableRow, state: TableState, storage_options: Mapping[str, Any] | None
    ) -> Base:
        """From a table's row and what holds at its head."""
        shape = _shape(orjson.dumps((state.metadata, state.protocol)))
        return cls(
            row,
            shape.metadata,
            shape.protocol,
            state,
            dict(storage_options or {}),
            read_shape=shape,
        )

    @cached_property
    def data(self) -> ObjectStore:
        """The store of the data files."""
        return open_store(StoreSpec(self.row.location, dict(self.storage_options)))

    @cached_property
    def shape(self) -> Shape:
        """Its metadata and protocol; those that were read, but where a transaction changed them."""
        read = self.read_shape
        if read is not None and (read.metadata, read.protocol) == (self.metadata, self.protocol):
            return read
        return Shape(self.metadata, self.protocol)

    @property
    def target(self) -> FileTarget:
        """The table as its data files know it."""
        return self.shape.target

    @property
    def demands_nothing(self) -> bool:
        """Whether any rows of its types are the table's: no constraint, no default."""
        return self.shape.demands_nothing

    @property
    def struct(self) -> StructType:
        return self.metadata.schema.struct

    def snapshot(self, catalog: LightCatalog, on_read: OnRead | None = None) -> Snapshot:
        """The table as the operation sees it; `on_read` is told of what is planned."""
        if self.staged is None and on_read is None:
            return Snapshot(catalog, self.row, self.state, storage_options=self.storage_options)
        return OverlaidSnapshot(
            catalog,
            self.row,
            self.state,
            metadata=self.metadata,
            protocol=self.protocol,
            adds=no_files() if self.staged is None else self.staged.adds,
            removes=no_files() if self.staged is None else self.staged.removes,
            on_read=on_read or (lambda predicate, paths: None),
            storage_options=self.storage_options,
        )

    @property
    def marks(self) -> tuple[tuple[str, int], ...]:
        """The last numbers that the transaction has given to identity columns."""
        return () if self.staged is None else self.staged.identity_marks

    @property
    def is_yet_to_be(self) -> bool:
        """Whether the transaction makes the table: the catalog has nothing of it."""
        return self.row.head_version < 0

    @property
    def in_commit_timestamps(self) -> bool:
        return enabled(self.metadata.configuration, IN_COMMIT_TIMESTAMPS)

    @property
    def tracks_rows(self) -> bool:
        """Whether each file that is added has to say which ids its rows have."""
        return self.protocol.supports_writer_feature("rowTracking")

    def check_may_write(self, *, removes: bool) -> None:
        """Refuse by name what we couldn't enforce; READ_ONLY for removing from an append-only one.

        Raises UNSUPPORTED_FEATURE before a file is written.
        """
        check_writable(self.protocol)
        configuration = self.metadata.configuration
        if removes and enabled(configuration, "delta.appendOnly"):
            raise DeltaLakeError(
                DeltaLakeErrorKind.READ_ONLY,
                f"{self.row.full_name} is append-only (delta.appendOnly); append to it, or set "
                "that property to false",
                table=self.row.full_name,
            )
        if not self.shape.is_enforceable:
            check_enforceable(self.row.full_name, self.struct, configuration)
            self.shape.is_enforceable = True

    def live_files(
        self, catalog: LightCatalog, partitions: Sequence[int] | None = None
    ) -> pa.Table:
        """The lives at the version, as rows of FILE_SCHEMA; those of some partition ids."""
        if self.is_yet_to_be:
            return self._with_staged(no_files(), partitions)
        row = self.row
        columns = _FROM_FILES
        where = ""
        if partitions is not None:
            listed = ", ".join(str(int(ident)) for ident in partitions) or "NULL"
            where = f"AND f.partition_id IN ({listed})"
        if row.num_files <= _FEW_FILES:
            found = _few(catalog, row, columns, where)
        else:
            batches = list(
                queries.stream_files(
                    catalog, row, row.head_version, columns, ordered=False, where=where
                )
            )
            found = pa.Table.from_batches(batches, queries.file_schema(columns))
        return self._with_staged(_with_second_key(found), partitions)

    def at_this_moment(self) -> Base:
        """The same, for conditions that are all to have one current time."""
        return replace(self, moment=datetime.now(UTC))

    def parsed(self, predicate: Any) -> Expr | None:
        """A predicate in any form, as an expression; None for all rows. INVALID_PREDICATE."""
        if predicate is None:
            return None
        mapped = column_mapping_mode(self.metadata.configuration) != "none"
        found = parse_where(
            predicate,
            self.struct,
            mapped=mapped and self.protocol.supports_reader_feature("columnMapping"),
            partition_columns=self.metadata.partition_columns,
            now=self.moment or datetime.now(UTC),
        )
        return None if found == TRUE else found

    def planned(self, catalog: LightCatalog, predicate: Expr | None) -> pa.Table:
        """The lives that may hold rows of a predicate, as rows of FILE_SCHEMA; found over SQL."""
        if self.is_yet_to_be:
            return self._with_staged(no_files())
        row = self.row
        columns = tuple(n for n in FILE_SCHEMA.names if n != "path_key2")
        request = PlanRequest(
            row, row.head_version, tuple(self.metadata.partition_columns), predicate, columns
        )
        return self._with_staged(_with_second_key(plan(catalog, request).files))

    def _with_staged(self, found: pa.Table, partitions: Sequence[int] | None = None) -> pa.Table:
        if self.staged is None:
            return found
        added = self.staged.adds
        if partitions is not None:
            wanted = pa.array(partitions, pa.int64())
            added = added.filter(pc.is_in(added.column("partition_id"), wanted))
        return pa.concat_tables([without(found, self.staged.removes), added])


def _with_second_key(found: pa.Table) -> pa.Table:
    # As Python's values some at a time: of a million they take more than the table.
    parts = [found.slice(start, _KEYED_ROWS) for start in range(0, found.num_rows, _KEYED_ROWS)]
    seconds = [
        array_of(file_keys(part.column("path").to_pylist(), part.column("dv_id").to_pylist())[1])
        for part in parts
    ]
    found = found.append_column("path_key2", pa.chunked_array(seconds, pa.int64()))
    return pa.Table.from_arrays(found.select(FILE_SCHEMA.names).columns, schema=FILE_SCHEMA)


def _few(catalog: LightCatalog, row: TableRow, columns: Sequence[str], where: str) -> pa.Table:
    """Over the connection that is open already."""
    picked = ", ".join(f"p.{c}" if c == "partition_values" else f"f.{c}" for c in columns)
    rows = proven_rows(
        catalog.reader,
        row,
        row.head_version,
        columns,
        f"SELECT {picked} FROM {load_files_name(row.live_load)} f "
        "JOIN dl_partitions p ON p.load_id = f.load_id AND p.partition_id = f.partition_id "
        f"WHERE f.load_id = ? AND {queries.live_predicate(row, row.head_version, 'f')} {where}",
        (row.live_load,),
        key=list(columns).index("path"),
    )
    return queries.few_files(rows, columns)


def check_enforceable(
    name: str, schema: StructType, configuration: Mapping[str, str | None]
) -> None:
    """UNSUPPORTED_FEATURE, by name, for duties towards rows that writing here can't fulfil yet."""
    RowChecks(schema, {k: v for k, v in configuration.items() if v is not None})
