"""Rows matched by one whole number without an engine: the same pairs as by one."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from deltalakedb.engine.joining import Join, Numbered, Placed, Side, compile_condition
from deltalakedb.engine.key_join import KeyJoin
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.log.schema import PrimitiveType, StructField, StructType

SOURCE = StructType((StructField("k", PrimitiveType("integer"), True),))
TARGET = StructType(
    (
        StructField("id", PrimitiveType("long"), True),
        StructField("t", PrimitiveType("string"), True),
    )
)
ENDS = [-(2**31), 2**31 - 1]


class Rows:
    """A source's keys and those of three files of a target, in two batches each."""

    def __init__(self, source: Sequence[int | None], files: Sequence[Sequence[int | None]]) -> None:
        self.source, self.files = source, files

    def numbered(self, columns: Sequence[str]) -> Iterator[Numbered]:
        assert list(columns) == ["k"]
        for half in np.array_split(np.arange(len(self.source)), 2):
            keys = pa.array([self.source[n] for n in half], pa.int32())
            yield half.astype(np.int64), pa.record_batch({"k": keys})

    def placed(self) -> Iterator[Placed]:
        for number, keys in enumerate(self.files):
            for half in np.array_split(np.arange(len(keys)), 2):
                rows = pa.record_batch({"id": pa.array([keys[n] for n in half], pa.int64())})
                # Deleted rows leave gaps between places.
                yield number, half.astype(np.int64) * 2, rows


def key_join(
    rows: Rows, place: Path, on: str = "t.id = s.k", memory: int = 1 << 28, disk: int | None = None
) -> KeyJoin | None:
    condition = compile_condition(on, Side("s", SOURCE), Side("t", TARGET))
    return KeyJoin.of(
        condition,
        TARGET,
        SOURCE,
        len(rows.source),
        rows.numbered,
        str(place),
        memory_limit=memory,
        disk_limit=disk,
    )


def found(join: Join | KeyJoin) -> tuple[object, ...]:
    pairs = {file: [part.tolist() for part in join.pairs(file)] for file in range(3)}
    return pairs, join.files(), [n for part in join.unmatched(3) for n in part.tolist()]


@pytest.mark.parametrize("spread", [30, 2**30])
@pytest.mark.parametrize("seed", range(3))
def test_the_same_pairs_as_by_the_engine(tmp_path: Path, spread: int, seed: int) -> None:
    chance = random.Random(f"{spread}-{seed}")
    keys: list[int | None] = [*chance.sample(range(-spread, spread), 20), None, None]
    if spread > 100:
        keys += ENDS
    chance.shuffle(keys)
    near = [*keys, *(None if k is None else k + 1 for k in keys), -(2**63), 2**63 - 1]
    rows = Rows(keys, [chance.choices(near, k=chance.randrange(1, 40)) for _ in range(3)])
    mine = key_join(rows, tmp_path / "mine")
    assert mine is not None
    condition = compile_condition("t.id = s.k", Side("s", SOURCE), Side("t", TARGET))
    engine = Join(condition.expression, "s", str(tmp_path / "engine"), memory_limit=1 << 28)
    with mine, engine:
        engine.take(rows.numbered(["k"]))
        engine.match(rows.placed())
        mine.match(rows.placed())
        assert found(mine) == found(engine)
    assert not [*(tmp_path / "mine").iterdir()]


def test_what_is_left_to_the_engine(tmp_path: Path) -> None:
    rows = Rows([1, 2, None], [[1]])
    assert key_join(rows, tmp_path, "t.id = s.k AND t.t = 'a'") is None
    assert key_join(rows, tmp_path, "t.id + 0 = s.k") is None
    assert key_join(Rows([1, 2, 1], [[1]]), tmp_path) is None
    assert key_join(Rows([*ENDS, ENDS[0]], [[1]]), tmp_path) is None
    assert key_join(Rows(ENDS, [[1]]), tmp_path, memory=10) is None
    empty = key_join(Rows([None], [[1]]), tmp_path)
    assert empty is not None
    empty.match(rows.placed())
    assert found(empty)[1:] == ({}, [0])


def test_pairs_take_no_more_room_than_they_may(tmp_path: Path) -> None:
    rows = Rows([1, 2], [[1, 2]])
    join = key_join(rows, tmp_path, disk=20)
    assert join is not None
    with pytest.raises(DeltaLakeError, match="max_temp_directory_size") as refused, join:
        join.match(rows.placed())
    assert refused.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
