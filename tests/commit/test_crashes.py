"""Processes that are killed, connections that break: what was acknowledged stays, once."""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import deltalake
import psycopg2
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.catalog.dialects.writer import LostConnectionError, Writer
from deltalakedb.mirror import publish, tend
from tests.commit.test_concurrency import start_appenders
from tests.published import complete_log

PROCESSES = 3


@pytest.mark.long
def test_processes_that_are_killed(catalog_url: str, tmp_path: Path) -> None:
    uri, place = f"deltasql://{catalog_url}?table=t", tmp_path / "t"
    schema = pa.schema([("who", pa.string()), ("n", pa.int64())])
    table = dl.create_table(uri, schema, location=str(place))
    acknowledged = 0
    for turn in range(2):
        running = start_appenders(uri, tmp_path / f"ready{turn}", PROCESSES, 30.0)
        for each in running:
            time.sleep(random.uniform(0.1, 0.7))
            each.send_signal(signal.SIGKILL)
        lines = [line for each in running for line in each.communicate()[0].splitlines()]
        versions = [int(line.split()[1]) for line in lines if line.startswith("version ")]
        assert not [line for line in lines if line.startswith("failed")]
        acknowledged += len(versions)
        head = table.refresh().version
        assert set(versions) <= set(range(1, head + 1))
    assert acknowledged
    row = table._head.row
    # Whoever comes next, here this process, finishes what the dead have left.
    complete_log(table)
    seen = deltalake.DeltaTable(str(place)).to_pyarrow_table()
    assert seen.num_rows == row.head_version >= acknowledged
    assert table.append(pa.table({"who": ["me"], "n": [0]})).version == row.head_version + 1
    assert dl.diff_table("t", database=catalog_url).parity


@pytest.mark.parametrize("reached", [True, False])
def test_a_commit_whose_answer_is_lost(
    catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: bool
) -> None:
    uri, place = f"deltasql://{catalog_url}?table=t", tmp_path / "t"
    table = dl.create_table(uri, pa.schema([("x", pa.int64())]), location=str(place))
    commit, lost = Writer.commit, []

    def losing(self: Writer, statements: Any) -> None:
        if lost or "dl_commits" not in str(statements):
            commit(self, statements)
            return
        lost.append(1)
        if reached:
            commit(self, statements)
        self.close()
        raise LostConnectionError("the network is gone")

    monkeypatch.setattr(Writer, "commit", losing)
    done = table.append(pa.table({"x": [1]}))
    assert (done.version, done.repeated, lost) == (1, False, [1])
    assert table.snapshot().count_rows() == 1
    assert deltalake.DeltaTable(str(place)).to_pyarrow_table()["x"].to_pylist() == [1]
    assert len(list(place.glob("*.parquet"))) == 1


def test_a_catalog_that_was_restored_refuses_to_ratify_again(
    sqlite_url: str, tmp_path: Path
) -> None:
    uri, place = f"deltasql://{sqlite_url}?table=t", tmp_path / "t"
    file = sqlite_url.removeprefix("sqlite:///")
    table = dl.create_table(uri, pa.schema([("x", pa.int64())]), location=str(place))
    row = table._head.row
    tend.tend_now(table._catalog.reader.url, row, publish.log_of(row, None))
    backup = sqlite3.connect(tmp_path / "backup.sqlite")
    with sqlite3.connect(file) as source:
        source.backup(backup)
    backup.close()
    table.append(pa.table({"x": [1]}))
    table.close()
    # Yesterday's catalog beside today's log, under a process that has committed already.
    for ending in ("", "-wal", "-shm"):
        Path(file + ending).unlink(missing_ok=True)
    (tmp_path / "backup.sqlite").rename(file)
    again = dl.connect_to_table(uri)
    assert again.version == 0
    with pytest.raises(dl.DeltaLakeError, match="restored") as caught:
        again.append(pa.table({"x": [2]}))
    assert caught.value.kind is dl.DeltaLakeErrorKind.MIRROR_CONFLICT
    assert deltalake.DeltaTable(str(place)).to_pyarrow_table()["x"].to_pylist() == [1]
    # The way out: the log wins, and is adopted.
    again.set_authority("log")
    assert again.append(pa.table({"x": [2]})).version == 2
    again.set_authority("sql")
    assert again.append(pa.table({"x": [3]})).version == 3
    seen = deltalake.DeltaTable(str(place)).to_pyarrow_table()["x"].to_pylist()
    assert sorted(seen) == [1, 2, 3]


