"""Files of writes that take long: spared by vacuum, taken from who was silent, synced if asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.storage.local import LocalStore
from deltalakedb.table.operations import registration
from deltalakedb.uri import parse_database

SCHEMA = pa.schema([("x", pa.int64())])
SMALL_GROUPS = deltalake.WriterProperties(max_row_group_size=1)


def stream(between: Callable[[], None]) -> pa.RecordBatchReader:
    """Two batches; `between` runs when the file of the first is begun."""

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch([pa.array([1])], SCHEMA)
        between()
        yield pa.record_batch([pa.array([2])], SCHEMA)

    return pa.RecordBatchReader.from_batches(SCHEMA, batches())


def staged(database: str, sql: str = "SELECT path, reaped FROM dl_staged_files") -> list[Any]:
    with writing(parse_database(database)) as writer:
        if sql.startswith("SELECT"):
            return writer.select(Statement(sql))
        writer.transact([Statement(sql)])
        return []


def vacuum(table: dl.Table) -> list[str]:
    time.sleep(0.01)
    return table.vacuum(
        retention_hours=0, enforce_retention_duration=False, full=True, dry_run=False
    )


def test_vacuum_spares_who_writes_and_takes_from_who_was_silent(
    any_catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "LATENT_SECONDS", 0.0)
    uri, place = f"deltasql://{any_catalog_url}?table=t", tmp_path / "t"
    table = dl.create_table(uri, SCHEMA, location=str(place))
    taken: list[str] = []

    def at_work() -> None:
        [(path, _)] = staged(any_catalog_url)
        assert (place / path).exists()
        assert vacuum(table) == []

    def silent() -> None:
        staged(any_catalog_url, "UPDATE dl_staged_files SET expires_at = 0")
        taken.extend(vacuum(table))

    table.append(stream(at_work), writer_properties=SMALL_GROUPS)
    assert staged(any_catalog_url) == []
    with pytest.raises(DeltaLakeError, match="taken by a vacuum") as caught:
        table.append(stream(silent), writer_properties=SMALL_GROUPS)
    assert caught.value.kind is DeltaLakeErrorKind.CONCURRENCY_ERROR
    assert caught.value.outcome == "failed"
    assert len(taken) == 1
    assert staged(any_catalog_url) == []
    assert deltalake.DeltaTable(str(place)).to_pyarrow_table().num_rows == 2


def test_a_short_write_asks_nothing_and_a_dead_ones_files_need_no_listing(
    sqlite_url: str, tmp_path: Path
) -> None:
    uri, place = f"deltasql://{sqlite_url}?table=t", tmp_path / "t"
    table = dl.create_table(uri, SCHEMA, location=str(place))
    seen: list[Any] = []
    table.append(stream(lambda: seen.extend(staged(sqlite_url))), writer_properties=SMALL_GROUPS)
    assert seen == []
    (place / "left.parquet").write_bytes(b"x")
    columns = "token, position, table_key, root, path, registered_at, expires_at, reaped"
    staged(
        sqlite_url,
        f"INSERT INTO dl_staged_files ({columns}) SELECT 'dead', 0, NULL, location, "
        "'left.parquet', 0, 0, FALSE FROM dl_tables",
    )
    assert table.vacuum() == ["left.parquet"]
    assert table.vacuum(dry_run=False) == ["left.parquet"]
    assert not (place / "left.parquet").exists()
    assert staged(sqlite_url) == []


def test_synced_files_are_durable_before_the_commit(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, place = f"deltasql://{sqlite_url}?table=t", tmp_path / "t"
    configuration = {"deltalakedb.durability": "synced"}
    synced: list[tuple[int, str]] = []
    sync = LocalStore.sync

    def seen(self: LocalStore, names: Any) -> None:
        if self.spec.url == str(place):
            found = staged(sqlite_url, "SELECT max(head_version) FROM dl_heads")
            synced.extend((found[0][0], name) for name in names)
        sync(self, names)

    monkeypatch.setattr(LocalStore, "sync", seen)
    rows = pa.table({"x": [1]})
    dl.write_deltalake(uri, rows, location=str(place), configuration=configuration)
    dl.write_deltalake(uri, rows, mode="append")
    assert [version for version, _ in synced] == [None, 0]
    assert {name for _, name in synced} == {path.name for path in place.glob("*.parquet")}
    dl.write_deltalake(uri, rows, mode="append", durability="default")
    assert len(synced) == 2
    dl.connect_to_table(uri).delete("x = 1")
    assert len(synced) == 2
