"""The change data of several operations on one table, as that of the one commit that they become.

PROTOCOL.md, "Add CDC File": a version with change data files has all its changes there. Rows that
come and go within the commit are in none of them; what became of a row is told from what it was
before the first operation to what it is after the last one. An operation's rows are found among
those of earlier ones by their values: which of several equal rows is meant makes no difference.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.commit.staged import StagedTable
from deltalakedb.log.features import enabled
from deltalakedb.scan.file import ROW_INDEX
from deltalakedb.table.operations.base import Base
from deltalakedb.table.operations.row_changes import Changes, changes_between, recorded_changes
from deltalakedb.table.operations.row_digests import row_digests
from deltalakedb.write.change_data import ChangeType, ChangeWriter, change_target
from deltalakedb.write.files import WrittenFiles
from deltalakedb.write.schema import RowConverter

_KINDS: tuple[ChangeType, ...] = ("insert", "delete", "update_preimage", "update_postimage")
_INSERT, _DELETE, _BEFORE, _AFTER = range(len(_KINDS))
_NOTHING = -1

Codes = npt.NDArray[np.int8]


def tell_one_by_one(base: Base, parts: Sequence[StagedTable]) -> bool:
    """Whether change data of several parts has to be made that of one commit."""
    return (
        len(parts) > 1
        and any(part.changes for part in parts)
        and sum(part.changes_data for part in parts) > 1
        and enabled(base.metadata.configuration, "delta.enableChangeDataFeed")
    )


def net_changes(base: Base, parts: Sequence[StagedTable], whole: StagedTable) -> WrittenFiles:
    """Write the change data of `whole`, which is what all `parts` do, in their order.

    `base`: the table after them. No file where readers know the changes without, since files are
    only added. In memory are a digest and some numbers for each changed row; none of the rows.
    """
    found = _Net()
    for number, part in enumerate(parts):
        found.take(_events(base, part, digests=(number > 0, number < len(parts) - 1)))
    codes = found.codes()
    if not whole.removes.num_rows and not np.isin(codes, (_DELETE, _BEFORE)).any():
        return WrittenFiles()
    target = change_target(base.target)
    writer = ChangeWriter(base.data, target, str(uuid.uuid4()))
    with writer:
        start = 0
        for part in parts:
            for _, rows, _ in _changes(base, part):
                chosen = codes[start : start + rows.num_rows]
                start += rows.num_rows
                rows = rows.drop_columns([ROW_INDEX])
                rows = RowConverter(rows.schema, base.struct).convert(rows)
                for code, kind in enumerate(_KINDS):
                    which = np.flatnonzero(chosen == code)
                    if len(which):
                        writer.write_changes(rows.take(pa.array(which)), kind)
        return writer.finish()


@dataclass
class _Events:
    """What an operation does to rows, which are known by their numbers among all changes.

    Digests are of the rows' values, None where nobody asks.
    """

    inserts: list[tuple[int, bytes | None]]
    deletes: list[tuple[int, bytes | None]]
    before: dict[int, tuple[int, bytes | None]]
    after: dict[int, tuple[int, bytes | None]]
    count: int = 0


class _Net:
    """What became of rows. A row that an operation made is (what it was before the commit, itself),
    where None is a row that wasn't there."""

    def __init__(self) -> None:
        self._first = 0
        self._made: dict[bytes | None, list[tuple[int | None, int]]] = {}
        self._deleted: list[int] = []

    def take(self, events: _Events) -> None:
        """After those before it."""
        first = self._first
        self._first += events.count
        made: list[tuple[bytes | None, int | None, int]] = []
        for number, digest in events.deletes:
            was = self._before(first + number, digest)
            if was is not None:
                self._deleted.append(was)
        for pair, (number, digest) in events.before.items():
            now, after = events.after[pair]
            made.append((after, self._before(first + number, digest), first + now))
        made += [(digest, None, first + number) for number, digest in events.inserts]
        for digest, was, now in made:
            self._made.setdefault(digest, []).append((was, now))

    def _before(self, number: int, digest: bytes | None) -> int | None:
        """What a row that goes was before the commit; it is taken from those that were made."""
        found = None if digest is None else self._made.get(digest)
        if not found:
            return number
        return found.pop()[0]

    def codes(self) -> Codes:
        """By row: as what it is to be told, `_NOTHING` for one that isn't."""
        codes = np.full(self._first, _NOTHING, np.int8)
        codes[self._deleted] = _DELETE
        for rows in self._made.values():
            for was, now in rows:
                codes[now] = _INSERT if was is None else _AFTER
                if was is not None:
                    codes[was] = _BEFORE
        return codes


def _events(base: Base, part: StagedTable, digests: tuple[bool, bool]) -> _Events:
    """`digests`: of the rows that go, of those that come."""
    found = _Events([], [], {}, {})
    going, coming = digests
    for path, rows, kinds in _changes(base, part):
        places = rows.column(ROW_INDEX).to_numpy()
        codes = pc.index_in(kinds, pa.array(_KINDS)).to_numpy(zero_copy_only=False)
        wanted = going and np.isin(codes, (_DELETE, _BEFORE)).any()
        wanted = wanted or (coming and np.isin(codes, (_INSERT, _AFTER)).any())
        values: Iterator[bytes | None] = iter(())
        values = row_digests(rows.drop_columns([ROW_INDEX])) if wanted else (None for _ in codes)
        for number, (code, digest) in enumerate(zip(codes.tolist(), values, strict=True)):
            row = (found.count + number, digest)
            if code == _INSERT:
                found.inserts.append(row)
            elif code == _DELETE:
                found.deletes.append(row)
            else:
                pair = int(part.pairs[path][places[number]])
                (found.before if code == _BEFORE else found.after)[pair] = row
        found.count += rows.num_rows
    return found


def _changes(base: Base, part: StagedTable) -> Changes:
    if part.changes:
        return recorded_changes(base, _change_files(part))
    if not part.changes_data:
        return iter(())
    return changes_between(base, part.removes, part.adds)


def _change_files(part: StagedTable) -> pa.Table:
    texts = [orjson.dumps(body["partitionValues"]).decode() for body in part.changes]
    count = len(texts)
    return pa.table(
        {
            "path": pa.array([body["path"] for body in part.changes], pa.string()),
            "partition_values": pa.array(texts, pa.string()),
            "dv": pa.nulls(count, pa.string()),
            "num_records": pa.nulls(count, pa.int64()),
            "size": pa.array([body["size"] for body in part.changes], pa.int64()),
        }
    )