def test_a_catalog_that_is_restored_while_its_log_is_tended(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the one from before had durable isn't written into the one from yesterday."""
    monkeypatch.setattr(tend, "note", lambda *_, **__: None)
    uri, file = f"deltasql://{sqlite_url}?table=t", sqlite_url.removeprefix("sqlite:///")
    table = dl.create_table(uri, pa.schema([("x", pa.int64())]), location=str(tmp_path / "t"))
    row, database = table._head.row, table._catalog.reader.url
    tended = tend._Tended(database, row, publish.log_of(row, None))
    assert tend._tend(tended) is not None
    backup = tmp_path / "backup.sqlite"
    with closing(sqlite3.connect(backup)) as target, closing(sqlite3.connect(file)) as source:
        source.backup(target)
    table.append(pa.table({"x": [1]}))
    table.close()
    confirm = publish.confirm

    def restored(of: Any, *arguments: Any, **options: Any) -> int:
        reached = confirm(of, *arguments, **options)
        # Tables of other tests may be tended yet.
        if of == database:
            for ending in ("", "-wal", "-shm"):
                Path(file + ending).unlink(missing_ok=True)
            backup.rename(file)
        return reached

    monkeypatch.setattr(publish, "confirm", restored)
    tend._tend(tended)
    with closing(sqlite3.connect(file)) as found:
        [state] = found.execute("SELECT durable_version, published_version FROM dl_mirror")
    assert state == (0, 0)


def test_who_waits_too_long_is_told_who_holds_the_lock(pg_database: str, tmp_path: Path) -> None:
    from deltalakedb.table.operations.properties import CommitOptions
    from deltalakedb.table.operations.write import WriteOptions

    uri = f"deltasql://{pg_database}?table=t"
    table = dl.create_table(uri, pa.schema([("x", pa.int64())]), location=str(tmp_path / "t"))
    with psycopg2.connect(pg_database, application_name="the holder") as holder:
        holder.cursor().execute("SELECT * FROM dl_heads FOR UPDATE")
        options = WriteOptions(mode="append", commit=CommitOptions(wait=0.3))
        with pytest.raises(dl.DeltaLakeError, match="the holder") as caught:
            table.write_with(pa.table({"x": [1]}), options)
        assert caught.value.kind is dl.DeltaLakeErrorKind.TIMEOUT_ERROR
        assert (caught.value.outcome, caught.value.retryable) == ("failed", True)
    assert table.append(pa.table({"x": [1]})).version == 1


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
def test_the_isolation_is_the_commits_own(pg_database: str, tmp_path: Path, isolation: str) -> None:
    with psycopg2.connect(pg_database) as connection:
        name = connection.info.dbname
        connection.cursor().execute(
            f"ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'"
        )
        connection.cursor().execute(f"ALTER DATABASE {name} SET synchronous_commit = 'off'")
    uri = f"deltasql://{pg_database}?table=t"
    schema = pa.schema([("who", pa.string()), ("n", pa.int64())])
    table = dl.create_table(uri, schema, location=str(tmp_path / "t"))

    def append(number: int) -> int:
        return dl.connect_to_table(uri).append(pa.table({"who": ["w"], "n": [number]})).version

    with ThreadPoolExecutor(4) as threads:
        versions = list(threads.map(append, range(12)))
    assert sorted(versions) == list(range(1, 13))
    assert table.refresh().version == 12
    assert len(set(table.to_pyarrow_table()["n"].to_pylist())) == 12
