"""Compaction and z-order, beside delta-rs and beside writers who are in the way."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.table.operations import auto_compact
from deltalakedb.table.operations import optimize as operation


def uri_of(database: str) -> str:
    return f"deltasql://{database}?table=t"


def rows_of(table: dl.Table) -> list[dict[str, Any]]:
    return sorted(table.to_pyarrow_table().to_pylist(), key=str)


def test_compaction_is_incremental(any_catalog_url: str, tmp_path: Path) -> None:
    uri, place = uri_of(any_catalog_url), tmp_path / "t"
    data = pa.table({"id": list(range(8)), "p": ["a", "b"] * 4, "s": ["x", None] * 4})
    for start in range(0, 8, 2):
        dl.write_deltalake(
            uri, data.slice(start, 2), mode="append", partition_by="p", location=str(place)
        )
    table = dl.connect_to_table(uri)
    before = rows_of(table)
    first = table.optimize.compact("p = 'a'")
    assert (first["numFilesAdded"], first["numFilesRemoved"]) == (1, 4)
    second = table.optimize.compact()
    assert (second["numFilesAdded"], second["numFilesRemoved"]) == (1, 4)
    assert len(table.files()) == 2
    assert table.optimize.compact()["numFilesRemoved"] == 0
    assert table.version == second["versions"][-1]
    assert rows_of(table) == before
    theirs = deltalake.DeltaTable(str(place))
    assert sorted(theirs.to_pyarrow_table().to_pylist(), key=str) == before
    entry = theirs.history(1)[0]
    assert entry["operation"] == "OPTIMIZE"
    assert entry["operationMetrics"]["numRemovedFiles"] in ("4", 4)
    assert theirs.optimize.compact()["numFilesRemoved"] == 0
    assert dl.diff_table("t", database=any_catalog_url).parity
    with pytest.raises(DeltaLakeError, match="partition columns alone"):
        table.optimize.compact("id = 1")


def test_deleted_rows_are_purged(catalog_url: str, tmp_path: Path) -> None:
    uri = uri_of(catalog_url)
    on = {"delta.enableDeletionVectors": "true"}
    data = pa.table({"id": list(range(100))})
    dl.write_deltalake(uri, data, location=str(tmp_path / "t"), configuration=on)
    table = dl.connect_to_table(uri)
    table.delete("id < 3")
    assert table.optimize.compact()["numFilesRemoved"] == 0
    table.delete("id < 50")
    assert table.optimize.compact()["numFilesRemoved"] == 1
    assert table.get_add_actions().column("num_records").to_pylist() == [50]
    assert table.count() == 50


def test_z_order_keeps_near_what_is_near(catalog_url: str, tmp_path: Path) -> None:
    uri = uri_of(catalog_url)
    chance = random.Random(7)
    count = 20_000
    data = pa.table(
        {
            "x": [chance.randrange(1_000) for _ in range(count)],
            "y": [chance.choice([None, *"abcdefghijklmnopqrstuvwxyz"]) for _ in range(count)],
            "z": [chance.random() for _ in range(count)],
        }
    )
    dl.write_deltalake(uri, data, location=str(tmp_path / "t"))
    table = dl.connect_to_table(uri)
    before = data.sort_by([("x", "ascending"), ("z", "ascending")])
    found = table.optimize.z_order(["x", "y"], target_size=20_000, max_spill_size=100_000)
    assert found["numFilesAdded"] >= 6
    after = table.to_pyarrow_table().sort_by([("x", "ascending"), ("z", "ascending")])
    assert after.equals(before.cast(after.schema))
    planned = len(table.snapshot().plan("x < 100 AND y = 'b'"))
    assert planned <= found["numFilesAdded"] / 3
    assert table.optimize.z_order(["x", "y"])["numFilesRemoved"] == 0
    table.append(data.slice(0, 10))
    # The new rows are a cube of their own beside one that is much larger.
    assert table.optimize.z_order(["x", "y"])["numFilesRemoved"] == 1
    with pytest.raises(DeltaLakeError, match="no column w"):
        table.optimize.z_order(["w"])


def test_only_the_bin_that_lost_is_done_again(
    catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = uri_of(catalog_url)
    on = {"delta.enableDeletionVectors": "true"}
    for part in ("a", "b"):
        for start in (0, 10):
            data = pa.table({"id": list(range(start, start + 10)), "p": [part] * 10})
            dl.write_deltalake(
                uri, data, mode="append", partition_by="p", location=str(tmp_path / "t"),
                configuration=on,
            )  # fmt: skip
    table = dl.connect_to_table(uri)
    written: list[str] = []
    plain = operation.write_bin

    def hindered(base: Any, files: pa.Table, *more: Any) -> Any:
        found = plain(base, files, *more)
        [part] = set(files.column("partition_values").to_pylist())
        written.append(part)
        if part == '{"p":"a"}' and written.count(part) == 1:
            dl.connect_to_table(uri).delete("id = 3 AND p = 'a'")
        return found

    monkeypatch.setattr(operation, "write_bin", hindered)
    found = table.optimize.compact()
    assert (found["numFilesAdded"], found["numFilesRemoved"], found["numBinsLost"]) == (2, 4, 0)
    assert len(written) == 3
    assert table.count() == 39
    ids = {(row["id"], row["p"]) for row in table.to_pyarrow_table().to_pylist()}
    assert (3, "a") not in ids
    # What lost has left no file behind.
    places = list((tmp_path / "t").glob("p=*/*.parquet"))
    assert len(places) == 6
    assert all(pq.read_metadata(place).num_rows for place in places)


def test_a_bin_that_fails_leaves_nothing_of_those_beside_it(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, place = uri_of(sqlite_url), tmp_path / "t"
    schema = pa.schema([("id", pa.int64()), ("p", pa.string())])
    table = dl.create_table(uri, schema, location=str(place), partition_by="p")
    for number in range(2):
        table.append(pa.table({"id": [number] * 4, "p": list("abcd")}))
    before = sorted(place.glob("p=*/*"))
    plain = operation.write_bin

    def failing(base: Any, files: pa.Table, *more: Any) -> Any:
        if '"c"' in files.column("partition_values")[0].as_py():
            raise DeltaLakeError(DeltaLakeErrorKind.STORAGE_ERROR, "the disk is full")
        return plain(base, files, *more)

    monkeypatch.setattr(operation, "write_bin", failing)
    with pytest.raises(DeltaLakeError, match="the disk is full"):
        table.optimize.compact(min_commit_interval=3600)
    assert sorted(place.glob("p=*/*")) == before
    assert (table.version, table.count()) == (2, 8)
    monkeypatch.setattr(operation, "write_bin", plain)
    assert table.optimize.compact(max_concurrent_tasks=3)["numFilesAdded"] == 4
    table.close()


def test_who_writes_compacts_where_the_table_asks_for_it(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto_compact, "_LEAST_FILES", 4)
    uri, place = uri_of(sqlite_url), tmp_path / "t"
    on = {"delta.autoOptimize.autoCompact": "true", "delta.enableDeletionVectors": "true"}
    schema = pa.schema([("p", pa.string()), ("x", pa.int64())])
    table = dl.create_table(uri, schema, location=str(place), partition_by="p", properties=on)
    for number in range(3):
        table.append(pa.table({"p": ["a", "b"], "x": [number, number]}))
    assert len(table.files()) == 6
    table.append(pa.table({"p": ["a"], "x": [3]}))
    assert len(table.files()) == 4
    assert table.history()[0]["operation"] == "OPTIMIZE"
    assert table.history()[0]["operation_parameters"]["auto"] in ("true", True)
    table.merge(
        pa.table({"p": ["b"], "x": [10]}), "t.x = s.x", source_alias="s", target_alias="t"
    ).when_not_matched_insert_all().execute()
    assert len([path for path in table.files() if "p=b" in path]) == 1
    assert [row["x"] for row in rows_of(table)] == [0, 1, 2, 3, 0, 10, 1, 2]

    def fails(*_: Any) -> None:
        raise DeltaLakeError(DeltaLakeErrorKind.STORAGE_ERROR, "no room")

    monkeypatch.setattr(auto_compact, "_compact", fails)
    with pytest.warns(RuntimeWarning, match="is committed, but compacting it"):
        table.append(pa.table({"p": ["a"], "x": [4]}))
    assert len(rows_of(table)) == 9


def test_purging_leaves_no_vectors(sqlite_url: str, tmp_path: Path) -> None:
    uri, place = uri_of(sqlite_url), tmp_path / "t"
    on = {"delta.enableDeletionVectors": "true"}
    table = dl.create_table(uri, pa.schema([("x", pa.int64())]), location=str(place), properties=on)
    table.append(pa.table({"x": list(range(1_000))}))
    table.append(pa.table({"x": list(range(1_000, 2_000))}))
    table.delete("x = 3")
    assert table.optimize.compact(target_size=1)["numFilesRemoved"] == 0
    done = table.optimize.purge()
    assert (done["numFilesRemoved"], done["numFilesAdded"]) == (1, 1)
    assert all(file.dv_id is None for file in table.snapshot().files)
    assert table.snapshot().count_rows() == 1_999
    assert table.optimize.purge()["numFilesRemoved"] == 0


@pytest.mark.parametrize("order", [False, True])
def test_what_is_read_is_told_and_nothing_the_second_time(
    sqlite_url: str, tmp_path: Path, order: bool
) -> None:
    uri = uri_of(sqlite_url)
    for start in range(0, 3_000, 1_000):
        rows = pa.table({"id": range(start, start + 1_000), "p": ["a", "b"] * 500})
        dl.write_deltalake(uri, rows, mode="append", partition_by="p", location=str(tmp_path / "t"))
    table = dl.connect_to_table(uri)
    size = sum(path.stat().st_size for path in (tmp_path / "t").rglob("p=*/*.parquet"))

    def optimized() -> dict[str, Any]:
        return table.optimize.z_order(["id"]) if order else table.optimize.compact()

    first = optimized()
    # Before rows are ordered, a sample of one column is read.
    assert first["numFilesOpened"] == (12 if order else 6)
    assert size / 2 < first["bytesRead"] < size * (2 if order else 1)
    # Files that aren't there can't be opened.
    (tmp_path / "t").rename(tmp_path / "away")
    (tmp_path / "t").mkdir()
    (tmp_path / "away" / "_delta_log").rename(tmp_path / "t" / "_delta_log")
    again = optimized()
    assert (again["numFilesOpened"], again["bytesRead"]) == (0, 0)
    assert (again["numFilesAdded"], again["versions"]) == (0, [])
    table.close()
