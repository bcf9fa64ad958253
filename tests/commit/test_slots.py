"""Where the log ratifies: what happens between a version's reservation, its put and its rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.catalog.dialects.writer import LostConnectionError, Statement, Writer
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.mirror.committer import LogRatifier
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.operations.write import WriteOptions
from deltalakedb.uri import parse_database

Between = Callable[[], None]


def rows(*numbers: int) -> pa.Table:
    return pa.table({"x": list(numbers)})


def made(database: str, place: Path, name: str = "t") -> dl.Table:
    """A table of delta-rs's whose log goes on to decide."""
    deltalake.write_deltalake(str(place), rows(0))
    dl.import_table(log_dir=str(place), database=database, table_name=name)
    return opened(database, name)


def opened(database: str, name: str = "t") -> dl.Table:
    return dl.connect_to_table(f"deltasql://{database}?table={name}", cache=False)


def numbers(place: Path) -> list[int]:
    return sorted(deltalake.DeltaTable(str(place)).to_pyarrow_table()["x"].to_pylist())


def ask(database: str, sql: str) -> list[Any]:
    with writing(parse_database(database)) as writer:
        if sql.startswith("SELECT"):
            return writer.select(Statement(sql))
        writer.transact([Statement(sql)])
        return []


def around_put(
    monkeypatch: pytest.MonkeyPatch, before: Between | None = None, after: Between | None = None
) -> None:
    """Have something happen once, before or after a version is put into the log."""
    ratify = LogRatifier.ratify
    left = [1]

    def once(self: LogRatifier, *arguments: Any) -> bool:
        first = left.pop() if left else None
        if first and before:
            before()
        found = ratify(self, *arguments)
        if first and after:
            after()
        return found

    monkeypatch.setattr(LogRatifier, "ratify", once)


def quick(data: pa.Table, table: dl.Table) -> None:
    table.write_with(data, WriteOptions(mode="append", commit=CommitOptions(wait=0.05)))


