"""Checkpoints of tables that are written through SQL, as delta-rs and our own import read them."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.mirror import checkpoint, publish, tend
from deltalakedb.mirror.sidecars import file_rows
from tests.faults.told import wait_until


@pytest.mark.parametrize("policy", ["classic", "v2"])
def test_a_checkpoint_stands_for_the_commits_before_it(
    catalog_url: str, tmp_path: Path, policy: str
) -> None:
    place = tmp_path / "t"
    uri = f"deltasql://{catalog_url}?table=t"
    schema = pa.schema([("p", pa.string()), ("x", pa.int64()), ("s", pa.string())])
    table = dl.create_table(
        uri,
        schema,
        location=str(place),
        partition_by="p",
        properties={"delta.checkpointPolicy": policy},
    )
    rows = pa.table({"p": ["a", "b", None], "x": [1, None, 3], "s": ["ü", "", "z" * 50]})
    mine = dl.CommitProperties(app_transactions=[dl.AppTransaction("app", 1)])
    table.append(rows, commit_properties=mine)
    table.overwrite(pa.table({"p": ["a"], "x": [9], "s": ["y"]}), partition_overwrite="dynamic")
    name = table.create_checkpoint()
    log = place / "_delta_log"
    assert name is not None
    assert (log / name).exists()
    hint = json.loads((log / "_last_checkpoint").read_text())
    assert hint["version"] == 2
    assert ("v2Checkpoint" in hint) == (policy == "v2")
    checksum = json.loads((log / f"{2:020d}.crc").read_text())
    assert checksum["numFiles"] == 3
    assert checksum["setTransactions"][0]["appId"] == "app"
    wait_until(lambda: not list(log.glob(".dl-put-*")))  # another of the tender may be on its way
    for version in (0, 1):
        (log / f"{version:020d}.json").unlink()
    seen = deltalake.DeltaTable(str(place))
    expected = sorted(table.to_pyarrow_table().to_pylist(), key=str)
    assert len(seen.file_uris()) == 3
    if policy == "classic":
        # delta-rs's reader over pyarrow refuses V2 checkpoints, which its log reader knows.
        assert sorted(seen.to_pyarrow_table().to_pylist(), key=str) == expected
    assert seen.transaction_version("app") == 1
    dl.import_table(log_dir=str(place), database=str(tmp_path / "again.sqlite"), table_name="t")
    again = dl.connect_to_table(f"deltasql://sqlite:///{tmp_path}/again.sqlite?table=t")
    assert sorted(again.to_pyarrow_table().to_pylist(), key=str) == expected


@pytest.mark.parametrize("policy", ["classic", "v2"])
def test_rows_that_were_lost_in_the_catalog_are_not_lost_in_the_log(
    sqlite_url: str, tmp_path: Path, policy: str
) -> None:
    table = dl.create_table(
        f"deltasql://{sqlite_url}?table=t",
        pa.schema([("x", pa.int64())]),
        location=str(tmp_path / "t"),
        properties={"delta.checkpointPolicy": policy},
    )
    none_by_itself = SimpleNamespace(create_checkpoint=False, cleanup_expired_logs=False)
    for number in range(2):
        rows = pa.table({"x": [number]})
        table.append(rows, post_commithook_properties=none_by_itself)
    table.close()
    with dl.SqlConnection(dl.SqlConfig(connection_string=sqlite_url)) as catalog:
        catalog.execute("DELETE FROM dl_files_heap WHERE added_version = 1")
    damaged = dl.connect_to_table(f"deltasql://{sqlite_url}?table=t")
    with pytest.raises(dl.DeltaLakeError, match="--rebuild"):
        damaged.create_checkpoint()
    damaged.close()
    assert not list((tmp_path / "t" / "_delta_log").glob("*.checkpoint*"))
    assert len(deltalake.DeltaTable(str(tmp_path / "t")).file_uris()) == 2


@pytest.mark.parametrize("policy", ["classic", "v2"])
def test_a_checkpoint_that_fails_on_its_way_leaves_none(
    sqlite_url: str, tmp_path: Path, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = dl.create_table(
        f"deltasql://{sqlite_url}?table=t",
        pa.schema([("x", pa.int64())]),
        location=str(tmp_path / "t"),
        properties={"delta.checkpointPolicy": policy},
    )
    none_by_itself = SimpleNamespace(create_checkpoint=False, cleanup_expired_logs=False)
    table.append(pa.table({"x": [1]}), post_commithook_properties=none_by_itself)

    def broken(catalog: Any, row: Any, where: str) -> Iterator[pa.Table]:
        yield from file_rows(catalog, row, where)
        raise ConnectionError("the database is gone")

    with monkeypatch.context() as during:
        during.setattr(checkpoint, "file_rows", broken)
        with pytest.raises(ConnectionError):
            table.create_checkpoint()
        gc.collect()
        found = [each for each in (tmp_path / "t/_delta_log").rglob("*") if each.is_file()]
        assert {each.suffix for each in found} == {".json"}
    assert table.create_checkpoint()
    table.close()


def test_who_asks_for_a_checkpoint_gets_one_and_who_asks_what_is_due_none(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = dl.create_table(
        f"deltasql://{sqlite_url}?table=t",
        pa.schema([("x", pa.int64())]),
        location=str(tmp_path / "t"),
        properties={"delta.checkpointInterval": "1"},
    )
    none_by_itself = SimpleNamespace(create_checkpoint=False, cleanup_expired_logs=False)
    for number in range(3):
        rows = pa.table({"x": [number]})
        table.append(rows, post_commithook_properties=none_by_itself)
    made: list[str | None] = []
    make = checkpoint.checkpoint_now
    monkeypatch.setattr(
        checkpoint, "checkpoint_now", lambda *args, **kw: made.append(make(*args, **kw))
    )
    table.maintain(dry_run=True)
    assert made == []
    table.create_checkpoint()
    assert made == [f"{3:020d}.checkpoint.parquet"]


def test_checkpoints_come_by_themselves(sqlite_url: str, tmp_path: Path) -> None:
    place = tmp_path / "t"
    uri = f"deltasql://{sqlite_url}?table=t"
    table = dl.create_table(
        uri,
        pa.schema([("x", pa.int64())]),
        location=str(place),
        properties={"delta.checkpointInterval": "3"},
    )
    for number in range(7):
        table.append(pa.table({"x": [number]}))
    row = table._head.row
    log = publish.log_of(row, None)
    tend.tend_now(table._catalog.reader.url, row, log)
    found = list((place / "_delta_log").glob("*.checkpoint.parquet"))
    # Fewer than one in three: those that come at once are made as one.
    assert 1 <= len(found) <= 2
    assert deltalake.DeltaTable(str(place)).version() == 7
    assert dl.diff_table("t", database=sqlite_url).parity
