"""What may happen to a log, or to the catalog beside it: found again, or refused by name."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import deltalake
import pyarrow as pa
import pytest

import deltalakedb as dl
from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.mirror import publish, tend
from deltalakedb.uri import parse_database
from tests.cli.commands import dl as cli

SCHEMA = pa.schema([("x", pa.int64())])


def rows(*numbers: int) -> pa.Table:
    return pa.table({"x": list(numbers)})


def numbers(place: Path) -> list[int]:
    return sorted(deltalake.DeltaTable(str(place)).to_pyarrow_table()["x"].to_pylist())


def tended(table: dl.Table) -> tend.Tending:
    row = table.refresh()._head.row
    return tend.tend_now(table._catalog.reader.url, row, publish.log_of(row, None))


@pytest.mark.parametrize("torn", [False, True])
def test_files_that_were_not_synced_are_dropped(
    catalog_url: str, tmp_path: Path, torn: bool
) -> None:
    """A power failure: of what isn't recorded as durable nothing is left, or a part of a file."""
    place = tmp_path / "t"
    uri = f"deltasql://{catalog_url}?table=t"
    table = dl.create_table(uri, SCHEMA, location=str(place))
    tended(table)
    with writing(parse_database(catalog_url)) as writer:
        # Another looks after the log, and dies with the machine before it has synced anything.
        elsewhere = "UPDATE dl_leases SET holder = 'elsewhere', token = 'x', expires_at = "
        writer.transact([Statement(elsewhere + f"{writer.now} + 60000", (), rows=1)])
        for number in range(1, 6):
            assert table.append(rows(number)).published
        [(durable,)] = writer.select(Statement("SELECT durable_version FROM dl_mirror"))
        assert durable == 0
        log = place / "_delta_log"
        for number in range(1, 6):
            file = log / f"{number:020d}.json"
            data = file.read_bytes()
            file.unlink()
            if torn and number != 3:
                file.write_bytes(data[: len(data) * (number - 1) // 6])
        writer.transact([Statement("UPDATE dl_leases SET expires_at = 0", (), rows=1)])
    assert cli("mirror", "drain", "t", "--database", catalog_url).exit_code == 0
    assert numbers(place) == [1, 2, 3, 4, 5]
    assert dl.diff_table("t", database=catalog_url).parity


def test_a_catalog_restored_beside_a_log_that_was_cleaned(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slot after the catalog's head is free, below a checkpoint: that proves nothing."""
    monkeypatch.setenv("DL_CACHE_DIR", str(tmp_path / "cache"))
    uri, place = f"deltasql://{sqlite_url}?table=t", tmp_path / "t"
    kept = {"delta.logRetentionDuration": "interval 0 seconds"}
    table = dl.create_table(uri, SCHEMA, location=str(place), properties=kept)
    table.append(rows(1))
    tended(table)
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    backup = tmp_path / "backup.sqlite"
    with sqlite3.connect(file) as source, sqlite3.connect(backup) as copy:
        source.backup(copy)
    for number in range(2, 6):
        table.append(rows(number))
        # Read through the cache, which stays.
        assert dl.connect_to_table(uri).count() == number
    tended(table)
    table.create_checkpoint()
    table.cleanup_metadata()
    log = place / "_delta_log"
    for version in range(5):
        # As a cleaner does that keeps whole days.
        (log / f"{version:020d}.json").unlink(missing_ok=True)
    table.close()
    for ending in ("", "-wal", "-shm"):
        Path(f"{file}{ending}").unlink(missing_ok=True)
    backup.rename(file)
    again = dl.connect_to_table(uri)
    assert (again.version, again.count()) == (1, 1)
    with pytest.raises(DeltaLakeError, match="restored") as caught:
        again.append(rows(9))
    assert caught.value.kind is DeltaLakeErrorKind.MIRROR_CONFLICT
    assert not (log / f"{2:020d}.json").exists()
    assert numbers(place) == [1, 2, 3, 4, 5]
    # The way out: the log decides, and the catalog is made anew from it.
    again.set_authority("log")
    dl.import_table(log_dir=str(place), database=sqlite_url, table_name="t", rebuild=True)
    last = dl.connect_to_table(uri)
    assert last.append(rows(9)).version == 6
    assert sorted(last.to_pyarrow_table()["x"].to_pylist()) == [1, 2, 3, 4, 5, 9]
    assert numbers(place) == [1, 2, 3, 4, 5, 9]
