"""`RangeState`: what a contiguous range of versions does to a table. A monoid.

`replay(a + b) == replay(a).merge(replay(b))`, and `merge` is associative; so import, catch-up and
parity read ranges in parallel and put them together in any grouping. The heavy rows need not
meet: `events()` are the part of a state that other ranges need, and `end()` applies what
`events.resolve` found, wherever the rows are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.log.commit import ActionRows, StateChange
from deltalakedb.log.rows import LIVE
from deltalakedb.replay.events import CLOSE, ENDED, NO_TIME, OPEN, Endings, Events, Ints, resolve


@dataclass(frozen=True)
class RangeState:
    """The lives, removes, provenance and small actions of the versions first..last.

    `files` (FILE_SCHEMA): lives that start here, with their end where it is here too;
    `closings` (CLOSING_SCHEMA): removes of files that don't start here;
    `versions`, `changes`, `others`, `state`: in order of version.
    """

    first: int
    last: int
    files: pa.Table
    closings: pa.Table
    versions: pa.Table
    changes: pa.Table
    others: pa.Table
    state: tuple[StateChange, ...]

    @classmethod
    def replay(cls, rows: ActionRows, first: int, last: int) -> RangeState:
        """Reconcile the actions of a range (PROTOCOL.md, "Action Reconciliation")."""
        raw = cls.unresolved(rows, first, last)
        return raw.end(resolve(raw.events(0), [0])[0])

    @classmethod
    def unresolved(cls, rows: ActionRows, first: int, last: int) -> RangeState:
        """The actions as they stand, of a part of a commit: `events` and `end` reconcile them."""
        return cls(
            first,
            last,
            rows.files,
            rows.closings,
            rows.versions,
            rows.changes,
            rows.others,
            tuple(rows.state),
        )

    def merge(self, right: RangeState) -> RangeState:
        """This range followed by `right` (whose first version is the one after `last`)."""
        endings = resolve(Events.concat([self.events(0), right.events(1)]), [0, 1])
        left, later = self.end(endings[0]), right.end(endings[1])
        return RangeState(
            first=self.first,
            last=right.last,
            files=pa.concat_tables([left.files, later.files]),
            closings=pa.concat_tables([left.closings, later.closings]),
            versions=pa.concat_tables([left.versions, later.versions]),
            changes=pa.concat_tables([left.changes, later.changes]),
            others=pa.concat_tables([left.others, later.others]),
            state=left.state + later.state,
        )

    def events(self, part: int) -> Events:
        """What other ranges have to know of this one: 41 bytes an action."""
        files, closings = self.files, self.closings
        ends = _ints(files, "removed_version")
        kind = np.where(ends == LIVE, OPEN, ENDED).astype(np.int8)
        count, closes = files.num_rows, closings.num_rows
        at = closings.column("removed_at").fill_null(int(NO_TIME))
        return Events(
            key=np.concatenate([_ints(files, "path_key"), _ints(closings, "path_key")]),
            key2=np.concatenate([_ints(files, "path_key2"), _ints(closings, "path_key2")]),
            version=np.concatenate(
                [_ints(files, "added_version"), _ints(closings, "removed_version")]
            ),
            kind=np.concatenate([kind, np.full(closes, CLOSE, dtype=np.int8)]),
            part=np.full(count + closes, part, dtype=np.int32),
            row=np.concatenate([np.arange(count), np.arange(closes)]),
            at=np.concatenate(
                [np.full(count, NO_TIME, dtype=np.int64), at.to_numpy().astype(np.int64)]
            ),
        )

    def end(self, endings: Endings) -> RangeState:
        """This state with some of its lives ended and the removes that ended lives taken out."""
        files, closings = self.files, self.closings
        if len(endings.rows):
            ends = _ints(files, "removed_version").copy()
            ends[endings.rows] = endings.versions
            files = _replace(files, "removed_version", pa.array(ends))
            timed = endings.at != NO_TIME
            if timed.any():
                at = _ints(files, "removed_at", int(NO_TIME)).copy()
                at[endings.rows[timed]] = endings.at[timed]
                files = _replace(files, "removed_at", pa.array(at, mask=at == NO_TIME))
            # A file that one commit adds twice has a life of no length first: it never was.
            empty = ends == _ints(files, "added_version")
            if empty.any():
                files = files.filter(pa.array(~empty))
        if len(endings.consumed):
            keep = np.ones(closings.num_rows, dtype=bool)
            keep[endings.consumed] = False
            closings = closings.filter(pa.array(keep))
        return replace(self, files=files, closings=closings)

    def capped(self, last: int) -> RangeState:
        """Lives that are still open end after `last`: no later version of this run is known."""
        ends = pc.min_element_wise(self.files.column("removed_version"), last + 1)
        return replace(self, files=_replace(self.files, "removed_version", ends))

    def live_at(self, version: int) -> pa.Table:
        """The files of the snapshot at `version`."""
        files = self.files
        started = pc.less_equal(files.column("added_version"), version)
        open_ = pc.greater(files.column("removed_version"), version)
        return files.filter(pc.and_(started, open_))


def _ints(table: pa.Table, name: str, null: int | None = None) -> Ints:
    column = table.column(name)
    if null is not None:
        column = column.fill_null(null)
    return np.asarray(column.to_numpy(), dtype=np.int64)


def _replace(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    index = table.schema.get_field_index(name)
    return table.set_column(index, table.schema.field(index), values)
