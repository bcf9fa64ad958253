"""Commits whose lines are too long for SQL: they lie beside the log until they are in it."""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.catalog.dialects.writer import LostConnectionError, Writer
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.mirror import checkpoint, publish, tend
from deltalakedb.mirror.publish import log_of

STAGED = "_delta_log/_staged_commits"


@pytest.fixture(autouse=True)
def all_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nobody tends the log but the test."""
    monkeypatch.setattr(tend, "note", lambda *_, **__: None)
    monkeypatch.setattr("deltalakedb.commit.bodies.INLINE_BYTES", 10)
    monkeypatch.setattr("deltalakedb.storage.pieces.PIECE_BYTES", 7)


def made(database: str, place: Path, **options: Any) -> dl.Table:
    schema = pa.schema([("x", pa.int64())])
    uri = f"deltasql://{database}?table=t"
    return dl.create_table(uri, schema, location=str(place), **options)


def rows(*numbers: int) -> pa.Table:
    return pa.table({"x": list(numbers)})


def numbers(place: Path) -> list[int]:
    return sorted(deltalake.DeltaTable(str(place)).to_pyarrow_table()["x"].to_pylist())


def staged(place: Path) -> list[str]:
    return sorted(each.name for each in (place / STAGED).glob("*"))


def mirrored(table: dl.Table) -> None:
    """Wait until all that is committed is durable in the log."""
    deadline = time.monotonic() + 60
    row = table._head.row
    database = table._catalog.reader.url
    while tend.tend_now(database, row, log_of(row, None), checkpoint=False).waiting:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_published_in_pieces(sqlite_url: str, tmp_path: Path) -> None:
    place = tmp_path / "t"
    table = made(sqlite_url, place)
    table.append(rows(1))
    table.append(rows(2, 3), token="mine")
    assert table.append(rows(2, 3), token="mine").repeated
    table.overwrite(rows(4))
    assert numbers(place) == [4]
    assert dl.diff_table("t", database=sqlite_url).parity
    mirrored(table)
    assert staged(place) == []


def test_published_by_others(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is committed and not published is completed from the file beside the log."""
    place = tmp_path / "t"
    table = made(sqlite_url, place)
    mirrored(table)
    with monkeypatch.context() as away:
        away.setattr(publish, "publish", lambda *_, **__: True)
        away.setattr(tend, "note", lambda *_, **__: None)
        table.append(rows(1), token="mine")
        assert len(staged(place)) == 1
        assert table.append(rows(1), token="mine").repeated
    assert len(staged(place)) == 1
    [left] = staged(place)
    data = (place / STAGED / left).read_bytes()
    torn = place / "_delta_log" / f"{1:020d}.json"
    torn.write_bytes(b'{"commitInfo"')
    (place / STAGED / left).write_bytes(data[:-1] + b" ")
    with pytest.raises(DeltaLakeError, match="isn't what version 1 was committed with") as caught:
        mirrored(table)
    assert caught.value.kind is DeltaLakeErrorKind.MIRROR_CONFLICT
    (place / STAGED / left).write_bytes(data)
    torn.write_bytes(b"")
    mirrored(table)
    assert numbers(place) == [1]
    assert staged(place) == []


def test_what_failed_leaves_nothing(sqlite_url: str, tmp_path: Path) -> None:
    place = tmp_path / "t"
    table = made(sqlite_url, place)
    table.append(rows(1), if_version=0)
    with pytest.raises(DeltaLakeError) as caught:
        table.append(rows(2), if_version=0)
    assert (caught.value.kind, caught.value.outcome) == (
        DeltaLakeErrorKind.CONCURRENCY_ERROR,
        "failed",
    )
    mirrored(table)
    assert staged(place) == []
    assert numbers(place) == [1]


@pytest.mark.parametrize("reached", [True, False])
def test_a_lost_answer(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: bool
) -> None:
    """Whether the COMMIT reached the database or not, there is one version and nothing is left."""
    place = tmp_path / "t"
    table = made(sqlite_url, place)
    commit, lost = Writer.commit, []

    def losing(self: Writer, statements: Any) -> None:
        if reached or lost:
            commit(self, statements)
        if not lost:
            lost.append(1)
            self.close()
            raise LostConnectionError("the network is gone")

    monkeypatch.setattr(Writer, "commit", losing)
    assert table.append(rows(1)).version == 1
    assert numbers(place) == [1]
    mirrored(table)
    assert staged(place) == []


def test_with_row_ids(sqlite_url: str, tmp_path: Path) -> None:
    """The lock tells the ids, so that the lines are made under it."""
    place = tmp_path / "t"
    table = made(sqlite_url, place, properties={"delta.enableRowTracking": "true"})
    table.append(rows(1, 2))
    table.append(rows(3))
    ids = [
        json.loads(line)["add"]["baseRowId"]
        for version in (1, 2)
        for line in (place / "_delta_log" / f"{version:020d}.json").read_text().splitlines()
        if line.startswith('{"add"')
    ]
    assert ids == [0, 2]
    mirrored(table)
    assert staged(place) == []


def test_what_was_killed_is_removed_after_a_day(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "t"
    table = made(sqlite_url, place)
    mirrored(table)
    with monkeypatch.context() as away:
        away.setattr(publish, "publish", lambda *_, **__: True)
        table.append(rows(1))
    [waiting] = staged(place)
    abandoned, new = [f"{uuid.uuid4()}.json" for _ in range(2)]
    others = f"{7:020d}.{uuid.uuid4()}.json"
    for name in (abandoned, new, others):
        (place / STAGED / name).write_bytes(b"{}")
    long_ago = time.time() - 25 * 60 * 60
    for name in (abandoned, waiting, others):
        os.utime(place / STAGED / name, (long_ago, long_ago))
    row = table._head.row
    gone = checkpoint.clean_up(table._catalog, row, log_of(row, None), keep_from=0)
    assert gone == [f"_staged_commits/{abandoned}"]
    assert staged(place) == sorted([waiting, new, others])
