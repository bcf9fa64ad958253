"""The next version of a table: its bytes, and the rows that a live load gets with it.

PROTOCOL.md, "Delta Log Entries". Made under the lock of the table's head, and by who makes a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from deltalakedb.catalog.dialects.writer import Statement, Writer, insert
from deltalakedb.catalog.loads.slots import wider_slots
from deltalakedb.commit import outbox
from deltalakedb.commit.bodies import Bodies
from deltalakedb.commit.completed import completed
from deltalakedb.commit.heads import Locked
from deltalakedb.commit.live import LiveLoad
from deltalakedb.commit.prepared import columns_of, prepare
from deltalakedb.commit.staged import StagedCommit, StagedTable
from deltalakedb.log.commit import StateChange, version_row
from deltalakedb.log.commit_writer import GROUP_TAG, action_line, group_body
from deltalakedb.log.partition import partition_values_text
from deltalakedb.log.protocol import Protocol, check_known, unreadable_features


@dataclass(frozen=True)
class Committed:
    """A table's part of a commit.

    `row` is what is to be published. `repeated` tells that an earlier call had written this
    already: its token or its application's version.
    """

    table: StagedTable
    version: int
    timestamp: int
    row: outbox.OutboxRow | None
    repeated: bool = False
    published_version: int = -1

    @property
    def key(self) -> int:
        """The table's key."""
        return self.table.table.table_key


class Version:
    """The next version of one table, under its lock."""

    def __init__(
        self,
        writer: Writer,
        staged: StagedCommit,
        table: StagedTable,
        locked: Locked,
        versions: Sequence[tuple[str, int]],
    ) -> None:
        self._writer = writer
        self._staged = staged
        self._table = table
        self._head = locked.heads[table.table.table_key]
        self._versions = versions
        self._now = locked.now
        self.statements: list[Statement] = []

    def committed(self, bodies: Bodies) -> Committed:
        table, head = self._table, self._head
        version = head.head_version + 1
        before = head.commit_time
        timestamp = self._now if before is None else max(self._now, before + 1)
        self._table = table = completed(self._writer, table, head.live_load, version, timestamp)
        said = table.info
        if self._staged.group_id is not None:
            said = replace(said, tags={**(said.tags or {}), GROUP_TAG: self._staged.group_id})
        info = said.body(
            timestamp=timestamp,
            read_version=table.read_version if table.read_version >= 0 else None,
            in_commit_timestamp=timestamp if table.in_commit_timestamps else None,
        )
        first = action_line("commitInfo", info)
        if self._staged.group_id is not None:
            group = group_body(self._staged.group_id, self._members(), self._staged.catalog_id)
            first += action_line("transactionGroup", group)
        row = outbox.outbox_row(version, head.epoch, first, bodies.of(table), self._now)
        load = LiveLoad(head.table_key, head.live_load)
        self.statements += self._rows(load, version, info, row, timestamp)
        return Committed(table, version, timestamp, row, False, head.published_version)

    def _members(self) -> list[tuple[str, int]]:
        """By what the logs themselves call their tables."""
        known = {each.table.table_id: each.metadata_id for each in self._staged.tables}
        return [(known[table_id] or table_id, version) for table_id, version in self._versions]

    def _rows(
        self,
        load: LiveLoad,
        version: int,
        info: dict[str, Any],
        row: outbox.OutboxRow,
        timestamp: int,
    ) -> Iterator[Statement]:
        table, head, writer = self._table, self._head, self._writer
        prepared = table.prepared
        if prepared.columns != columns_of(head.skipping):
            # The table was imported anew, and prunes by other columns now.
            prepared = prepare(table.added, table.removes, table.removes_change_data, head.skipping)
        removed_at = None if table.adds_again else table.deletion_time
        for endings in prepared.endings(version, removed_at):
            closing = load.close(writer, endings)
            if prepared.ends_many:
                # Here and now, as rows that are loaded in bulk: not all are held.
                writer.run(list(closing))
            else:
                yield from closing
        num_files = head.num_files + table.added.num_rows - table.removes.num_rows
        total_bytes = head.total_bytes + prepared.bytes_added - prepared.bytes_removed
        if table.added.num_rows:
            yield from load.insert(writer, prepared.files_of(load.load_id, version))
            wider = wider_slots(head.skipping, prepared.slots)
            if wider is not None:
                yield Statement(
                    "UPDATE dl_tables SET skipping = ? WHERE table_key = ?",
                    (wider, load.table_key),
                )
        yield from load.count(writer, prepared.counted(version))
        yield from load.state(writer, _small_actions(table, version))
        yield from _extra_rows(load, version, table)
        if table.protocol is not None:
            protocol = Protocol.from_action(dict(table.protocol))
            check_known(protocol)
            yield Statement(
                "UPDATE dl_tables SET unreadable_features = ? WHERE table_key = ?",
                (",".join(unreadable_features(protocol)), load.table_key),
            )
        counts = [table.added.num_rows, 0 if table.adds_again else table.removes.num_rows]
        history = version_row(version, info, timestamp, counts, prepared.bytes_added)
        yield load.record(
            history
            | {
                "commit_time": timestamp,
                "log_bytes": row.size,
                "log_digest": row.digest,
                "live_files": num_files,
                "live_bytes": total_bytes,
            }
        )
        yield from load.changes(writer, version, prepared.changes)
        yield insert(
            "dl_commits",
            ("table_key", "token", "version", "epoch", "group_id", "committed_at"),
            [
                (
                    load.table_key,
                    token,
                    version,
                    head.epoch,
                    self._staged.group_id,
                    self._now,
                )
                for token in (self._staged.token, *self._staged.members)
            ],
        )
        yield outbox.put(load.table_key, row)
        place = None
        if writer.place and head.place and not table.is_ratified_by_log:
            # Where the log ratifies, the lock is let go of in between.
            place = writer.place, head.place
        yield load.move_head(
            head.head_version, version, num_files, total_bytes, self._now, table.authority, place
        )


def group_row(staged: StagedCommit, versions: Sequence[tuple[str, int]], now: int) -> Statement:
    """INSERT of a transaction over several tables: (table id, version) of each."""
    return insert(
        "dl_transactions",
        ("group_id", "isolation", "members", "committed_at"),
        [(staged.group_id, staged.isolation, orjson.dumps(versions).decode(), now)],
    )


def _small_actions(table: StagedTable, version: int) -> list[StateChange]:
    found = [
        *([("protocol", "", table.protocol)] if table.protocol else []),
        *([("metaData", "", table.metadata)] if table.metadata else []),
        *(("txn", str(body["appId"]), body) for body in table.txns),
        *(("domainMetadata", str(body["domain"]), body) for body in table.domains),
    ]
    return [StateChange(version, action, key, dict(body)) for action, key, body in found]


def _extra_rows(load: LiveLoad, version: int, table: StagedTable) -> Iterator[Statement]:
    if table.changes:
        yield insert(
            "dl_change_files",
            ("load_id", "version", "path", "partition_values", "size", "tags"),
            [
                (
                    load.load_id,
                    version,
                    body["path"],
                    partition_values_text(body.get("partitionValues") or {}),
                    body.get("size"),
                    None,
                )
                for body in table.changes
            ],
        )
    if table.others:
        yield insert(
            "dl_other_actions",
            ("load_id", "version", "position", "action", "body"),
            [
                (load.load_id, version, place, kind, orjson.dumps(body).decode())
                for place, (kind, body) in enumerate(table.others)
            ],
        )
