"""MERGE: delta-rs's builder, what it opens, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.table.operations import merge as operations_merge
from deltalakedb.table.operations.merge import MergeOptions, merge
from deltalakedb.table.operations.merge_clauses import Clause
from deltalakedb.table.operations.rewrite import RewriteOptions
from deltalakedb.table.table import Table
from tests.table.changed import (
    CHANGES,
    VECTORS,
    changes_of,
    commit_of,
    rows_of,
    seen_by_delta_rs,
    stale,
)


def made(url: str, place: Path, rows: pa.Table, properties: dict[str, str], **more: str) -> Table:
    uri = f"deltasql://{url}?table=t"
    dl.write_deltalake(uri, rows, location=str(place), configuration=properties, **more)
    return dl.connect_to_table(uri)


TARGET = pa.table({"id": [1, 2, 3, 4, None], "v": ["a", "b", "c", "d", "n"], "n": [1, 1, 1, 1, 1]})


@pytest.mark.parametrize("properties", [{}, VECTORS | CHANGES])
def test_all_kinds_of_clauses(sqlite_url: str, tmp_path: Path, properties: dict[str, str]) -> None:
    table = made(sqlite_url, tmp_path / "t", TARGET, properties)
    source = pa.table(
        {"id": pa.array([2, 3, 7, 8, None], pa.int32()), "v": ["B", "C", "G", "H", "N"]}
    )
    done = (
        table.merge(source, "t.id = s.id", source_alias="s", target_alias="t")
        .when_matched_delete("s.v = 'B'")
        .when_matched_update({"v": "concat(s.v, t.v)", "n": "n + 1"}, predicate="n < 5")
        .when_not_matched_insert({"id": "s.id", "v": "s.v"}, predicate="s.id = 7")
        .when_not_matched_insert_all("s.id > 7")
        .when_not_matched_by_source_delete("id = 4")
        .when_not_matched_by_source_update({"n": "0"}, predicate="t.v = 'a'")
        .execute()
    )
    expected = [
        {"id": 1, "v": "a", "n": 0},
        {"id": 3, "v": "Cc", "n": 2},
        {"id": None, "v": "n", "n": 1},
        {"id": 7, "v": "G", "n": None},
        {"id": 8, "v": "H", "n": None},
    ]
    assert rows_of(table) == seen_by_delta_rs(tmp_path / "t") == sorted(expected, key=str)
    told = {name: value for name, value in done.items() if "rows" in name}
    assert told == {
        "num_source_rows": 5,
        "num_target_rows_inserted": 2,
        "num_target_rows_updated": 2,
        "num_target_rows_deleted": 2,
        "num_target_rows_copied": 0 if properties else 1,
        "num_output_rows": 4 if properties else 5,
    }
    info = commit_of(tmp_path / "t", 1)["commitInfo"][0]
    assert info["operationMetrics"]["numTargetRowsNotMatchedBySourceUpdated"] == "1"
    vectors = info["operationMetrics"]["numTargetDeletionVectorsAdded"]
    assert vectors == ("1" if properties else "0")
    assert info["operationParameters"]["matchedPredicates"] == (
        '[{"actionType":"delete","predicate":"s.v = \'B\'"},'
        '{"actionType":"update","predicate":"n < 5"}]'
    )
    if properties:
        kinds = [(kind, row["id"]) for kind, row in changes_of(tmp_path / "t", 1)]
        assert kinds == [
            ("delete", 2),
            ("delete", 4),
            ("insert", 7),
            ("insert", 8),
            ("update_postimage", 1),
            ("update_postimage", 3),
            ("update_preimage", 1),
            ("update_preimage", 3),
        ]
    assert dl.diff_table("t", database=sqlite_url).parity


def test_only_files_that_may_match_are_opened(sqlite_url: str, tmp_path: Path) -> None:
    place = tmp_path / "t"
    table = made(sqlite_url, place, pa.table({"id": [0], "p": ["z"]}), VECTORS, partition_by="p")
    for first in range(10, 100, 10):
        table.append(pa.table({"id": range(first, first + 10), "p": ["k"] * 10}))
    table.append(pa.table({"id": [35], "p": ["other"]}))
    opened = {add["path"] for version in (3, 6) for add in commit_of(place, version)["add"]}
    for file in place.rglob("*.parquet"):
        if str(file.relative_to(place)) not in opened and "_delta_log" not in str(file):
            file.write_bytes(b"no parquet")
    done = (
        table.merge(pa.table({"id": [35, 62, 5]}), "target.id = source.id AND target.p = 'k'")
        .when_matched_delete()
        .execute()
    )
    assert done["num_target_rows_deleted"] == 2
    assert (done["num_target_files_scanned"], done["num_target_files_skipped_during_scan"]) == (
        2,
        9,
    )


def test_ambiguous_matches(sqlite_url: str, tmp_path: Path) -> None:
    table = made(sqlite_url, tmp_path / "t", TARGET, VECTORS)
    twice = pa.table({"id": [1, 1, 2], "v": ["x", "y", "z"]})
    with pytest.raises(DeltaLakeError, match="several source rows change the same row") as caught:
        table.merge(twice, "target.id = source.id").when_matched_update_all().execute()
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
    assert "'id': 1" in caught.value.facts["row"]
    # Where a clause's condition leaves one of them, there is nothing to choose; nor of deletions.
    merged = table.merge(twice, "target.id = source.id")
    merged.when_matched_update({"v": "source.v"}, predicate="source.v = 'y'").execute()
    assert rows_of(table)[0] == {"id": 1, "v": "y", "n": 1}
    done = table.merge(twice, "target.id = source.id").when_matched_delete().execute()
    assert done["num_target_rows_deleted"] == 2
    assert table.count() == 3


def test_ambiguous_matches_far_apart(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many matches are looked at some at a time: those of one row together."""
    monkeypatch.setattr(operations_merge, "ROWS_AT_A_TIME", 2)
    rows = pa.table({"id": [1, 2, 3], "v": ["a", "b", "c"], "n": [1, 1, 1]})
    table = made(sqlite_url, tmp_path / "t", rows, VECTORS | CHANGES)
    twice = pa.table({"id": [1, 2, 2, 3], "v": ["w", "x", "y", "z"]})
    with pytest.raises(DeltaLakeError, match="several source rows change the same row"):
        table.merge(twice, "target.id = source.id").when_matched_update_all().execute()
    done = table.merge(twice, "target.id = source.id").when_matched_delete().execute()
    assert done["num_target_rows_deleted"] == 3
    assert [row["id"] for _, row in changes_of(tmp_path / "t", 1)] == [1, 2, 3]


