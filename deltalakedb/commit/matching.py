"""What winners' files may hold, and what held when a commit read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.records import ADDED, load_files_name
from deltalakedb.commit.conflict import ChangedFile, Winner
from deltalakedb.commit.heads import LockedHead
from deltalakedb.commit.staged import StagedTable
from deltalakedb.log.rows import FILE_SCHEMA, LIVE, file_keys
from deltalakedb.planning.pruning.partitions import PartitionTuples
from deltalakedb.planning.pruning.statistics import statistics_may_match
from deltalakedb.predicate.tree import Expr, Literal

if TYPE_CHECKING:
    from deltalakedb.catalog.dialects.writer import Writer

_CHUNK = 200


class Matching:
    """Asks within the transaction of a commit, and only for what is needed."""

    def __init__(self, writer: Writer, table: StagedTable) -> None:
        self._writer = writer
        self._table = table
        self._load = table.table.live_load

    def base_metadata(self, winners: Sequence[Winner], head: LockedHead) -> dict[str, Any]:
        """The `metaData` that held at the version that was read, where a winner changed it."""
        if not any(winner.metadata for winner in winners):
            return {}
        return self._body("dl_metadata", head)

    def base_protocol(self, winners: Sequence[Winner], head: LockedHead) -> dict[str, Any]:
        """The same of the `protocol`."""
        if not any(winner.protocol for winner in winners):
            return {}
        return self._body("dl_protocols", head)

    def _body(self, name: str, head: LockedHead) -> dict[str, Any]:
        at = self._table.read_version
        rows = self._writer.ask(
            Statement(
                f"SELECT body FROM {name} "
                "WHERE load_id = ? AND added_version <= ? AND removed_version > ?",
                (head.live_load, at, at),
            )
        )
        body: dict[str, Any] = orjson.loads(rows[0][0]) if rows else {}
        return body

    @cached_property
    def _partition_columns(self) -> list[str]:
        rows = self._writer.ask(
            Statement(
                "SELECT partition_columns FROM dl_metadata WHERE load_id = ? "
                "AND added_version <= ? AND removed_version > ?",
                (self._load, self._table.read_version, self._table.read_version),
            )
        )
        return list(orjson.loads(rows[0][0])) if rows else []

    def may_match(self, predicate: Expr, file: ChangedFile) -> bool:
        """Whether the file may hold a row of the predicate: by partition, then by statistics."""
        rest = predicate
        if self._partition_columns:
            tuples = PartitionTuples([file.partition_values])
            found, which = tuples.residuals(predicate, self._partition_columns)
            rest = found[which[0]]
        if isinstance(rest, Literal):
            return rest.value is True
        return statistics_may_match(rest, file.stats)

    def live_rows(self, head: LockedHead, paths: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The lives at the head of paths that winners added, rows of FILE_SCHEMA by raw path."""
        if all(path in head.lives for path in paths):
            return {path: head.lives[path] for path in paths}
        names = [n for n in FILE_SCHEMA.names if n not in ("path_key2", "partition_values")]
        columns = ", ".join(f"f.{name}" for name in names)
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(paths), _CHUNK):
            some = paths[start : start + _CHUNK]
            for row in self._writer.ask(
                Statement(
                    f"SELECT {columns}, p.partition_values "
                    f"FROM {load_files_name(head.live_load)} f JOIN dl_partitions p "
                    "ON p.load_id = f.load_id AND p.partition_id = f.partition_id "
                    f"WHERE f.load_id = ? AND f.removed_version = {LIVE} "
                    "AND f.path_key IN (SELECT c.path_key FROM dl_changes c "
                    f"WHERE c.table_key = ? AND c.version > ? AND c.kind = {ADDED}) "
                    f"AND f.path IN ({', '.join('?' * len(some))})",
                    (head.live_load, head.table_key, self._table.read_version, *some),
                )
            ):
                values = dict(zip((*names, "partition_values"), row, strict=True))
                _, second = file_keys([values["path"]], [values["dv_id"]])
                found[values["path"]] = values | {"path_key2": int(second[0])}
        return found
