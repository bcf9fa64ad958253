"""Tables that a transaction makes: there with all that it does, or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest
import sqlalchemy as sa

import deltalakedb as dl
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.dialects.writer import LostConnectionError, Writer
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from tests.cli.commands import dl as cli
from tests.table.test_transaction import ROWS, commit_of, data_files, ids, rows, tables, uri_of


def counts(database: str) -> list[int]:
    """Rows of all that a table's making leaves in a catalog."""
    names = ("dl_tables", "dl_heads", "dl_mirror", "dl_import_runs", "dl_loads", "dl_commits")
    with Catalog(database) as catalog, catalog.read() as connection:
        return [connection.scalar(sa.text(f"SELECT count(*) FROM {name}")) or 0 for name in names]


def test_made_filled_and_altered_in_one_commit(any_catalog_url: str, tmp_path: Path) -> None:
    tables(any_catalog_url, tmp_path, "old")
    with dl.begin(any_catalog_url) as tx:
        tx.create_table("shop.one", ROWS, location=str(tmp_path / "one"), partition_by="p")
        tx.append("shop.one", rows(1, 2))
        tx.append("shop.one", rows(3, p="b"))
        tx.delete("shop.one", "id = 2")
        two = tx.create_table(uri_of(any_catalog_url, "two"), ROWS, location=str(tmp_path / "two"))
        two.alter.add_columns([pa.field("more", pa.int64())])
        tx.append("old", rows(7))
        assert tx.snapshot("shop.one").count_rows() == 2
        assert tx.snapshot("shop.one").num_files == 2
        assert tx.snapshot("two").to_pyarrow_table("id > 1").num_rows == 0
        assert tx.conflicts() == []
        with pytest.raises(DeltaLakeError, match="no table"):
            dl.connect_to_table(uri_of(any_catalog_url, "two"))
        assert not (tmp_path / "one" / "_delta_log").exists()
    assert tx.result is not None
    assert tx.result.versions == {"shop.one": 0, "two": 0, "old": 1}
    assert ids(any_catalog_url, "shop.one") == [1, 3]
    seen = deltalake.DeltaTable(str(tmp_path / "one")).to_pyarrow_table()
    assert sorted(seen["id"].to_pylist()) == [1, 3]
    assert deltalake.DeltaTable(str(tmp_path / "two")).schema().to_arrow().names == [
        *ROWS.names,
        "more",
    ]
    groups = {
        str(line["transactionGroup"])
        for name, version in (("one", 0), ("two", 0), ("old", 1))
        for line in commit_of(tmp_path / name, version)
        if "transactionGroup" in line
    }
    assert len(groups) == 1
    for name in ("shop.one", "two", "old"):
        assert dl.diff_table(name, database=any_catalog_url).parity
    # They are tables like others.
    one = dl.connect_to_table(uri_of(any_catalog_url, "shop.one"), cache=False)
    assert one.append(rows(9)).version == 1
    assert one.to_pyarrow_table("id = 9").num_rows == 1


def test_nothing_is_left_of_a_transaction_that_fails(sqlite_url: str, tmp_path: Path) -> None:
    [old] = tables(sqlite_url, tmp_path, "old")
    old.append(rows(1))
    before = counts(sqlite_url)
    tx = dl.begin(sqlite_url)
    tx.create_table("new", ROWS, location=str(tmp_path / "new"))
    tx.append("new", rows(1))
    for name, place, why in (
        ("new", "other", "exists already"),
        ("another", "new", "is the location of table new"),
        ("old", "other", "exists already"),
        ("another", "old", "has a log already"),
    ):
        with pytest.raises(DeltaLakeError, match=why) as caught:
            tx.create_table(name, ROWS, location=str(tmp_path / place))
        assert caught.value.kind is DeltaLakeErrorKind.TABLE_EXISTS
    tx.rollback()
    assert (counts(sqlite_url), data_files(tmp_path / "new")) == (before, [])
    # One that conflicts, and one whose name another takes.
    tx = dl.begin(sqlite_url)
    tx.create_table("new", ROWS, location=str(tmp_path / "new"))
    tx.append("new", rows(1))
    tx.delete("old", "id = 1")
    old.delete("id = 1")
    with pytest.raises(DeltaLakeError) as caught:
        tx.commit()
    assert caught.value.kind is DeltaLakeErrorKind.CONCURRENCY_ERROR
    # What the other one has committed.
    assert counts(sqlite_url) == [*before[:5], before[5] + 1]
    tx = dl.begin(sqlite_url)
    tx.append("old", rows(5))
    tx.create_table("new", ROWS, location=str(tmp_path / "new"))
    dl.create_table(uri_of(sqlite_url, "new"), ROWS, location=str(tmp_path / "theirs"))
    assert [each.kind for each in tx.conflicts()] == [DeltaLakeErrorKind.TABLE_EXISTS]
    with pytest.raises(DeltaLakeError, match="table new exists") as caught:
        tx.commit()
    assert caught.value.outcome == "failed"
    assert (ids(sqlite_url, "old"), ids(sqlite_url, "new")) == ([], [])
    assert not (tmp_path / "new" / "_delta_log").exists()


