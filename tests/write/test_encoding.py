"""Files that are encoded side by side: the same files each time, and none after an error."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from deltalakedb.write import files as writing
from deltalakedb.write.encoding import OpenFile
from tests.write.support import Made

ROWS = 100_000
SIZE = 120_000


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.setattr(writing, "WORTH_A_ROW_GROUP", 1)
    return Made(tmp_path, rows().schema)


def rows() -> pa.Table:
    numbers = np.random.default_rng(3)
    return pa.table({"id": np.arange(ROWS), "value": numbers.random(ROWS)})


def test_who_is_quicker_changes_no_file(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = OpenFile.write
    main = threading.get_ident()
    side_by_side = threading.Barrier(2)
    slow: list[int] = []
    met: list[int] = []

    def uneven(file: OpenFile, group: Any) -> int:
        if not met and threading.get_ident() != main:
            met.append(side_by_side.wait(60))
        if slow and group.column("id")[0].as_py() % slow[0] == 0:
            time.sleep(0.01)
        return plain(file, group)

    monkeypatch.setattr(OpenFile, "write", uneven)
    options = {"target_file_size": SIZE, "buffered_bytes": 4 * SIZE, "encoders": 2}
    found = []
    for each in ([], [2], [3]):
        slow[:] = each
        written = made.write(rows(), **options)
        if not each:
            assert made.read().sort_by("id").equals(rows())
        found.append([(add["size"], add["stats"]) for add in written.adds])
    assert found[0] == found[1] == found[2]
    assert sorted(met) == [0, 1]
    # In the order of the rows, each within what is told of it, and about as large as asked for.
    assert len(found[0]) > 5
    assert all(SIZE * 0.8 < size < SIZE * 2.5 for size, _ in found[0][:-1])
    told = [orjson.loads(stats) for _, stats in found[0]]
    low = 0
    for stats in told:
        high = low + stats["numRecords"] - 1
        assert (stats["minValues"]["id"], stats["maxValues"]["id"]) == (low, high)
        low = high + 1
    assert low == ROWS


def test_an_error_while_encoding_leaves_no_file(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, others = OpenFile.write, set(threading.enumerate())

    def failing(file: OpenFile, group: Any) -> int:
        if group.column("id")[0].as_py() > ROWS // 2:
            raise MemoryError("no more")
        return plain(file, group)

    monkeypatch.setattr(OpenFile, "write", failing)
    with pytest.raises(MemoryError, match="no more"):
        made.write(rows(), target_file_size=SIZE, encoders=2)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    ours = set(threading.enumerate()) - others
    assert not any("deltalakedb-encode" in t.name for t in ours)
