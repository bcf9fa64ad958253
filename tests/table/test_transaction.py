"""Several tables in one transaction: all or nothing, at one moment, by isolation level."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.mirror import publish
from tests.cli.commands import dl_lines
from tests.servers.s3 import S3Bucket

LEVELS = ("WriteSerializable", "Serializable", "SnapshotIsolation")
ROWS = pa.schema([("id", pa.int64()), ("p", pa.string())])


def uri_of(database: str, name: str) -> str:
    return f"deltasql://{database}?table={name}"


def rows(*ids: int, p: str = "a") -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "p": pa.array([p] * len(ids), pa.string())})


def tables(database: str, folder: Path, *names: str, **options: Any) -> list[dl.Table]:
    return [
        dl.create_table(uri_of(database, name), ROWS, location=str(folder / name), **options)
        for name in names
    ]


def ids(database: str, name: str) -> list[int]:
    found = dl.connect_to_table(uri_of(database, name), cache=False).to_pyarrow_table()
    return sorted(found["id"].to_pylist())


def commit_of(location: Path, version: int) -> list[dict[str, Any]]:
    text = (location / "_delta_log" / f"{version:020d}.json").read_text()
    return [json.loads(line) for line in text.splitlines()]


def data_files(folder: Path) -> list[str]:
    found = [str(path.relative_to(folder)) for path in folder.rglob("*.parquet")]
    return sorted(name for name in found if "_delta_log" not in name)


def test_all_tables_or_none(any_catalog_url: str, tmp_path: Path) -> None:
    tables(any_catalog_url, tmp_path, "a", "b", "c", partition_by=["p"])
    with dl.begin(any_catalog_url) as tx:
        tx.append("a", rows(1, 2))
        tx.append(uri_of(any_catalog_url, "b"), rows(3))
        assert ids(any_catalog_url, "a") == []
        assert tx.snapshot("a").to_pyarrow_table("id > 1")["id"].to_pylist() == [2]
        assert tx.snapshot("c").num_files == 0
    assert tx.result is not None
    assert tx.result.versions == {"a": 1, "b": 1}
    group = tx.result.group_id
    for name, expected in (("a", [1, 2]), ("b", [3])):
        info, member, add = commit_of(tmp_path / name, 1)
        assert member["transactionGroup"]["transactionId"] == group
        assert [m["proposedVersion"] for m in member["transactionGroup"]["participants"]] == [1, 1]
        tags = info["commitInfo"]["tags"]
        assert tags == {"delta.multiTableTransaction.transactionId": group}
        assert add["add"]["partitionValues"] == {"p": "a"}
        seen = deltalake.DeltaTable(str(tmp_path / name)).to_pyarrow_table()
        assert sorted(seen["id"].to_pylist()) == expected == ids(any_catalog_url, name)
        assert dl.diff_table(name, database=any_catalog_url).parity
    before = data_files(tmp_path)
    tx = dl.begin(any_catalog_url)

    def interrupted() -> None:
        with tx:
            tx.append("a", rows(4))
            tx.overwrite("b", rows(5))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        interrupted()
    assert data_files(tmp_path) == before
    assert (ids(any_catalog_url, "a"), ids(any_catalog_url, "b")) == ([1, 2], [3])
    with pytest.raises(DeltaLakeError, match="rolled back"):
        tx.append("a", rows(4))


def test_operations_on_one_table_become_one_commit(sqlite_url: str, tmp_path: Path) -> None:
    [a, b] = tables(sqlite_url, tmp_path, "a", "b", partition_by=["p"])
    a.append(rows(1, p="x"))
    a.append(rows(2, p="y"))
    b.append(rows(1))
    with dl.begin(sqlite_url) as tx:
        tx.append("a", rows(3, p="x"))
        tx.overwrite("a", rows(4, p="x"), partition_overwrite="dynamic")
        seen = tx.snapshot("a")
        assert sorted(seen.to_pyarrow_table()["id"].to_pylist()) == [2, 4]
        assert seen.to_pyarrow_table("p = 'x'")["id"].to_pylist() == [4]
        assert (seen.num_files, len(list(seen.files)), seen.count_rows()) == (2, 2, 2)
        more = pa.table({"id": [5], "p": ["y"], "note": ["new"]})
        tx.append("a", more, schema_mode="merge")
        assert tx.snapshot("a").schema.names == ["id", "p", "note"]
        # All that was in b, and what was just put there, is gone again.
        tx.append("b", rows(2))
        tx.overwrite("b", rows(3), predicate="id < 10")
    assert tx.result is not None
    assert tx.result.versions == {"a": 3, "b": 2}
    lines = commit_of(tmp_path / "a", 3)
    assert lines[0]["commitInfo"]["operation"] == "TRANSACTION"
    assert lines[0]["commitInfo"]["isBlindAppend"] is False
    assert sorted(key for line in lines[2:] for key in line) == ["add", "add", "metaData", "remove"]
    assert (ids(sqlite_url, "a"), ids(sqlite_url, "b")) == ([2, 4, 5], [3])
    for name in ("a", "b"):
        delta_rs = deltalake.DeltaTable(str(tmp_path / name))
        assert sorted(delta_rs.to_pyarrow_table()["id"].to_pylist()) == ids(sqlite_url, name)
        assert dl.diff_table(name, database=sqlite_url).parity
    # The files that came and went within the transaction are gone.
    assert len(data_files(tmp_path / "a")) == 4
    assert len(data_files(tmp_path / "b")) == 2


def test_a_transaction_reads_one_moment(catalog_url: str, tmp_path: Path) -> None:
    [a, b] = tables(catalog_url, tmp_path, "a", "b")
    a.append(rows(1))
    tx = dl.begin(catalog_url)
    a.append(rows(2))
    b.append(rows(3))
    assert tx.snapshot("a").version == 1
    assert tx.snapshot("a").to_pyarrow_table()["id"].to_pylist() == [1]
    assert tx.snapshot("b").num_files == 0
    late = tables(catalog_url, tmp_path, "late")[0]
    with pytest.raises(DeltaLakeError, match="made after this transaction began"):
        tx.append(late, rows(4))
    result = tx.commit()
    assert (result.versions, result.group_id) == ({}, None)


def test_what_was_read_by_level(sqlite_url: str, tmp_path: Path) -> None:
    for level in LEVELS:
        folder = tmp_path / level
        names = [f"{level}.{name}" for name in ("a", "b")]
        tables(sqlite_url, folder, *names)
        conflict: dict[str, str | None] = {}
        for case, predicate in (("skew", None), ("empty", "id = 77"), ("phantom", "id > 50")):
            one, two = (dl.begin(sqlite_url, isolation=level) for _ in range(2))
            number = {"skew": 1, "empty": 77, "phantom": 60}[case]
            for tx, (read, written) in ((one, names), (two, names[::-1])):
                tx.snapshot(read).to_pyarrow_table(predicate)
                tx.append(written, rows(number))
            one.commit()
            found = two.conflicts()
            try:
                two.commit()
                conflict[case] = None
                assert found == []
            except DeltaLakeError as error:
                conflict[case] = str(error.facts["rule"])
                assert [each.facts["rule"] for each in found] == [conflict[case]]
        expected = "concurrent_append" if level == "Serializable" else None
        assert conflict == dict.fromkeys(("skew", "empty", "phantom"), expected)


def test_reads_are_held_to_their_predicates(sqlite_url: str, tmp_path: Path) -> None:
    [a, _] = tables(sqlite_url, tmp_path, "a", "b")
    a.append(rows(1, 2))
    tx = dl.begin(sqlite_url, isolation="Serializable")
    assert tx.snapshot("a").to_pyarrow_table("id < 10").num_rows == 2
    tx.append("b", rows(1))
    a.append(rows(100, 200))
    assert tx.commit().versions == {"b": 1}
    # A deletion that found nothing has looked for something.
    tx = dl.begin(sqlite_url, isolation="Serializable")
    assert tx.delete("a", "id = 300")["num_deleted_rows"] == 0
    tx.append("b", rows(2))
    a.append(rows(300))
    with pytest.raises(DeltaLakeError) as caught:
        tx.commit()
    assert caught.value.facts["rule"] == "concurrent_append"
    for level, rule in (
        ("WriteSerializable", "concurrent_append"),
        ("SnapshotIsolation", None),
    ):
        tx = dl.begin(sqlite_url, isolation=level)
        tx.snapshot("a").to_pyarrow_table("id < 10")
        tx.append("a", rows(3))
        a.overwrite(rows(1, 2))
        if rule is None:
            tx.commit()
            continue
        with pytest.raises(DeltaLakeError) as caught:
            tx.commit()
        assert caught.value.facts["rule"] == rule
        assert caught.value.outcome == "failed"
    assert ids(sqlite_url, "a") == [1, 2, 3]


def test_what_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    [a] = tables(sqlite_url, tmp_path, "a")
    other = f"sqlite:///{tmp_path / 'other.sqlite'}"
    [b] = tables(other, tmp_path, "b")
    tables(sqlite_url, tmp_path, "filed", authority="log")
    tx = dl.begin(sqlite_url)
    for table in (b, uri_of(other, "b")):
        with pytest.raises(DeltaLakeError, match="two catalogs") as caught:
            tx.append(table, rows(1))
        assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
    with pytest.raises(DeltaLakeError, match="authority log"):
        tx.append("filed", rows(1))
    with pytest.raises(DeltaLakeError, match="no table nobody"):
        tx.append("nobody", rows(1))
    with pytest.raises(DeltaLakeError, match="no isolation level"):
        dl.begin(sqlite_url, isolation="ReadCommitted")  # type: ignore[arg-type]
    with pytest.raises(DeltaLakeError, match="if_version"):
        tx.append(a, rows(1), if_version=3)
    tx.append(a, rows(1))
    tx.rollback()
    # A member whose log takes over before the commit takes the other one with it.
    [c] = tables(sqlite_url, tmp_path, "c")
    tx = dl.begin(sqlite_url)
    tx.append(a, rows(1))
    tx.append(c, rows(1))
    c.set_authority("log")
    with pytest.raises(DeltaLakeError) as caught:
        tx.commit()
    assert caught.value.outcome == "failed"
    assert ids(sqlite_url, "a") == ids(sqlite_url, "c") == []
    assert data_files(tmp_path / "a") == []


def test_a_token_commits_once(sqlite_url: str, tmp_path: Path) -> None:
    tables(sqlite_url, tmp_path, "a", "b")
    for repeated in (False, True):
        with dl.begin(sqlite_url, token="once") as tx:
            tx.append("a", rows(1))
            tx.append("b", rows(2))
        assert tx.result is not None
        assert tx.result.repeated is repeated
        assert tx.result.versions == {"a": 1, "b": 1}
    assert len(data_files(tmp_path)) == 2


def test_versions_that_belong_together(sqlite_url: str, tmp_path: Path) -> None:
    opened = tables(sqlite_url, tmp_path, "a", "b", "c")
    places = [str(tmp_path / name) for name in ("a", "b", "c")]
    for first, second in (("a", "b"), ("b", "c")):
        with dl.begin(sqlite_url) as tx:
            tx.append(first, rows(1))
            tx.append(second, rows(1))
    opened[0].append(rows(2))
    whole = dl.consistent_versions(places)
    assert whole == {places[0]: 2, places[1]: 2, places[2]: 1}
    assert (whole.newest, whole.unknown) == (whole, [])
    assert all(whole.timestamps.values())
    moment = dl.snapshots([uri_of(sqlite_url, "a"), opened[1], uri_of(sqlite_url, "c")])
    assert [snapshot.version for snapshot in moment] == [2, 2, 1]
    # As when the last member isn't published yet: what depends on it is left out, no more.
    log = tmp_path / "c" / "_delta_log"
    for path in log.glob("*1.json"):
        path.unlink()
    split = dl.consistent_versions(places)
    assert split == {places[0]: 2, places[1]: 1, places[2]: 0}
    told = dl_lines("consistent", *places)
    assert [(each["version"], each["newest"]) for each in told] == [(2, 2), (1, 2), (0, 0)]
    # Where commits are gone that might tell, that is said.
    (tmp_path / "a" / "_delta_log" / f"{0:020d}.json").unlink()
    with pytest.raises(DeltaLakeError, match="no table nobody"):
        dl.snapshots([opened[0], uri_of(sqlite_url, "nobody")])
    assert dl.consistent_versions(places).unknown == [places[0]]


@pytest.mark.parametrize("vectors", ["true", "false"])
def test_rows_and_columns_change_together(sqlite_url: str, tmp_path: Path, vectors: str) -> None:
    properties = {"delta.enableDeletionVectors": vectors}
    [a, b] = tables(sqlite_url, tmp_path, "a", "b", properties=properties)
    a.append(rows(1, 2, 3, 4))
    b.append(rows(1, 2))
    with dl.begin(sqlite_url) as tx:
        tx.append("a", rows(5, 6))
        assert tx.delete("a", "id in (1, 5)")["num_deleted_rows"] == 2
        kept = tx.table("a")
        kept.alter.add_columns([pa.field("note", pa.string())])
        assert "version" not in tx.update("a", {"note": "'seen'"}, predicate="id = 2 or id = 6")
        assert tx.delete("a", "note = 'seen' and id = 6")["num_deleted_rows"] == 1
        assert tx.delete("a", "id = 77")["num_deleted_rows"] == 0
        tx.update("b", new_values={"p": "z"}, predicate="id = 2")
        merging = tx.merge("b", rows(2, 3, p="m"), "source.id = target.id")
        merging.when_matched_update_all().when_not_matched_insert_all().execute()
        with pytest.raises(DeltaLakeError, match="say it to `begin`"):
            tx.delete("b", "id = 1", token="mine")
        seen = tx.snapshot("a").to_pyarrow_table("id >= 2").sort_by("id").to_pylist()
    assert tx.result is not None
    assert tx.result.versions == {"a": 2, "b": 2}
    expected = [(2, "seen"), (3, None), (4, None)]
    committed = dl.connect_to_table(uri_of(sqlite_url, "a"), cache=False).to_pyarrow_table()
    for found in (seen, committed.sort_by("id").to_pylist()):
        assert [(row["id"], row["note"]) for row in found] == expected
    merged = dl.connect_to_table(uri_of(sqlite_url, "b"), cache=False).to_pyarrow_table()
    assert sorted((row["id"], row["p"]) for row in merged.to_pylist()) == [
        (1, "a"),
        (2, "m"),
        (3, "m"),
    ]
    # What comes too late is no part of it, and says so.
    for late in (merging.execute, lambda: tx.delete("b"), kept.delete):
        with pytest.raises(DeltaLakeError, match="is committed; begin another"):
            late()
    lines = commit_of(tmp_path / "a", 2)
    assert lines[0]["commitInfo"]["txnId"] == commit_of(tmp_path / "b", 2)[0]["commitInfo"]["txnId"]
    paths = [line["add"]["path"] for line in lines if "add" in line]
    assert len(set(paths)) == len(paths)
    for name in ("a", "b"):
        assert dl.diff_table(name, database=sqlite_url).parity
    if vectors == "false":
        seen_there = deltalake.DeltaTable(str(tmp_path / "a")).to_pyarrow_table().sort_by("id")
        assert [(row["id"], row["note"]) for row in seen_there.to_pylist()] == expected


def test_disjoint_rows_of_one_file_by_several_transactions(sqlite_url: str, tmp_path: Path) -> None:
    properties = {"delta.enableDeletionVectors": "true"}
    opened = tables(sqlite_url, tmp_path, "a", "b", properties=properties)
    for table in opened:
        table.append(rows(*range(10)))
    one, two, three = (dl.begin(sqlite_url) for _ in range(3))
    for tx, number in ((one, 1), (two, 2), (three, 2)):
        for name in ("a", "b"):
            tx.delete(name, f"id = {number}")
            tx.append(name, rows(100 + number))
    one.commit()
    assert two.conflicts() == []
    assert two.commit().versions == {"a": 3, "b": 3}
    with pytest.raises(DeltaLakeError) as caught:
        three.commit()
    assert caught.value.facts["rule"] == "concurrent_rows"
    for name in ("a", "b"):
        assert ids(sqlite_url, name) == [0, *range(3, 10), 101, 102]
        assert dl.diff_table(name, database=sqlite_url).parity


@pytest.mark.parametrize("vectors", ["true", "false"])
def test_rows_are_changed_where_others_have_moved_them(
    sqlite_url: str, tmp_path: Path, vectors: str
) -> None:
    properties = {"delta.enableDeletionVectors": vectors, "delta.enableRowTracking": "true"}
    [a] = tables(sqlite_url, tmp_path, "a", properties=properties)
    for first in (0, 10):
        a.append(rows(*range(first, first + 5)))
    one, two, three = (dl.begin(sqlite_url) for _ in range(3))
    one.delete("a", "id IN (1, 11)")
    merger = one.merge("a", rows(2, 20, p="m"), "target.id = source.id")
    merger.when_matched_update_all().when_not_matched_insert_all().execute()
    two.update("a", {"id": "id + 100"}, predicate="id IN (2, 3)")
    three.overwrite("a", rows(7))
    a.optimize.compact()
    if vectors == "true":
        a.delete("id = 4")
    a.append(rows(30))
    a.optimize.compact()
    assert one.commit().tables[0].metrics
    expected = [0, 2, 3, 10, 12, 13, 14, 20, 30] + ([] if vectors == "true" else [4])
    assert ids(sqlite_url, "a") == sorted(expected)
    found = a.refresh().to_pyarrow_table("p = 'm'")["id"].to_pylist()
    assert sorted(found) == [2, 20]
    assert dl.diff_table("a", database=sqlite_url).parity
    # These would change rows that others have changed, too.
    for late in (two, three):
        with pytest.raises(DeltaLakeError) as caught:
            late.commit()
        assert caught.value.kind is DeltaLakeErrorKind.CONCURRENCY_ERROR
    assert ids(sqlite_url, "a") == sorted(expected)
    with dl.begin(sqlite_url) as tx:
        tx.overwrite("a", rows(7))
        a.optimize.compact()
    assert ids(sqlite_url, "a") == [7]


@pytest.mark.parametrize("vectors", ["true", "false"])
def test_change_data_of_several_operations(sqlite_url: str, tmp_path: Path, vectors: str) -> None:
    """Told as what became of rows by the commit, whatever they were meanwhile."""
    properties = {
        "delta.enableChangeDataFeed": "true",
        "delta.enableDeletionVectors": vectors,
    }
    [a] = tables(sqlite_url, tmp_path, "a", properties=properties, partition_by=["p"])
    a.append(rows(*range(1, 9)))
    with dl.begin(sqlite_url) as tx:
        tx.append("a", rows(20, 21, 22))
        tx.update("a", {"p": "'b'"}, predicate="id IN (1, 2, 3, 20)")  # Pairs in two partitions.
        assert tx.conflicts() == []
        tx.update("a", {"id": "id + 100"}, predicate="id IN (2, 4, 21)")
        tx.delete("a", "id IN (3, 5, 22)")
        merger = tx.merge("a", rows(6, 7, 30), "target.id = source.id")
        merger.when_matched_delete("source.id = 6").when_matched_update({"p": "'c'"})
        merger.when_not_matched_insert_all().execute()
        tx.update("a", {"id": "id + 1"}, predicate="id = 30")
        tx.overwrite("a", rows(8, p="d"), predicate="p = 'd'")
    expected = sorted(
        [
            ("delete", 3, "a"), ("delete", 5, "a"), ("delete", 6, "a"), ("insert", 8, "d"),
            ("insert", 20, "b"), ("insert", 31, "a"), ("insert", 121, "a"),
            *(("update_preimage", n, "a") for n in (1, 2, 4, 7)),
            ("update_postimage", 1, "b"), ("update_postimage", 102, "b"),
            ("update_postimage", 104, "a"), ("update_postimage", 7, "c"),
        ]
    )  # fmt: skip
    seen_by = [a.refresh()] + (
        [] if vectors == "true" else [deltalake.DeltaTable(str(tmp_path / "a"))]
    )
    for table in seen_by:
        found = pa.table(table.load_cdf(starting_version=2)).to_pylist()
        assert sorted((r["_change_type"], r["id"], r["p"]) for r in found) == expected
    left = {str(path.relative_to(tmp_path / "a")) for path in (tmp_path / "a").rglob("cdc-*")}
    told = [line["cdc"]["path"] for line in commit_of(tmp_path / "a", 2) if "cdc" in line]
    assert left == set(told)
    # Rows that only come are told by their files, those that come and go by nothing.
    with dl.begin(sqlite_url) as tx:
        tx.append("a", rows(40, 41))
        tx.update("a", {"id": "id + 1"}, predicate="id >= 40 AND id < 100")
        tx.delete("a", "id = 42")
    assert "cdc" not in {kind for line in commit_of(tmp_path / "a", 3) for kind in line}
    found = pa.table(a.refresh().load_cdf(starting_version=3)).to_pylist()
    assert [(r["_change_type"], r["id"]) for r in found] == [("insert", 41)]
    tx = dl.begin(sqlite_url)
    tx.update("a", {"id": "id + 1"}, predicate="id = 41")
    tx.delete("a", "id = 42")
    assert tx.conflicts() == []
    tx.rollback()
    assert len(list((tmp_path / "a").rglob("cdc-*"))) == len(left)


def _log_of(
    folder: Path, ident: str, commits: int, grouped: dict[int, list[tuple[str, int]]]
) -> str:
    log = folder / ident / "_delta_log"
    log.mkdir(parents=True)
    for version in range(commits):
        lines: list[dict[str, Any]] = [{"commitInfo": {"timestamp": 1_700_000_000_000 + version}}]
        if version == 0:
            lines.append({"metaData": {"id": ident}})
        if version in grouped:
            members = [{"tableId": t, "proposedVersion": v} for t, v in grouped[version]]
            lines.append({"transactionGroup": {"participants": members}})
        (log / f"{version:020d}.json").write_text("\n".join(map(json.dumps, lines)))
    return str(log.parent)


@pytest.mark.parametrize("split_at", [51, 101, 1, 52, 0])
def test_no_commit_of_a_long_log_is_passed_over(tmp_path: Path, split_at: int) -> None:
    """A member that was published 101 versions ago, when the other table's part never was."""
    a = _log_of(tmp_path, "a", 102, {split_at: [("a", split_at), ("b", 7)]} if split_at else {})
    b = _log_of(tmp_path, "b", 7, {})
    found = dl.consistent_versions([a, b])
    assert found == {a: split_at - 1 if split_at else 101, b: 6}
    assert found.unknown == []


def test_logs_far_away_are_put_to_at_once(
    s3: S3Bucket, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each put waits until all are under way, so that one after the other none would end."""
    names = ["a", "b", "c"]
    for name in names:
        place = f"s3://{s3.name}/{name}"
        uri = uri_of(sqlite_url, name)
        dl.create_table(uri, ROWS, location=place, storage_options=s3.options).close()
    put, begun, changed = publish.put, set[str](), threading.Condition()

    def waiting(*arguments: Any, **options: Any) -> None:
        # Tables of other tests may be tended meanwhile.
        if s3.name not in arguments[1].log_location:
            put(*arguments, **options)
            return
        with changed:
            begun.add(arguments[1].full_name)
            changed.notify_all()
            assert changed.wait_for(lambda: len(begun) == 3, timeout=240)
        put(*arguments, **options)

    monkeypatch.setattr(publish, "put", waiting)
    with dl.begin(sqlite_url, storage_options=s3.options) as tx:
        for name in names:
            tx.append(name, rows(1))
    assert tx.result is not None
    assert tx.result.versions == dict.fromkeys(names, 1)
    assert all(each.published for each in tx.result.tables)
