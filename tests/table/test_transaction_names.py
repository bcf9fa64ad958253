"""Tables that a transaction renames and drops, beside what else it does: all of it or nothing."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import deltalake
import pytest
import sqlalchemy as sa

import deltalakedb as dl
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.dialects.writer import LostConnectionError, Writer
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from tests.table.test_transaction import ROWS, data_files, ids, rows, tables, uri_of
from tests.table.test_transaction_create import counts


def names(database: str) -> set[str]:
    with Catalog(database) as catalog, catalog.read() as connection:
        return set(connection.scalars(sa.text("SELECT name FROM dl_tables")))


def test_a_table_takes_anothers_place(any_catalog_url: str, tmp_path: Path) -> None:
    """Names are exchanged, one goes, and one comes under a name that became free."""
    for name, table in zip("abc", tables(any_catalog_url, tmp_path, "a", "b", "c"), strict=True):
        table.append(rows(ord(name)), mirror="async")
        table.close()
    with dl.begin(any_catalog_url) as tx:
        tx.append("a", rows(1))
        tx.append("c", rows(3))
        tx.rename_table("a", "shop.old")
        tx.rename_table("b", "a")
        tx.append("a", rows(2))
        tx.drop_table("c")
        tx.create_table("b", ROWS, location=str(tmp_path / "new"))
        tx.append("b", rows(4))
        assert tx.snapshot("shop.old").count_rows() == 2
        assert tx.snapshot(uri_of(any_catalog_url, "a")).count_rows() == 2
        for name in ("c", "old.a"):
            with pytest.raises(DeltaLakeError, match="no table"):
                tx.append(name, rows(9))
        assert tx.conflicts() == []
        assert names(any_catalog_url) == {"a", "b", "c"}
        assert ids(any_catalog_url, "a") == [97]
    assert tx.result is not None
    assert tx.result.versions == {"shop.old": 2, "a": 2, "b": 0}
    assert {name: ids(any_catalog_url, name) for name in ("shop.old", "a", "b")} == {
        "shop.old": [1, 97],
        "a": [2, 98],
        "b": [4],
    }
    assert names(any_catalog_url) == {"old", "a", "b"}
    # Log and data of the one that went have what was acknowledged, and nothing of what was staged.
    assert deltalake.DeltaTable(str(tmp_path / "c")).to_pyarrow_table()["id"].to_pylist() == [99]
    assert len(data_files(tmp_path / "c")) == 1
    for name in ("shop.old", "a", "b"):
        assert dl.diff_table(name, database=any_catalog_url).parity


def test_nothing_of_it_on_a_rollback(sqlite_url: str, tmp_path: Path) -> None:
    [a, b] = tables(sqlite_url, tmp_path, "a", "b")
    a.append(rows(1))
    before = counts(sqlite_url)
    tx = dl.begin(sqlite_url, isolation="Serializable")
    assert tx.snapshot("b").count_rows() == 0
    tx.drop_table("b")
    tx.rename_table("a", "c")
    tx.append("c", rows(2))
    for again in ("rename", "drop"):
        with pytest.raises(DeltaLakeError, match="no table") as caught:
            tx.rename_table("b", "d") if again == "rename" else tx.drop_table("a")
        assert caught.value.kind is DeltaLakeErrorKind.TABLE_NOT_FOUND
    b.append(rows(5))
    found = counts(sqlite_url)
    with pytest.raises(DeltaLakeError) as caught:
        tx.commit()
    # What was read of the one that goes has changed.
    assert caught.value.kind is DeltaLakeErrorKind.CONCURRENCY_ERROR
    assert counts(sqlite_url) == found == [*before[:5], before[5] + 1]
    assert (names(sqlite_url), ids(sqlite_url, "a")) == ({"a", "b"}, [1])
    assert len(data_files(tmp_path / "a")) == 1
    for each in (a, b):
        each.close()


def test_refusals(sqlite_url: str, tmp_path: Path) -> None:
    for table in tables(sqlite_url, tmp_path, "a", "b"):
        table.close()
    tx = dl.begin(sqlite_url)
    tx.create_table("mine", ROWS, location=str(tmp_path / "mine"))
    for name in ("b", "mine"):
        with pytest.raises(DeltaLakeError) as caught:
            tx.rename_table("a", name)
        assert caught.value.kind is DeltaLakeErrorKind.TABLE_EXISTS
    with pytest.raises(DeltaLakeError, match="don't come back with a rollback") as caught:
        tx.drop_table("a", purge=True)
    assert caught.value.kind is DeltaLakeErrorKind.UNSUPPORTED_FEATURE
    # A table of its own may have other names, and go, before it is there.
    tx.append("mine", rows(1))
    tx.rename_table("mine", "shop.ours")
    assert tx.snapshot("shop.ours").count_rows() == 1
    tx.drop_table("shop.ours")
    assert data_files(tmp_path / "mine") == []
    tx.rename_table("a", "taken")
    with closing(dl.create_table(uri_of(sqlite_url, "taken"), ROWS, location=f"{tmp_path}/t")):
        pass
    assert [each.kind for each in tx.conflicts()] == [DeltaLakeErrorKind.TABLE_EXISTS]
    with pytest.raises(DeltaLakeError, match="table taken exists") as caught:
        tx.commit()
    assert caught.value.outcome == "failed"
    assert names(sqlite_url) == {"a", "b", "taken"}
    # One that is gone by the commit.
    tx = dl.begin(sqlite_url)
    tx.rename_table("a", "other")
    dl.drop_table("a", database=sqlite_url)
    with pytest.raises(DeltaLakeError, match="was dropped meanwhile"):
        tx.commit()


@pytest.mark.parametrize("reached", [False, True])
def test_an_answer_that_is_lost(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: bool
) -> None:
    """Nothing but names: no version has the token of the commit."""
    for table in tables(sqlite_url, tmp_path, "a", "b"):
        table.close()
    commit, lost = Writer.commit, list[int]()

    def losing(self: Writer, statements: Any) -> None:
        if lost:
            commit(self, statements)
            return
        lost.append(1)
        if reached:
            commit(self, statements)
        self.close()
        raise LostConnectionError("the network is gone")

    for change in ("rename", "drop"):
        lost.clear()
        with monkeypatch.context() as patched:
            patched.setattr(Writer, "commit", losing)
            with dl.begin(sqlite_url) as tx:
                if change == "rename":
                    tx.rename_table("a", "c")
                else:
                    tx.drop_table("b")
        assert tx.result is not None
        assert (tx.result.versions, lost) == ({}, [1])
    assert names(sqlite_url) == {"c"}


KILLED = """
import os, signal, sys
import deltalakedb as dl
from deltalakedb.catalog.dialects.writer import Writer
from tests.table.test_transaction import rows
commit = Writer.commit
def killed(self, statements):
    commit(self, statements)
    os.kill(os.getpid(), signal.SIGKILL)
Writer.commit = killed
with dl.begin(sys.argv[1]) as tx:
    tx.drop_table("a")
    tx.rename_table("b", "a")
    tx.append("a", rows(2))
"""


def test_killed_after_the_commit(sqlite_url: str, tmp_path: Path) -> None:
    for number, table in enumerate(tables(sqlite_url, tmp_path, "a", "b")):
        table.append(rows(number))
        table.close()
    command = [sys.executable, "-c", KILLED, sqlite_url]
    assert subprocess.run(command, timeout=240, check=False).returncode == -9
    assert (names(sqlite_url), ids(sqlite_url, "a")) == ({"a"}, [1, 2])
    assert deltalake.DeltaTable(str(tmp_path / "a")).to_pyarrow_table()["id"].to_pylist() == [0]
