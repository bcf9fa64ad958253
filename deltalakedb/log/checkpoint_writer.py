"""Checkpoints, written as their rows come: memory holds some ten thousand files at a time.

PROTOCOL.md, "Checkpoints", "V2 Spec", "V1 Spec", "Checkpoint Schema", "Sidecar Files" and "Action
Reconciliation". Pure but for the files that the caller opens.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.log import checkpoint_schema as schemas
from deltalakedb.log.checkpoint_part import Kind, Part, Reach, Sidecar
from deltalakedb.log.checkpoint_schema import (
    AddColumns,
    arrow_form,
    distinct,
    json_maps,
    json_vectors,
    struct_column,
    text_map,
)
from deltalakedb.log.checksum import last_checkpoint
from deltalakedb.log.commit_writer import metadata_body
from deltalakedb.log.metadata import Metadata
from deltalakedb.log.protocol import Protocol
from deltalakedb.log.table_properties import (
    CHECKPOINT_POLICY,
    DELETED_FILE_RETENTION,
    TRANSACTION_RETENTION,
    duration_ms,
)

ROWS_AT_A_TIME = 32_768
"""Files that become one row group."""
_MOST_SIDECAR_ROWS = 524_288
_LEAST_SIDECAR_ROWS = 4_096
_SIDECARS = 128


def sidecar_rows(num_files: int) -> int:
    """Files of a sidecar, in a table of so many: few enough that a change leaves most as they are.

    A sidecar in which one file has changed is written anew.
    """
    return min(max(num_files // _SIDECARS, _LEAST_SIDECAR_ROWS), _MOST_SIDECAR_ROWS)


Policy = Literal["classic", "v2"]
_KINDS: tuple[Kind, ...] = ("add", "remove")
_HINTED_SIDECARS = 30
"""More than these the hint leaves to the checkpoint itself, as Spark does."""


@dataclass(frozen=True)
class CheckpointState:
    """What a checkpoint holds beside files: the table at `version`.

    `txns` and `domains` are bodies of the live actions.
    """

    version: int
    protocol: Protocol
    metadata: Metadata
    txns: Sequence[Mapping[str, Any]] = ()
    domains: Sequence[Mapping[str, Any]] = ()

    @property
    def policy(self) -> Policy:
        """V2 where the table's property asks for it and its protocol has the feature."""
        asked = (self.metadata.configuration.get(CHECKPOINT_POLICY) or "").lower() == "v2"
        return (
            "v2" if asked and self.protocol.supports_reader_feature("v2Checkpoint") else "classic"
        )


@dataclass(frozen=True)
class WrittenCheckpoint:
    """A checkpoint that is written. `name` is relative to `_delta_log`."""

    version: int
    name: str
    num_actions: int
    num_adds: int
    size: int
    """Bytes, those of all sidecars included."""
    sidecars: tuple[Sidecar, ...] | None
    top: Mapping[str, Any] = field(repr=False)

    def hint(self) -> bytes:
        """The content of `_last_checkpoint` that leads to this checkpoint."""
        return last_checkpoint(
            self.version,
            size=self.num_actions,
            size_in_bytes=self.size,
            num_add_files=self.num_adds,
            v2=None if self.sidecars is None else self.top,
        )