def test_others_wait_for_the_slot_and_for_nothing_else(
    catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "t"
    table = made(catalog_url, place)
    schema = pa.schema([("x", pa.int64())])
    uri = f"deltasql://{catalog_url}?table=u"
    other = dl.create_table(uri, schema, location=str(tmp_path / "u"))
    told: list[str] = []

    def meanwhile() -> None:
        assert other.append(rows(9)).version == 1
        with pytest.raises(DeltaLakeError, match="is being put into its log") as caught:
            quick(rows(8), opened(catalog_url))
        assert (caught.value.kind, caught.value.retryable) == (
            DeltaLakeErrorKind.TIMEOUT_ERROR,
            True,
        )
        # The version may name whatever nobody knows of.
        time.sleep(0.01)
        with pytest.raises(DeltaLakeError, match="is being put into its log"):
            opened(catalog_url).vacuum(0, False, False, full=True)
        told.append("yes")

    around_put(monkeypatch, before=meanwhile)
    assert table.append(rows(1)).version == 1
    assert told == ["yes"]
    assert numbers(place) == [0, 1]
    assert ask(catalog_url, "SELECT name FROM dl_leases WHERE name LIKE 'slot/%'") == []
    opened(catalog_url).vacuum(0, False, False, full=True)
    assert numbers(place) == [0, 1]
    assert dl.diff_table("t", database=catalog_url).parity


def test_who_is_silent_is_passed_over(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "t"
    table = made(sqlite_url, place)

    def another() -> None:
        ask(sqlite_url, "UPDATE dl_leases SET expires_at = 0 WHERE name LIKE 'slot/%'")
        assert opened(sqlite_url).append(rows(2)).version == 1

    around_put(monkeypatch, before=another)
    assert table.append(rows(1)).version == 2
    assert numbers(place) == [0, 1, 2]
    assert dl.diff_table("t", database=sqlite_url).parity


@pytest.mark.parametrize("adopted", [True, False])
def test_put_and_not_recorded(
    catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adopted: bool
) -> None:
    """Another adopts our version before we record it, or the COMMIT is lost after the put."""
    place = tmp_path / "t"
    table = made(catalog_url, place)
    commit, put = Writer.commit, []

    def losing(self: Writer, statements: Any) -> None:
        if put == [1]:
            put.append(2)
            self.close()
            raise LostConnectionError("the network is gone")
        commit(self, statements)

    def after() -> None:
        if adopted:
            dl.import_table(log_dir=str(place), database=catalog_url, table_name="t")
        else:
            put.append(1)

    monkeypatch.setattr(Writer, "commit", losing)
    around_put(monkeypatch, after=after)
    done = table.append(rows(1))
    assert (done.version, done.repeated, put) == (1, False, [] if adopted else [1, 2])
    assert numbers(place) == [0, 1]
    assert opened(catalog_url).count() == 2
    assert table.append(rows(2)).version == 2
    assert dl.diff_table("t", database=catalog_url).parity


@pytest.mark.parametrize("reached", [True, False])
def test_a_put_without_an_answer(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: bool
) -> None:
    place = tmp_path / "t"
    table = made(sqlite_url, place)

    def silent() -> None:
        raise DeltaLakeError(DeltaLakeErrorKind.STORAGE_ERROR, "no answer")

    around_put(monkeypatch, **{"after" if reached else "before": silent})
    done = table.append(rows(1))
    assert (done.version, done.repeated) == (1, False)
    assert numbers(place) == [0, 1]
    assert opened(sqlite_url).count() == 2
    assert len(list(place.glob("*.parquet"))) == 2
    assert dl.diff_table("t", database=sqlite_url).parity


def test_a_put_that_comes_late(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is told to be unknown keeps its files, and is there once, with the same token."""
    place = tmp_path / "t"
    table = made(sqlite_url, place)
    late: list[tuple[str, bytes]] = []
    ratify = LogRatifier.ratify

    def on_its_way(self: LogRatifier, row: Any, outbox: Any) -> bool:
        if not late:
            late.append((f"{outbox.version:020d}.json", outbox.body))
            raise DeltaLakeError(DeltaLakeErrorKind.STORAGE_ERROR, "no answer")
        raise DeltaLakeError(DeltaLakeErrorKind.TIMEOUT_ERROR, "the store is away")

    monkeypatch.setattr("deltalakedb.commit.commit._RESTARTS", 2)
    monkeypatch.setattr(LogRatifier, "ratify", on_its_way)
    with pytest.raises(DeltaLakeError) as caught:
        table.append(rows(1), token="mine")
    assert (caught.value.kind, caught.value.outcome) == (
        DeltaLakeErrorKind.COMMIT_UNKNOWN,
        "unknown",
    )
    [(name, data)] = late
    (place / "_delta_log" / name).write_bytes(data)
    monkeypatch.setattr(LogRatifier, "ratify", ratify)
    again = opened(sqlite_url)
    found = again.append(rows(1), token="mine")
    assert (found.version, found.repeated) == (1, True)
    assert numbers(place) == [0, 1]
    assert dl.diff_table("t", database=sqlite_url).parity


def test_files_of_an_adopted_write_stay(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that died after its put has left its registration: the files are the table's."""
    from deltalakedb.table.operations import registration

    monkeypatch.setattr(registration, "LATENT_SECONDS", 0.0)
    monkeypatch.setattr(registration.Registration, "close", lambda self: None)
    place = tmp_path / "t"
    table = made(sqlite_url, place)

    class DiesError(BaseException):
        pass

    def dies() -> None:
        raise DiesError

    around_put(monkeypatch, after=dies)
    schema = pa.schema([("x", pa.int64())])
    batches = [pa.record_batch([pa.array([n])], schema) for n in (1, 2)]
    small = deltalake.WriterProperties(max_row_group_size=1)
    with pytest.raises(DiesError):
        table.append(pa.RecordBatchReader.from_batches(schema, batches), writer_properties=small)
    assert len(ask(sqlite_url, "SELECT path FROM dl_staged_files")) == 1
    ask(sqlite_url, "UPDATE dl_staged_files SET expires_at = 0")
    again = opened(sqlite_url)
    assert again.vacuum(dry_run=False) == []
    assert ask(sqlite_url, "SELECT path FROM dl_staged_files") == []
    assert numbers(place) == [0, 1, 2]
    assert opened(sqlite_url).count() == 3
