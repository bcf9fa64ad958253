"""DELETE: by vectors, by copies, by whole files; and beside others that change the same file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.commit.staged import StagedTable
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.table.operations import operation
from deltalakedb.table.operations.delete import delete
from deltalakedb.table.operations.properties import CommitOptions
from deltalakedb.table.operations.provenance import commit_info
from deltalakedb.table.operations.rewrite import RewriteOptions
from deltalakedb.table.operations.vectors import loosened
from deltalakedb.table.table import Table
from deltalakedb.table.transaction import ratify
from tests.table.changed import (
    CHANGES,
    VECTORS,
    changes_of,
    commit_of,
    rows_of,
    seen_by_delta_rs,
    stale,
)

ROWS = pa.table({"x": [0, 1, 2, 3, None, 5], "p": ["a", "a", "a", "b", "b", None]})


def made(url: str, place: Path, properties: dict[str, str], **options: Any) -> Table:
    uri = f"deltasql://{url}?table=t"
    dl.write_deltalake(uri, ROWS, location=str(place), configuration=properties, **options)
    return dl.connect_to_table(uri)


@pytest.mark.parametrize("properties", [{}, VECTORS, VECTORS | CHANGES])
def test_delete(sqlite_url: str, tmp_path: Path, properties: dict[str, str]) -> None:
    table = made(sqlite_url, tmp_path / "t", properties, partition_by=["p"])
    by_vector = "delta.enableDeletionVectors" in properties
    # Of a row whose x is null nobody knows.
    done = table.delete("NOT (x >= 2)")
    assert (done["num_deleted_rows"], done["version"]) == (2, 1)
    assert done["num_copied_rows"] == (0 if by_vector else 1)
    left = [row for row in ROWS.to_pylist() if row["x"] not in (0, 1)]
    assert rows_of(table) == seen_by_delta_rs(tmp_path / "t") == sorted(left, key=str)
    commit = commit_of(tmp_path / "t", 1)
    assert commit["commitInfo"][0]["operationParameters"] == {"predicate": '["NOT (x >= 2)"]'}
    metrics = commit["commitInfo"][0]["operationMetrics"]
    assert metrics["numDeletedRows"] == "2"
    assert metrics["numDeletionVectorsAdded"] == ("1" if by_vector else "0")
    assert metrics["numRemovedFiles"] == ("0" if by_vector else "1")
    if "delta.enableChangeDataFeed" in properties:
        assert changes_of(tmp_path / "t", 1) == [
            ("delete", {"x": 0, "p": "a"}),
            ("delete", {"x": 1, "p": "a"}),
        ]
    if by_vector:
        [add] = commit["add"]
        assert add["path"] == commit["remove"][0]["path"]
        assert add["deletionVector"]["cardinality"] == 2
        assert '"tightBounds":false' in add["stats"]
    # The last row of a file takes the file with it; nothing is committed where nothing matches.
    assert table.delete("x = 2")["num_removed_files"] == 1
    assert "add" not in commit_of(tmp_path / "t", 2)
    assert table.delete("x > 5 AND p = 'b'")["version"] == 2
    assert table.delete()["num_deleted_rows"] == 3
    assert rows_of(table) == seen_by_delta_rs(tmp_path / "t") == []


def test_rows_of_some_age(sqlite_url: str, tmp_path: Path) -> None:
    """The current time is a constant, by which files are ruled out too."""
    now = datetime.now(UTC)
    uri = f"deltasql://{sqlite_url}?table=t"
    for days in ([40, 35], [20, 1], [8, 0]):
        at = pa.array([now - timedelta(days=n) for n in days], pa.timestamp("us", "UTC"))
        rows = pa.table({"n": days, "at": at, "day": at.cast(pa.date32())})
        dl.write_deltalake(uri, rows, location=str(tmp_path / "t"), mode="append")
    table = dl.connect_to_table(uri)
    done = table.delete("at < current_timestamp() - INTERVAL 1 WEEK - INTERVAL 2 DAYS")
    assert (done["num_deleted_rows"], done["num_removed_files"]) == (3, 2)
    told = json.loads(
        commit_of(tmp_path / "t", 3)["commitInfo"][0]["operationMetrics"]["numCopiedRows"]
    )
    assert told == 1
    assert table.delete("at < now() - INTERVAL '1' MONTH OR day > current_date")["version"] == 3
    assert table.update({"at": "at - INTERVAL 2 DAYS"}, "day = current_date()")[
        "num_updated_rows"
    ] == (1 if datetime.now(UTC).date() == now.date() else 0)
    merger = table.merge(pa.table({"k": [1]}), "n = k AND at < now()")
    merger.when_matched_delete("target.at > current_timestamp() - INTERVAL 30 HOURS")
    merger.when_not_matched_by_source_delete("target.at < current_timestamp() - INTERVAL 5 DAYS")
    merger.execute()
    assert [row["n"] for row in rows_of(table)] == [0]
    assert dl.diff_table("t", database=sqlite_url).parity


def test_partitions_are_deleted_without_being_read(sqlite_url: str, tmp_path: Path) -> None:
    table = made(sqlite_url, tmp_path / "t", CHANGES, partition_by=["p"])
    for file in (tmp_path / "t").rglob("*.parquet"):
        file.write_bytes(b"no parquet")
    assert table.delete("p IN ('a', 'c') OR p IS NULL")["num_deleted_rows"] == 4
    assert table.count() == 2
    assert "cdc" not in commit_of(tmp_path / "t", 1)


def test_rows_of_one_file(sqlite_url: str, tmp_path: Path) -> None:
    table = made(sqlite_url, tmp_path / "t", VECTORS)
    old, catalog = stale(table), table._catalog
    table.delete("x = 0")
    table.delete("x = 5")
    assert delete(catalog, old, "x = 1", RewriteOptions())["num_deleted_rows"] == 1
    with pytest.raises(DeltaLakeError, match="changed 2 of the rows") as caught:
        delete(catalog, old, "x <= 2", RewriteOptions())
    assert caught.value.kind is DeltaLakeErrorKind.CONCURRENCY_ERROR
    assert caught.value.facts["rows"] == 2
    assert caught.value.facts["path"] in {
        add["path"] for add in commit_of(tmp_path / "t", 0)["add"]
    }
    # Neither what failed nor what was made again took a live file or vector along.
    assert [row["x"] for row in rows_of(table)] == [2, 3, None]
    assert table.refresh().version == 3
    # The last rows of a file, by two: nothing of the file is left.
    old = stale(table)
    table.delete("x = 2")
    assert delete(catalog, old, "x IS NULL OR x = 3", RewriteOptions())["num_deleted_rows"] == 2
    assert "add" not in commit_of(tmp_path / "t", 5)
    assert rows_of(table) == []
    assert dl.diff_table("t", database=sqlite_url).parity


def test_rows_that_were_brought_back_stay(sqlite_url: str, tmp_path: Path) -> None:
    table = made(sqlite_url, tmp_path / "t", VECTORS)
    whole = stale(table).live_files(table._catalog)
    table.delete("x <= 1")
    old = stale(table)
    # What RESTORE does: the file's life without a vector begins anew.
    options = CommitOptions()
    staged = StagedTable(
        table=old.row,
        read_version=1,
        info=commit_info("RESTORE", {}, {}, options, blind=False),
        added=whole,
        removes=old.live_files(table._catalog),
    )
    ratify(table._catalog, [staged], options, None)
    delete(table._catalog, old, "x = 5", RewriteOptions())
    assert [row["x"] for row in rows_of(table)] == [0, 1, 2, 3, None]


def test_a_failed_delete_by_vector_leaves_the_files(sqlite_url: str, tmp_path: Path) -> None:
    table = made(sqlite_url, tmp_path / "t", VECTORS)
    before = {p.name for p in (tmp_path / "t").iterdir()}
    options = RewriteOptions(commit=replace(CommitOptions(), if_version=7))
    many = pa.table({"x": range(1000), "p": ["c"] * 1000})
    table.append(many)
    with pytest.raises(DeltaLakeError, match="not at 7"):
        delete(table._catalog, stale(table), "x > 1 AND x < 900", options)
    assert table.refresh().count() == 1006
    assert len({p.name for p in (tmp_path / "t").iterdir()} - before) == 1


def test_append_only(sqlite_url: str, tmp_path: Path) -> None:
    table = made(sqlite_url, tmp_path / "t", {"delta.appendOnly": "true"})
    with pytest.raises(DeltaLakeError, match="append-only"):
        table.delete("x = 1")


def test_bounds_of_a_file_with_a_vector_keep_their_digits() -> None:
    stats = '{"numRecords":2,"minValues":{"a":12345678901234567890.5},"tightBounds":true}'
    assert loosened(stats, 2) == stats.replace("true", "false")
    assert loosened(None, 3) == '{"tightBounds":false,"numRecords":3}'
    text = r'{"numRecords":1,"minValues":{"a":"\"tightBounds\":true"}}'
    assert loosened(text, 1) == '{"tightBounds":false,' + text[1:]


@pytest.mark.parametrize("work", ["delete", "update", "merge", "compact"])
def test_what_others_did_meanwhile_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    uri = f"deltasql://sqlite:///{tmp_path}/catalog.sqlite?table=t"
    for number in range(2):
        rows = pa.table({"id": [number, 2], "n": [0, 0]})
        dl.write_deltalake(uri, rows, mode="append", location=str(tmp_path / "t"))
    calls: dict[str, Callable[[dl.Table], Any]] = {
        "delete": lambda table: table.delete("id = 2"),
        "update": lambda table: table.update({"id": "3"}, predicate="id = 2"),
        "merge": lambda table: (
            table.merge(pa.table({"id": [2]}), "t.id = s.id", source_alias="s", target_alias="t")
            .when_matched_delete()
            .execute()
        ),
        "compact": lambda table: table.optimize.compact(),
    }
    ratified = operation._ratified

    def beside(*args: Any) -> Any:
        monkeypatch.setattr(operation, "_ratified", ratified)
        calls[work](dl.connect_to_table(uri))
        return ratified(*args)

    table = dl.connect_to_table(uri)
    monkeypatch.setattr(operation, "_ratified", beside)
    calls[work](table)
    assert table.snapshot().version == 2
    found = {path.name for path in (tmp_path / "t").glob("*.parquet")}
    assert set(table.files()) <= found
    assert len(found) == 3


@pytest.mark.parametrize(
    ("predicate", "left"),
    [
        ("p < q", [2, 3]),
        ("NOT (p < q)", [1]),
        ("p < q OR p = 3", [2]),
        ("NOT (f > 1)", [2, 3]),
        ("NOT (f >= 1 OR f = 0)", [2, 3]),
        ([("f", "<", math.nan)], [2]),
        ([("f", "!=", math.nan)], [2]),
    ],
)
def test_what_partitions_do_not_decide_is_asked_of_rows(
    sqlite_url: str, tmp_path: Path, predicate: Any, left: list[int]
) -> None:
    """Two columns compared, and NaN, to which engines give orders of their own."""
    rows = pa.table({"p": [1, 2, 3], "q": [2, 2, 2], "f": [0.5, math.nan, 1.5], "n": [1, 2, 3]})
    uri = f"deltasql://{sqlite_url}?table=t"
    dl.write_deltalake(uri, rows, location=str(tmp_path / "t"), partition_by=["p", "q", "f"])
    table = dl.connect_to_table(uri)
    found = table.snapshot().to_pyarrow_table(predicate).column("n").to_pylist()
    assert sorted({1, 2, 3} - set(found)) == left
    table.delete(predicate)
    assert sorted(table.to_pyarrow_table().column("n").to_pylist()) == left
    table.close()


def test_rows_of_one_large_file_one_after_the_other(sqlite_url: str, tmp_path: Path) -> None:
    # Kept decoded from the second time on; from the third, parts without such rows are left out.
    count = 300_000
    uri, rows = f"deltasql://{sqlite_url}?table=t", pa.table({"id": range(count)})
    dl.write_deltalake(uri, rows, location=str(tmp_path / "t"), configuration=VECTORS)
    table = dl.connect_to_table(uri)
    wanted = [7, 150_000, count - 1, 131_071, 131_072, 0, 262_144, 7, count]
    gone = [table.delete(f"id = {number}")["num_deleted_rows"] for number in wanted]
    assert gone == [1] * 7 + [0, 0]
    assert table.delete(f"id >= {count - 3}")["num_deleted_rows"] == 2
    left = set(range(count - 3)) - set(wanted)
    assert set(table.to_pyarrow_table().column("id").to_pylist()) == left
