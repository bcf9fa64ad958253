"""Rows matched by one whole number on each side, without an engine: the usual MERGE.

What `engine.joining.Join` finds for `target.k = source.k`, where no key of the source comes twice:
each target row has one source row at most, so that a search takes the place of a hash join. Pairs
lie in files of the merge's folder, one for each file of the target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deltalakedb.engine.joining import Condition, Numbered, Placed, no_room
from deltalakedb.log.schema import PrimitiveType, StructType

Numbers = npt.NDArray[np.int64]

_WHOLE = frozenset({"byte", "short", "integer", "long"})
_DENSE = 4
"""Keys are looked up by themselves where their range has at most so many places for each."""
_NOWHERE = -1


class KeyJoin:
    """Pairs of target rows (file number, place) and source rows (number). A context manager."""

    def __init__(
        self, column: str, find: Callable[[Numbers], Numbers], rows: int, place: Path, most: int
    ) -> None:
        """`find`: source numbers of keys, -1 for none; `most`: bytes of pairs on disk."""
        self._column, self._find, self._place, self._most = column, find, place, most
        self._matched = np.zeros(rows, dtype=bool)
        self._counts: dict[int, int] = {}
        self._taken = 0

    @classmethod
    def of(
        cls,
        condition: Condition,
        target: StructType,
        source: StructType,
        rows: int,
        numbered: Callable[[Sequence[str]], Iterator[Numbered]],
        directory: str,
        *,
        memory_limit: int,
        disk_limit: int | None,
    ) -> KeyJoin | None:
        """None where the condition isn't such a one, or the keys take more memory than they may.

        `numbered` gives the source's `rows` rows, of some columns.
        """
        if not condition.is_equality or len(condition.equal[0][1]) != 1:
            return None
        [(mine, (column,))] = condition.equal
        if not (_is_whole(source, mine) and _is_whole(target, column)):
            return None
        find = _lookup(lambda: _keys(numbered, mine), memory_limit)
        if find is None:
            return None
        place = Path(directory)
        place.mkdir(parents=True, exist_ok=True)
        return cls(column, find, rows, place, 1 << 62 if disk_limit is None else disk_limit)

    def target_columns(self) -> list[str]:
        """The top-level columns of the target that the condition looks at."""
        return [self._column]

    def match(self, target: Iterator[Placed]) -> None:
        """Match (file, places, rows) of the target, file after file."""
        for file, places, rows in target:
            column = rows.column(rows.schema.get_field_index(self._column)).cast(pa.int64())
            if column.null_count:
                known = pc.is_valid(column)
                places = places[known.to_numpy(zero_copy_only=False)]
                column = column.filter(known)
            numbers = self._find(column.to_numpy())
            hits = numbers >= 0
            if not hits.all():
                places, numbers = places[hits], numbers[hits]
            if not len(numbers):
                continue
            self._matched[numbers] = True
            self._counts[file] = self._counts.get(file, 0) + len(numbers)
            self._taken += places.nbytes + numbers.nbytes
            if self._taken > self._most:
                raise no_room(f"its pairs take more than {self._most:,} bytes")
            with (self._place / f"{file}.pairs").open("ab") as pairs:
                np.stack([places, numbers], axis=1).tofile(pairs)

    def files(self) -> dict[int, int]:
        """How many pairs each file has, of those that have any."""
        return dict(self._counts)

    def pairs(self, file: int) -> tuple[Numbers, Numbers]:
        """(places, source numbers) of a file's pairs, by ascending place."""
        if file not in self._counts:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        found = np.fromfile(self._place / f"{file}.pairs", dtype=np.int64).reshape(-1, 2)
        return np.ascontiguousarray(found[:, 0]), np.ascontiguousarray(found[:, 1])

    def unmatched(self, rows: int) -> Iterator[Numbers]:
        """The numbers of the source's rows that match none, ascending, some at a time."""
        for start in range(0, len(self._matched), rows):
            found = np.flatnonzero(~self._matched[start : start + rows]) + start
            if len(found):
                yield found

    def __enter__(self) -> KeyJoin:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in self._counts:
            (self._place / f"{file}.pairs").unlink(missing_ok=True)


def _is_whole(schema: StructType, name: str) -> bool:
    field = schema.field(name)
    return field is not None and isinstance(field.type, PrimitiveType) and field.type.name in _WHOLE


def _keys(
    numbered: Callable[[Sequence[str]], Iterator[Numbered]], name: str
) -> Iterator[tuple[Numbers, Numbers]]:
    """(numbers, keys) of the source's rows that have a key."""
    for numbers, batch in numbered([name]):
        column = batch.column(0).cast(pa.int64())
        if column.null_count:
            known = pc.is_valid(column)
            numbers = numbers[known.to_numpy(zero_copy_only=False)]
            column = column.filter(known)
        if len(column):
            yield numbers, column.to_numpy()


def _lookup(
    keys: Callable[[], Iterator[tuple[Numbers, Numbers]]], memory_limit: int
) -> Callable[[Numbers], Numbers] | None:
    """Source numbers by keys; None for keys that come twice, or take too much memory."""
    count, least, greatest = 0, 2**63 - 1, -(2**63)
    for _, values in keys():
        count += len(values)
        least, greatest = min(least, int(values.min())), max(greatest, int(values.max()))
    if not count:
        return lambda values: np.full(len(values), _NOWHERE, np.int64)
    width = greatest - least + 1
    if width <= max(_DENSE * count, 1 << 16) and width < 2**31 and width * 4 <= memory_limit:
        return _dense(keys(), least, width)
    # Keys and numbers, sorted, and what sorting takes.
    return _sparse(keys()) if count * 32 <= memory_limit else None


def _dense(
    keys: Iterator[tuple[Numbers, Numbers]], least: int, width: int
) -> Callable[[Numbers], Numbers] | None:
    places = np.full(width, _NOWHERE, dtype=np.int32)
    for numbers, values in keys:
        at = values - least
        if (places[at] != _NOWHERE).any():
            return None
        mine = numbers.astype(np.int32)
        places[at] = mine
        if (places[at] != mine).any():
            return None

    def find(values: Numbers) -> Numbers:
        inside = (values >= least) & (values < least + width)
        if inside.all():
            return places[values - least].astype(np.int64)
        found = np.full(len(values), _NOWHERE, np.int64)
        found[inside] = places[values[inside] - least]
        return found

    return find


def _sparse(
    keys: Iterator[tuple[Numbers, Numbers]],
) -> Callable[[Numbers], Numbers] | None:
    parts = list(keys)
    numbers = np.concatenate([part for part, _ in parts])
    ascending = np.concatenate([part for _, part in parts])
    if not (ascending[1:] > ascending[:-1]).all():
        order = np.argsort(ascending, kind="stable")
        numbers, ascending = numbers[order], ascending[order]
        if (ascending[1:] == ascending[:-1]).any():
            return None

    def find(values: Numbers) -> Numbers:
        at = np.searchsorted(ascending, values)
        at[at == len(ascending)] = 0
        return np.where(ascending[at] == values, numbers[at], _NOWHERE)

    return find
