"""Vacuum from the catalog, restore, repair, and what the catalog forgets."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.storage.local import LocalStore
from deltalakedb.storage.store import ObjectInfo

NOW = {
    "delta.deletedFileRetentionDuration": "interval 0 seconds",
    "delta.logRetentionDuration": "interval 0 seconds",
    "delta.enableDeletionVectors": "true",
    "delta.enableChangeDataFeed": "true",
}


def made(database: str, place: Path, configuration: dict[str, str] | None = None) -> dl.Table:
    uri = f"deltasql://{database}?table=t"
    rows = pa.table({"id": list(range(10))})
    dl.write_deltalake(uri, rows, location=str(place), configuration=configuration)
    return dl.connect_to_table(uri)


def names(place: Path) -> set[str]:
    found = {str(p.relative_to(place)) for p in place.rglob("*") if p.is_file()}
    return {name for name in found if not name.startswith("_delta_log")}


def ids(table: Any) -> list[int]:
    return sorted(table.to_pyarrow_table().column("id").to_pylist())


def their_ids(place: Path) -> list[int]:
    """By delta-rs's own engine, which knows deletion vectors."""
    query = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(str(place)))
    return sorted(pa.table(query.execute("SELECT id FROM t")).column("id").to_pylist())


def test_what_no_version_needs_goes(any_catalog_url: str, tmp_path: Path) -> None:
    place = tmp_path / "t"
    table = made(any_catalog_url, place, NOW)
    table.delete("id < 3")
    table.delete("id = 5")
    vectors = {name for name in names(place) if "deletion_vector" in name}
    first = names(place) - vectors
    table.optimize.compact()
    assert ids(table) == [3, 4, 6, 7, 8, 9]
    assert table.vacuum(retention_hours=1, enforce_retention_duration=False) == []
    doomed = set(table.vacuum())
    assert doomed == first | vectors
    assert set(table.vacuum(dry_run=False)) == doomed
    assert not doomed & names(place)
    assert ids(table) == [3, 4, 6, 7, 8, 9]
    assert table.vacuum() == []
    theirs = deltalake.DeltaTable(str(place))
    assert theirs.version() == table.version
    with pytest.raises(DeltaLakeError) as caught:
        table.restore(0)
    assert caught.value.kind is DeltaLakeErrorKind.NOT_FOUND
    # The catalog forgets, and says so.
    head = table.version
    assert table.forget() == head == table.refresh().known_since
    with pytest.raises(DeltaLakeError, match="older than"):
        table.snapshot(1)
    assert ids(table) == [3, 4, 6, 7, 8, 9]
    assert len(table.history()) == 1
    table.append(pa.table({"id": [99]}))
    assert table.count() == 7
    assert dl.diff_table("t", database=any_catalog_url).parity


def test_a_file_whose_time_is_behind_is_kept(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is committed while the folder is listed, and the store's clock is behind, or coarse."""
    place = tmp_path / "t"
    table = made(sqlite_url, place)
    plain = LocalStore.list

    def listed(store: LocalStore, *args: Any, **options: Any) -> list[ObjectInfo]:
        if options.get("recursive"):
            monkeypatch.setattr(LocalStore, "list", plain)
            table.append(pa.table({"id": [10]}))
            for each in place.glob("*.parquet"):
                os.utime(each, (1, 1))
        return plain(store, *args, **options)

    other = dl.connect_to_table(f"deltasql://{sqlite_url}?table=t")
    monkeypatch.setattr(LocalStore, "list", listed)
    now: dict[str, Any] = {"retention_hours": 0, "enforce_retention_duration": False}
    assert other.vacuum(full=True, dry_run=False, **now) == []
    assert ids(table) == list(range(11))


def test_a_write_that_goes_on_while_all_is_listed_names_nothing_that_is_gone(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "t"
    table = made(sqlite_url, place)
    other = dl.connect_to_table(f"deltasql://{sqlite_url}?table=t")
    now: dict[str, Any] = {"retention_hours": 0, "enforce_retention_duration": False}
    taken: list[str] = []

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"id": pa.array([10], pa.int64())})
        [begun] = [each for each in place.glob("*.parquet") if each.name not in there]
        os.utime(begun, (1, 1))
        taken.extend(other.vacuum(full=True, dry_run=False, **now))
        yield pa.record_batch({"id": pa.array([11], pa.int64())})

    there = {each.name for each in place.glob("*.parquet")}
    schema = pa.schema([("id", pa.int64())])
    rows = pa.RecordBatchReader.from_batches(schema, batches())
    properties = dl.WriterProperties(max_row_group_size=1)
    with pytest.raises(DeltaLakeError) as caught:
        table.append(rows, writer_properties=properties)
    assert caught.value.facts["rule"] == "files_taken"
    assert caught.value.retryable
    assert len(taken) == 1
    assert ids(table) == list(range(10))


