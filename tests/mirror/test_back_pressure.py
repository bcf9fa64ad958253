"""Where the log is slower than the commits, writers wait for it, and none fails."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.storage.local import LocalStore
from deltalakedb.table import transaction

MOST = 4
APPENDS = 24


def test_the_backlog_is_bounded(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = LocalStore.put_if_absent

    def slow(self: LocalStore, name: str, data: bytes) -> bool:
        time.sleep(0.01)
        return put(self, name, data)

    uri, place = f"deltasql://{sqlite_url}?table=t", tmp_path / "t"
    monkeypatch.setattr(transaction, "MAX_UNPUBLISHED", MOST)
    monkeypatch.setattr(LocalStore, "put_if_absent", slow)
    table = dl.create_table(uri, pa.schema([("x", pa.int64())]), location=str(place))
    waited = []
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as watching:
        for number in range(APPENDS):
            done = table.append(pa.table({"x": [number]}), mirror="async")
            assert done.version == number + 1
            [(waiting,)] = watching.execute(
                "SELECT h.head_version - m.published_version FROM dl_heads h "
                "JOIN dl_mirror m ON m.table_key = h.table_key"
            ).fetchall()
            waited.append(waiting)
    assert max(waited) <= MOST
    table.create_checkpoint()  # which has all in the log first
    table.close()
    rows = deltalake.DeltaTable(str(place)).to_pyarrow_table()["x"].to_pylist()
    assert sorted(rows) == list(range(APPENDS))