class CheckpointWriter:
    """Writes a checkpoint. `open_output` gets a name relative to `_delta_log`.

    Files come by `add_files` and `add_removes`, in any number of pieces; `finish` ends it. With
    policy "v2" they go to sidecars, and `keep` names sidecars that stand already. Nothing of it
    counts before `finish`, which writes the file that names all others. `now` is milliseconds since
    1970, from which retentions are reckoned.
    """

    def __init__(
        self,
        open_output: Callable[[str], pa.NativeFile],
        state: CheckpointState,
        *,
        policy: Policy | None = None,
        classic_name: bool = False,
        sidecar_rows: int = _MOST_SIDECAR_ROWS,
        source: str = "",
        now: int | None = None,
    ) -> None:
        """`source`: whose rows the files are (a load, say), for the tags of sidecars."""
        self._open = open_output
        self._state = state
        self.v2 = (policy or state.policy) == "v2"
        self._now = time.time_ns() // 1_000_000 if now is None else now
        configuration = state.metadata.configuration
        kept = duration_ms(configuration, DELETED_FILE_RETENTION)
        assert kept is not None
        self._oldest_remove = self._now - kept
        self._columns = AddColumns(state.metadata, state.protocol)
        self.sidecar_rows = sidecar_rows
        form = hashlib.md5(str(self._columns.type).encode(), usedforsecurity=False).hexdigest()
        self.source = f"{source}:{form}" if source else ""
        self._sidecars: list[Sidecar] = []
        self._counts: dict[Kind, int] = {"add": 0, "remove": 0}
        self._waiting: dict[Kind, list[pa.Table]] = {"add": [], "remove": []}
        self._part: Part | None = None
        classic = classic_name or not self.v2
        middle = "" if classic else f".{uuid.uuid4()}"
        self.name = f"{state.version:020d}.checkpoint{middle}.parquet"
        if not self.v2:
            self._part = Part(self._open(self.name), self.name, self._schema())
            self._part.write(self._small([]))

    def _schema(self) -> pa.Schema:
        files = [("add", self._columns.type), ("remove", schemas.REMOVE)]
        small = [
            ("txn", schemas.TXN),
            ("metaData", schemas.METADATA),
            ("protocol", schemas.PROTOCOL),
            ("domainMetadata", schemas.DOMAIN),
        ]
        v2 = [("checkpointMetadata", schemas.CHECKPOINT_METADATA), ("sidecar", schemas.SIDECAR)]
        # Spark asks every checkpoint for add and remove, also one whose sidecars have them all.
        return pa.schema([*small, *files, *(v2 if self.v2 else [])])

    def file_type(self, kind: Kind) -> pa.StructType:
        """The type of the column `add` or `remove`."""
        return self._columns.type if kind == "add" else schemas.REMOVE

    def _sidecar_schema(self) -> pa.Schema:
        return pa.schema([("add", self._columns.type), ("remove", schemas.REMOVE)])

    def keep(self, sidecars: Sequence[Sidecar]) -> None:
        """Name sidecars of an earlier checkpoint, whose files are not given again."""
        assert self.v2
        self._end_sidecar()
        self._sidecars += sidecars
        self._counts["add"] += sum(each.num_adds for each in sidecars)
        self._counts["remove"] += sum(each.num_removes for each in sidecars)

    def add_files(self, files: pa.Table | pa.RecordBatch) -> None:
        """Live files, rows of `log.rows.FILE_SCHEMA`."""
        self._take("add", _table(files))

    def add_removes(self, files: pa.Table | pa.RecordBatch) -> None:
        """Removed files: ended lives (FILE_SCHEMA) or removes (CLOSING_SCHEMA).

        Those that were removed before the table's retention are left out.
        """
        table = _table(files)
        removed_at = pc.fill_null(table.column("removed_at"), 0)
        self._take("remove", table.filter(pc.greater(removed_at, self._oldest_remove)))

    def add_written(self, kind: Kind, column: pa.StructArray, reach: Reach) -> None:
        """Rows of an earlier sidecar of the same `source`, as they stand in it."""
        self._write_waiting(kind)
        step = min(ROWS_AT_A_TIME, self.sidecar_rows)
        for start in range(0, len(column), step):
            part = column.slice(start, step)
            size = pc.sum(part.field("size")).as_py() or 0 if kind == "add" else 0
            self._put(kind, part, replace(reach, size=size))

    def end_sidecar(self) -> None:
        """Let what comes go into another sidecar than what came, unless that is small."""
        for kind in _KINDS:
            self._write_waiting(kind)
        if self._part is not None and self._part.files >= self.sidecar_rows // 2:
            self._end_sidecar()

    def _take(self, kind: Kind, files: pa.Table) -> None:
        """Gather rows until they make a row group: who asks a database gets them in small parts."""
        waiting = self._waiting[kind]
        for start in range(0, files.num_rows, ROWS_AT_A_TIME):
            waiting.append(files.slice(start, ROWS_AT_A_TIME))
            if sum(part.num_rows for part in waiting) >= ROWS_AT_A_TIME:
                self._write_waiting(kind)

    def _write_waiting(self, kind: Kind) -> None:
        parts = self._waiting[kind]
        if not parts:
            return
        files = pa.concat_tables(parts)
        parts.clear()
        step = min(ROWS_AT_A_TIME, self.sidecar_rows)
        for start in range(0, files.num_rows, step):
            part = files.slice(start, step)
            column = self._add_column(part) if kind == "add" else self._remove_column(part)
            self._put(kind, column, Reach.of(part, kind))

    def _put(self, kind: Kind, column: pa.StructArray, reach: Reach) -> None:
        self._counts[kind] += len(column)
        other: Kind = "remove" if kind == "add" else "add"
        if self.v2 and self._part is not None and self._part.counts[other]:
            self._end_sidecar()
        part = self._part
        if part is None:
            name = f"{uuid.uuid4()}.parquet"
            output = self._open(f"_sidecars/{name}")
            part = self._part = Part(output, name, self._sidecar_schema())
        part.write_files(kind, column, reach)
        if self.v2 and part.files >= self.sidecar_rows:
            self._end_sidecar()

    def _end_sidecar(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            size = part.close()
            self._sidecars.append(
                Sidecar(
                    part.name,
                    size,
                    time.time_ns() // 1_000_000,
                    part.counts["add"],
                    part.counts["remove"],
                    part.reach,
                    self.source,
                )
            )

    def _add_column(self, files: pa.Table) -> pa.StructArray:
        texts, places = distinct(files.column("partition_values"))
        count = files.num_rows
        found: dict[str, pa.Array] = {
            "path": _array(files, "path"),
            "partitionValues": text_map([orjson.loads(t) for t in texts]).take(places),
            "size": _array(files, "size"),
            "modificationTime": _array(files, "modification_time"),
            "dataChange": _constant(value=False, count=count),
            "tags": json_maps(_array(files, "tags")),
            "deletionVector": json_vectors(_array(files, "dv")),
            "baseRowId": _array(files, "base_row_id"),
            "defaultRowCommitVersion": _array(files, "default_row_commit_version"),
            "clusteringProvider": _array(files, "clustering_provider"),
        }
        stats = _array(files, "stats")
        if self._columns.as_json:
            found["stats"] = stats
        if self._columns.as_struct:
            found["stats_parsed"] = self._columns.parsed_statistics(stats)
            if self._columns.partitions:
                parsed = self._columns.parsed_partitions(texts)
                found["partitionValues_parsed"] = parsed.take(places)
        return struct_column(found, self._columns.type)

    def _remove_column(self, files: pa.Table) -> pa.StructArray:
        texts, places = distinct(files.column("partition_values"))
        count = files.num_rows
        absent = pa.nulls(count, pa.int64())
        with_rows = "base_row_id" in files.column_names
        versions = "default_row_commit_version"
        found: dict[str, pa.Array] = {
            "path": _array(files, "path"),
            "deletionTimestamp": _array(files, "removed_at"),
            "dataChange": _constant(value=False, count=count),
            "extendedFileMetadata": _constant(value=True, count=count),
            "partitionValues": text_map([orjson.loads(t) for t in texts]).take(places),
            "size": _array(files, "size"),
            "deletionVector": json_vectors(_array(files, "dv")),
            "baseRowId": _array(files, "base_row_id") if with_rows else absent,
            "defaultRowCommitVersion": _array(files, versions) if with_rows else absent,
        }
        return struct_column(found, schemas.REMOVE)

    def _live_txns(self) -> list[Mapping[str, Any]]:
        kept = duration_ms(self._state.metadata.configuration, TRANSACTION_RETENTION)
        if kept is None:
            return list(self._state.txns)
        oldest = self._now - kept
        return [
            txn
            for txn in self._state.txns
            if txn.get("lastUpdated") is None or txn["lastUpdated"] > oldest
        ]

    def _small(self, sidecars: list[Sidecar]) -> dict[str, pa.Array]:
        """Protocol, metadata, transactions, domains (and sidecars), a row each."""
        state = self._state
        txns = [{"lastUpdated": None, **txn} for txn in self._live_txns()]
        domains = [{"removed": False, **d} for d in state.domains if not d.get("removed")]
        rows: list[tuple[str, Any]] = [
            ("protocol", state.protocol.action()),
            ("metaData", metadata_body(state.metadata)),
            *(("txn", txn) for txn in txns),
            *(("domainMetadata", domain) for domain in domains),
        ]
        if self.v2:
            rows.insert(0, ("checkpointMetadata", {"version": state.version}))
            rows += [("sidecar", sidecar.body()) for sidecar in sidecars]
        self._small_rows = rows
        kinds = {f.name: f.type for f in self._schema()}
        return {
            name: pa.array(
                [arrow_form(body) if kind == name else None for kind, body in rows], type
            )
            for name, type in kinds.items()
            if any(kind == name for kind, _ in rows)
        }

    def finish(self) -> WrittenCheckpoint:
        """Write what is left, last of all what makes the checkpoint one."""
        self._write_waiting("add")
        self._write_waiting("remove")
        if self.v2:
            self._end_sidecar()
            top = Part(self._open(self.name), self.name, self._schema())
            top.write(self._small(self._sidecars))
        else:
            assert self._part is not None
            top = self._part
        size = top.close()
        described = {
            "path": self.name,
            "sizeInBytes": size,
            "modificationTime": time.time_ns() // 1_000_000,
            "nonFileActions": [
                {kind: {key: value for key, value in body.items() if value is not None}}
                for kind, body in self._small_rows
                if kind != "sidecar"
            ],
        }
        if len(self._sidecars) <= _HINTED_SIDECARS:
            described["sidecarFiles"] = [each.body() for each in self._sidecars]
        return WrittenCheckpoint(
            version=self._state.version,
            name=self.name,
            num_actions=len(self._small_rows) + sum(self._counts.values()),
            num_adds=self._counts["add"],
            size=size + sum(each.size for each in self._sidecars),
            sidecars=tuple(self._sidecars) if self.v2 else None,
            top=described,
        )


def _table(rows: pa.Table | pa.RecordBatch) -> pa.Table:
    return rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])


def _array(files: pa.Table, name: str) -> pa.Array:
    column = files.column(name)
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _constant(*, value: bool, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value), count)