def test_what_is_kept(catalog_url: str, tmp_path: Path) -> None:
    place = tmp_path / "t"
    table = made(catalog_url, place)
    table.overwrite(pa.table({"id": [1]}))
    with pytest.raises(DeltaLakeError, match="below the retention"):
        table.vacuum(retention_hours=0)
    unknown, young, hidden = place / "unknown.parquet", place / "young.parquet", place / "_x"
    hidden.mkdir()
    for name in (unknown, young, hidden / "f.parquet"):
        name.write_bytes(b"x")
    for name in (unknown, hidden / "f.parquet"):
        os.utime(name, (1, 1))
    now: dict[str, Any] = {"retention_hours": 0, "enforce_retention_duration": False}
    assert len(table.vacuum(**now)) == 1
    assert len(table.vacuum(keep_versions=[0], **now)) == 0
    day: dict[str, Any] = {"retention_hours": 24, "enforce_retention_duration": False}
    assert table.vacuum(full=True, dry_run=False, **day) == ["unknown.parquet"]
    assert ids(table.snapshot(0)) == list(range(10))
    table.vacuum(dry_run=False, **now)
    assert young.exists()
    assert ids(table) == [1]


def test_restore_and_repair(catalog_url: str, tmp_path: Path) -> None:
    place = tmp_path / "t"
    on = {"delta.enableDeletionVectors": "true"}
    table = made(catalog_url, place, on)
    table.delete("id < 3")
    table.alter.add_columns(pa.field("n", pa.int64()))
    table.append(pa.table({"id": [20], "n": [1]}))
    assert table.restore(1)["numRemovedFile"] == 1
    assert ids(table) == list(range(3, 10)) == their_ids(place)
    assert table.schema.names == ["id"]
    found = table.restore(0)
    assert (found["numRestoredFile"], found["numRemovedFile"]) == (1, 1)
    assert ids(table) == list(range(10)) == their_ids(place)
    before = table.version
    second = dt.datetime.fromtimestamp(table.history()[-1]["commit_time"] / 1000, dt.UTC)
    # What it is already makes no commit.
    assert table.restore(second)["version"] == before
    assert deltalake.DeltaTable(str(place)).history(1)[0]["operation"] == "RESTORE"
    kept = set(table.files())
    table.append(pa.table({"id": [30]}))
    [added] = set(table.files()) - kept
    (place / added).unlink()
    assert table.repair(dry_run=True) == {"dry_run": True, "files_removed": [added]}
    assert table.repair()["files_removed"] == [added]
    assert ids(table) == list(range(10)) == their_ids(place)
    assert dl.diff_table("t", database=catalog_url).parity


def test_full_leaves_the_tables_below(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/catalog.sqlite"
    rows = pa.table({"a": [1, 2], "p": ["x", "y"]})
    outer = tmp_path / "outer"
    for name, place in {"t": outer, "inner": outer / "sub" / "inner", "moved": outer / "m"}.items():
        uri = f"deltasql://{database}?table={name}"
        dl.write_deltalake(uri, rows, location=str(place), partition_by=["p"])
    # Of one table there is a log alone, of another the catalog's row alone.
    deltalake.write_deltalake(str(outer / "p=x" / "foreign"), rows)
    shutil.rmtree(outer / "m" / "_delta_log")
    (outer / "left.parquet").write_bytes(b"x")
    for path in outer.rglob("*.parquet"):
        os.utime(path, (1, 1))
    table = dl.connect_to_table(f"deltasql://{database}?table=t")
    assert table.vacuum(full=True, dry_run=True) == ["left.parquet"]
    assert table.vacuum(full=True, dry_run=False) == ["left.parquet"]
    assert table.to_pyarrow_table().num_rows == 2
    assert len(list(outer.rglob("*.parquet"))) == 7


def test_full_removes_what_dead_writers_left_half_written(tmp_path: Path) -> None:
    place = tmp_path / "t"
    table = made(f"sqlite:///{tmp_path}/catalog.sqlite", place)
    dead = [place / ".dl-put-1", place / "_delta_log" / ".dl-put-2"]
    alive = place / ".dl-put-3"
    for path in (*dead, alive):
        path.write_bytes(b"PAR1")
    for path in dead:
        os.utime(path, (1, 1))
    table.vacuum(full=True, dry_run=True)
    assert all(path.exists() for path in dead)
    table.vacuum(0, full=True, dry_run=False, enforce_retention_duration=False)
    assert not any(path.exists() for path in dead)
    assert alive.exists()