def test_makers_of_the_same_tables(any_catalog_url: str, tmp_path: Path) -> None:
    """One of them has made them all; none waits in a circle."""
    [shared] = tables(any_catalog_url, tmp_path, "shared")
    names = [f"t{number}" for number in range(4)]
    staged = threading.Barrier(4)

    def made(who: int) -> DeltaLakeErrorKind | None:
        tx = dl.begin(any_catalog_url)
        for name in names[who:] + names[:who]:
            tx.create_table(name, ROWS, location=str(tmp_path / f"{name}.{who}"))
            tx.append(name, rows(who))
        tx.append("shared", rows(who))
        staged.wait(240)
        try:
            tx.commit()
        except DeltaLakeError as error:
            return error.kind
        return None

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(made, range(4)))
    assert sorted(found, key=str) == [*[DeltaLakeErrorKind.TABLE_EXISTS] * 3, None]
    winner = [found.index(None)]
    assert [ids(any_catalog_url, name) for name in (*names, "shared")] == [winner] * 5
    assert shared.refresh().version == 1


@pytest.mark.parametrize("reached", [True, False])
def test_an_answer_that_is_lost(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: bool
) -> None:
    tables(sqlite_url, tmp_path, "old")
    commit = Writer.commit
    lost: list[int] = []

    def losing(self: Writer, statements: Any) -> None:
        if lost:
            commit(self, statements)
            return
        lost.append(1)
        if reached:
            commit(self, statements)
        self.close()
        raise LostConnectionError("the network is gone")

    monkeypatch.setattr(Writer, "commit", losing)
    for repeated in (False, True):
        with dl.begin(sqlite_url, token="once") as tx:
            tx.create_table("new", ROWS, location=str(tmp_path / "new"))
            tx.append("new", rows(1))
            tx.append("old", rows(2))
        assert tx.result is not None
        assert (tx.result.versions, tx.result.repeated) == ({"new": 0, "old": 1}, repeated)
    assert (ids(sqlite_url, "new"), ids(sqlite_url, "old")) == ([1], [2])
    assert deltalake.DeltaTable(str(tmp_path / "new")).to_pyarrow_table()["id"].to_pylist() == [1]
    assert len(data_files(tmp_path)) == 2
    assert lost == [1]


KILLED = """
import os, signal, sys
import deltalakedb as dl
from deltalakedb.catalog.dialects.writer import Writer
from tests.table.test_transaction import ROWS, rows
database, folder, when = sys.argv[1:]
commit = Writer.commit
def killed(self, statements):
    if when == "after":
        commit(self, statements)
    os.kill(os.getpid(), signal.SIGKILL)
Writer.commit = killed
with dl.begin(database) as tx:
    for name in ("one", "two"):
        tx.create_table(name, ROWS, location=f"{folder}/{name}")
        tx.append(name, rows(1))
    tx.append("old", rows(2))
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_the_commit(sqlite_url: str, tmp_path: Path, when: str) -> None:
    tables(sqlite_url, tmp_path, "old")
    before = counts(sqlite_url)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, sqlite_url, str(tmp_path), when], timeout=240, check=False
    )
    assert killed.returncode == -9
    assert not (tmp_path / "one" / "_delta_log").exists()
    if when == "before":
        assert counts(sqlite_url) == before
        with pytest.raises(DeltaLakeError, match="no table one"):
            dl.connect_to_table(uri_of(sqlite_url, "one"))
        # What it has left there is in nobody's way.
        made = dl.create_table(uri_of(sqlite_url, "one"), ROWS, location=str(tmp_path / "one"))
        assert made.to_pyarrow_table().num_rows == 0
        return
    uris = [uri_of(sqlite_url, name) for name in ("one", "two", "old")]
    assert [each.version for each in dl.snapshots(uris, cache=False)] == [0, 0, 1]
    for name in ("one", "two", "old"):
        assert cli("mirror", "drain", name, "--database", sqlite_url).exit_code == 0
        assert deltalake.DeltaTable(str(tmp_path / name)).to_pyarrow_table().num_rows == 1
        assert dl.diff_table(name, database=sqlite_url).parity


def test_what_is_said_to_begin(sqlite_url: str, tmp_path: Path) -> None:
    """Application versions and metadata of the whole are in the commit of each table."""
    tables(sqlite_url, tmp_path, "old")
    said = dl.CommitProperties(
        custom_metadata={"why": "because"}, app_transactions=[dl.AppTransaction("app", 3)]
    )
    for number in (1, 2):
        with dl.begin(sqlite_url, commit_properties=said) as tx:
            if number == 1:
                tx.create_table("new", ROWS, location=str(tmp_path / "new"))
            tx.append("new", rows(number))
            tx.append("old", rows(number))
        assert tx.result is not None
        assert tx.result.repeated is (number == 2)
    assert (ids(sqlite_url, "new"), ids(sqlite_url, "old")) == ([1], [1])
    for name, version in (("new", 0), ("old", 1)):
        lines = commit_of(tmp_path / name, version)
        assert lines[0]["commitInfo"]["why"] == "because"
        [txn] = [line["txn"] for line in lines if "txn" in line]
        assert (txn["appId"], txn["version"]) == ("app", 3)


def test_identity_columns_of_a_new_table(sqlite_url: str, tmp_path: Path) -> None:
    tables(sqlite_url, tmp_path, "old")
    columns = [("n", {"delta.identity.start": 1, "delta.identity.step": 1}), ("id", {})]
    fields = [
        {"name": name, "type": "long", "nullable": True, "metadata": said} for name, said in columns
    ]
    schema = json.dumps({"type": "struct", "fields": fields})
    with dl.begin(sqlite_url) as tx:
        tx.create_table("new", schema, location=f"{tmp_path}/new")
        for number in (5, 6, 7):
            tx.append("new", pa.table({"id": pa.array([number], pa.int64())}))
    table = dl.connect_to_table(uri_of(sqlite_url, "new"), cache=False)
    table.append(pa.table({"id": pa.array([8], pa.int64())}))
    found = table.to_pyarrow_table().sort_by("id")
    assert found["n"].to_pylist() == [1, 2, 3, 4]
