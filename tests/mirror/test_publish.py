"""What a process holds of the logs that it writes to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest
import xxhash

import deltalakedb as dl
from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.commit import outbox
from deltalakedb.error import DeltaLakeError
from deltalakedb.mirror import publish, resolve, tend
from deltalakedb.storage.open import open_store
from deltalakedb.storage.spec import StoreSpec
from deltalakedb.table.table import Table


def test_how_long_puts_take_is_kept_of_the_last_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "_puts", type(publish._puts)())
    monkeypatch.setattr(publish, "_MOST_STORES", 3)
    logs = [open_store(StoreSpec(str(tmp_path / str(number)))) for number in range(6)]
    for seconds in (0.5, 0.25):
        for log in logs:
            publish._note_put(log, seconds)
            publish._note_put(logs[0], seconds)
    assert len(publish._puts) == 3
    known = [publish.put_seconds(log) for log in logs]
    assert known == [0.25, None, None, None, 0.25, 0.25]


def with_commits_that_wait(
    database: str, folder: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> Table:
    """Appends of 0, 1, …, which nobody publishes by himself."""
    monkeypatch.setattr(tend, "note", lambda *_, **__: None)
    table = dl.create_table(
        f"deltasql://{database}?table=t", pa.schema([("x", pa.int64())]), location=str(folder)
    )
    with monkeypatch.context() as away:
        away.setattr(publish, "publish", lambda *_, **__: True)
        for number in range(count):
            table.append(pa.table({"x": [number]}))
    return table


def test_nothing_is_recorded_by_whoever_has_lost_the_lease(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a pause in between: another had the table meanwhile, and is gone again."""
    table = with_commits_that_wait(sqlite_url, tmp_path, monkeypatch, 2)
    row, database = table._head.row, table._catalog.reader.url
    recorded: list[int] = []
    confirm = publish.confirm

    def paused(*arguments: Any, **options: Any) -> int:
        reached = confirm(*arguments, **options)
        if arguments[1].log_location != row.log_location:
            return reached
        recorded.append(options["after"])
        if len(recorded) == 1:
            with writing(database) as writer:
                taken = "UPDATE dl_leases SET token = 'another', expires_at = 0"
                writer.transact([Statement(taken)])
        return reached

    monkeypatch.setattr(publish, "confirm", paused)
    found = tend.tend_now(database, row, publish.log_of(row, None))
    assert len(recorded) == 2
    assert recorded[0] == recorded[1] < 2
    assert (found.durable_version, found.waiting) == (2, 0)


def test_what_waits_is_held_some_at_a_time(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = with_commits_that_wait(sqlite_url, tmp_path, monkeypatch, 12)
    row, database = table._head.row, table._catalog.reader.url
    waiting, held = outbox.waiting, []

    def counted(*arguments: Any) -> Sequence[outbox.OutboxRow]:
        found = waiting(*arguments)
        # Tables of other tests may be tended meanwhile.
        if arguments[1].log_location == row.log_location:
            held.append([len(each.body) for each in found])
        return found

    monkeypatch.setattr(outbox, "waiting", counted)
    monkeypatch.setattr(outbox, "_FEW", 2)
    monkeypatch.setattr(outbox, "_HELD_BYTES", 2_000)
    log = publish.log_of(row, None)
    assert publish.drain(database, row, log, after=0, until=10) == 10
    assert sum(map(len, held)) >= 10
    assert len(held) > 2
    assert all(sum(sizes) <= 2_000 for sizes in held)
    assert publish.drain(database, row, log, after=10) == 12
    found = deltalake.DeltaTable(str(tmp_path)).to_pyarrow_table()["x"].to_pylist()
    assert sorted(found) == list(range(12))
    table.close()


def test_a_foreign_file_in_a_slot_is_never_held_whole(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = with_commits_that_wait(sqlite_url, tmp_path, monkeypatch, 1)
    row, database = table._head.row, table._catalog.reader.url
    info = b'{"commitInfo":{"operation":"WRITE","engineInfo":"stranger"}}\n'
    content = info + b'{"txn":{"appId":"a","version":1}}\n' * 300_000
    (tmp_path / "_delta_log" / publish.commit_name(1)).write_bytes(content)
    log = publish.log_of(row, None)
    asked: list[int] = []
    read, read_range = type(log).read, type(log).read_range

    # Tables of other tests may be tended meanwhile.
    def counted(store: Any, name: str, offset: int, length: int) -> bytes:
        if store.spec == log.spec:
            asked.append(length)
        return read_range(store, name, offset, length)

    def whole(store: Any, name: str) -> bytes:
        found = read(store, name)
        if store.spec == log.spec:
            asked.append(len(found))
        return found

    monkeypatch.setattr(type(log), "read_range", counted)
    monkeypatch.setattr(type(log), "read", whole)
    with pytest.raises(DeltaLakeError, match="was written by others"):
        publish.drain(database, row, log, after=0)
    assert asked
    assert max(asked) < len(content) / 2
    with writing(database) as writer:
        [mark] = writer.select(
            Statement("SELECT foreign_version, foreign_size, foreign_digest FROM dl_mirror", ())
        )
    assert tuple(mark) == (1, len(content), xxhash.xxh3_128_hexdigest(content))
    assert any("engineInfo=stranger" in line for line in resolve.examine(database, row, log))
    table.close()