def test_merge_schema_and_names(sqlite_url: str, tmp_path: Path) -> None:
    table = made(sqlite_url, tmp_path / "t", TARGET, {})
    source = pa.table({"id": [1, 9], "v": ["A", "I"], "new": [1.5, 2.5]})
    merger = table.merge(source, "target.id = source.id", merge_schema=True)
    merger.when_matched_update_all(except_cols=["v"]).when_not_matched_insert_all().execute()
    assert [row for row in rows_of(table) if row["new"] is not None] == [
        {"id": 1, "v": "a", "n": 1, "new": 1.5},
        {"id": 9, "v": "I", "n": None, "new": 2.5},
    ]
    assert rows_of(table) == seen_by_delta_rs(tmp_path / "t")
    for condition, what in (
        ("id = 1", "may be of source or target"),
        ("target.id = source.nothing", "nothing"),
        ("target.id", "no condition"),
    ):
        with pytest.raises(DeltaLakeError, match=what):
            table.merge(source, condition).when_matched_delete().execute()
    # What the table hasn't is left out where its schema isn't to grow, as Spark and delta-rs do.
    wider = source.append_column("more", pa.array([1, 2]))
    merger = table.merge(wider, "target.id = source.id").when_matched_update_all()
    assert merger.when_not_matched_insert_all().execute()["num_target_rows_updated"] == 2
    assert [row for row in rows_of(table) if row["new"] is not None] == [
        {"id": 1, "v": "A", "n": 1, "new": 1.5},
        {"id": 9, "v": "I", "n": None, "new": 2.5},
    ]
    none = pa.table({"key": [1], "more": [2]})
    with pytest.raises(DeltaLakeError, match="none of the table's columns"):
        table.merge(none, "target.id = source.key").when_matched_update_all().execute()


def test_beside_others(sqlite_url: str, tmp_path: Path) -> None:
    table = made(sqlite_url, tmp_path / "t", TARGET, VECTORS)
    clauses = [Clause("update", "source.v = 'new'"), Clause("insert")]
    old = stale(table)

    def upsert(ids: list[int], v: str) -> None:
        options = MergeOptions(rewrite=RewriteOptions())
        rows = pa.table({"id": ids, "v": [v] * len(ids)})
        merge(table._catalog, old, rows, "target.id = source.id", clauses, options)

    table.delete("id = 1")
    upsert([2], "new")
    with pytest.raises(DeltaLakeError, match="changed 1 of the rows"):
        upsert([1, 3], "new")
    # A row that was matched, and so not inserted, is gone meanwhile: it is inserted now.
    upsert([1, 9], "old")
    assert [(row["id"], row["v"]) for row in rows_of(table)] == [
        (1, "old"),
        (2, "new"),
        (3, "c"),
        (4, "d"),
        (9, "old"),
        (None, "n"),
    ]


def test_a_join_that_goes_to_disk(sqlite_url: str, tmp_path: Path) -> None:
    count = 300_000
    ids = pa.array(range(count))
    names = pa.array([f"a rather long name of {n}" for n in range(count)])
    table = made(sqlite_url, tmp_path / "t", pa.table({"k": names, "v": ids}), VECTORS)
    done = (
        table.merge(
            pa.table({"k": names, "v": ids}), "target.k = source.k", max_spill_size=64 << 20
        )
        .when_matched_update({"v": "source.v + 1"})
        .execute()
    )
    assert done["num_target_rows_updated"] == count
    assert table.snapshot().count_rows("v = 0") == 0
    assert table.snapshot().count_rows(f"v = {count}") == 1
