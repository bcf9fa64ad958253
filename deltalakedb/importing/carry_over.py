"""Versions that are committed while a new load is made: into it, before it is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.commit_tables import outbox
from deltalakedb.catalog.loads.swap import TableFacts
from deltalakedb.catalog.records import TableRow
from deltalakedb.catalog.tables import heads, versions
from deltalakedb.commit.extend import Extension
from deltalakedb.commit.outbox import OutboxRow
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind, MissingCommitError
from deltalakedb.log.commit import ActionReader
from deltalakedb.mirror.publish import commit_name, whole
from deltalakedb.replay.state import RangeState
from deltalakedb.storage.store import ObjectStore

MOST_UNDER_LOCK = 100
"""Versions that a swap carries over while writers wait for it."""
_AT_ONCE = 1_000
_ROUNDS = 20


class LeftBehindError(DeltaLakeError):
    """Writers were faster than the carrying over; its last step can be made anew."""

    def __init__(self, name: str, version: int, head: int) -> None:
        super().__init__(
            DeltaLakeErrorKind.CONCURRENCY_ERROR,
            f"a new load of {name} is at version {version}, and its head at {head} already: "
            "commits come faster than they are carried over; run the import again when fewer do",
            table=name,
            version=version,
        )


@dataclass(frozen=True)
class CarryOver:
    """Brings a load of `table`, which nobody sees, up to the head that others move.

    `table`: as it was when the load was begun. Bytes come from the log, and from the outbox
    where the log doesn't have them yet.
    """

    catalog: Catalog
    table: TableRow
    load_id: int
    log: ObjectStore

    def near(self, facts: TableFacts) -> TableFacts:
        """The facts after all versions but a few were carried over, without any lock."""
        for _ in range(_ROUNDS):
            with self.catalog.read() as connection:
                head = self._head(connection)
                if head is None or head.head_version - facts.head_version <= MOST_UNDER_LOCK // 4:
                    return facts
                last = min(head.head_version, facts.head_version + _AT_ONCE)
                state = self._read(connection, facts.head_version + 1, last)
            with self.catalog.write() as connection:
                facts = self._extended(connection, facts, state)
        return facts

    def __call__(
        self, connection: sa.Connection, facts: TableFacts, head: sa.Row[Any]
    ) -> TableFacts:
        """The last versions, under the lock of the head. Raises LeftBehindError."""
        set_back = head.authority == "log" and head.head_version == self.table.head_version
        if set_back or head.head_version <= facts.head_version:
            # A log that ratifies is read to its end, also where it ends below the head.
            return facts
        if head.head_version - facts.head_version > MOST_UNDER_LOCK:
            raise LeftBehindError(facts.full_name, facts.head_version, head.head_version)
        state = self._read(connection, facts.head_version + 1, head.head_version)
        return self._extended(connection, facts, state)

    def _head(self, connection: sa.Connection) -> sa.Row[Any] | None:
        """The head while it is that of the load which was live at the beginning."""
        h = heads.c
        return connection.execute(
            sa.select(heads).where(
                h.table_key == self.table.table_key,
                h.live_load == self.table.live_load,
                h.epoch == self.table.epoch,
            )
        ).first()

    def _extended(
        self, connection: sa.Connection, facts: TableFacts, state: RangeState
    ) -> TableFacts:
        load = replace(
            self.table,
            live_load=self.load_id,
            head_version=facts.head_version,
            known_since=facts.known_since,
            num_files=facts.num_files,
            total_bytes=facts.total_bytes,
            skipping=facts.skipping,
        )
        extended, _ = Extension(self.catalog, connection, load, state.state).apply(state)
        return replace(
            facts,
            head_version=state.last,
            num_files=extended.num_files,
            total_bytes=extended.total_bytes,
            skipping=facts.skipping if extended.skipping is None else extended.skipping,
            unreadable_features=(
                facts.unreadable_features if extended.unreadable is None else extended.unreadable
            ),
        )

    def _read(self, connection: sa.Connection, first: int, last: int) -> RangeState:
        v, o = versions.c, outbox.c
        times = dict(
            connection.execute(
                sa.select(v.version, v.commit_time).where(
                    v.load_id == self.table.live_load, v.version.between(first, last)
                )
            )
            .tuples()
            .all()
        )
        # First the outbox, then the log: what has left the one is in the other.
        waiting = connection.execute(
            sa.select(*[o[name] for name in OutboxRow.__dataclass_fields__]).where(
                o.table_key == self.table.table_key, o.version.between(first, last)
            )
        ).mappings()
        rows = [OutboxRow(**{**row, "body": bytes(row["body"])}) for row in waiting]
        bodies = {row.version: whole(self.log, row) for row in rows}
        in_log = [number for number in range(first, last + 1) if number not in bodies]
        bodies |= zip(in_log, self._read_log(in_log), strict=True)
        reader = ActionReader()
        for number in range(first, last + 1):
            time = times.get(number, 0)
            reader.commit(number, bodies[number], name=commit_name(number), file_time=time)
        return RangeState.replay(reader.finish(), first, last)

    def _read_log(self, numbers: Sequence[int]) -> list[bytes]:
        try:
            return list(self.log.read_many([commit_name(number) for number in numbers]))
        except DeltaLakeError as error:
            if error.kind is not DeltaLakeErrorKind.NOT_FOUND:
                raise
            raise MissingCommitError(
                f"a commit of {self.table.full_name} between versions {numbers[0]} and "
                f"{numbers[-1]} is missing from its log, so a new load can't be brought up to its "
                "head; restore it, then run the import again",
                version=numbers[0],
            ) from error
