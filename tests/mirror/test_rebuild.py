"""A log that was lost, written anew from the catalog."""

from __future__ import annotations

import shutil
from pathlib import Path

import deltalake
import pyarrow as pa

import deltalakedb as dl
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.catalog.reading import queries
from deltalakedb.mirror import tend
from deltalakedb.uri import parse_database
from tests.cli.commands import dl as run
from tests.cli.commands import error_of


def rows_of(place: Path, version: int | None = None) -> list[int]:
    found = deltalake.DeltaTable(str(place), version=version).to_pyarrow_table()
    return sorted(found.column("x").to_pylist())


def drained(database: str) -> None:
    """Whoever tends the log is done with its commits, so that their bytes are nowhere else."""
    run("mirror", "drain", "t", "--database", database)
    with Catalog(database) as catalog:
        tend.forget(catalog.reader.url, queries.find_table(catalog, "t"))


def test_a_lost_log_is_written_anew(any_catalog_url: str, tmp_path: Path) -> None:
    uri, place = f"deltasql://{any_catalog_url}?table=t", tmp_path / "t"
    dl.write_deltalake(uri, pa.table({"x": [1]}), location=str(place))
    table = dl.connect_to_table(uri)
    table.append(pa.table({"x": [2]}))
    arguments = ("mirror", "rebuild", "t", "--database", any_catalog_url)
    assert "has a log" in error_of(*arguments)
    drained(any_catalog_url)
    shutil.rmtree(place / "_delta_log")
    # Nothing waits, and still it is looked whether what was there is.
    lost = error_of("mirror", "drain", "t", "--database", any_catalog_url)
    assert "`dl mirror rebuild t` writes it anew" in lost
    assert "checkpoint of version 1; version 2 records" in run(*arguments).stdout
    assert rows_of(place) == [1, 2]
    assert rows_of(place, 1) == [1, 2]
    assert "has a log" in error_of(*arguments)
    # It goes on as before, here and there; older versions are the catalog's alone.
    assert table.append(pa.table({"x": [3]})).version == 3
    assert rows_of(place) == [1, 2, 3]
    before = dl.connect_to_table(uri).snapshot(version=0).to_pyarrow_table()
    assert before.column("x").to_pylist() == [1]
    run("diff", "--table-id", table.table_id, "--database", any_catalog_url, "--log-dir", place)


def test_commits_that_the_catalog_has_are_in_the_new_log(sqlite_url: str, tmp_path: Path) -> None:
    uri, place = f"deltasql://{sqlite_url}?table=t", tmp_path / "t"
    dl.write_deltalake(uri, pa.table({"x": [1]}), location=str(place))
    drained(sqlite_url)
    shutil.rmtree(place / "_delta_log")
    table = dl.connect_to_table(uri)
    # Another process tends the log for a moment, so that nobody publishes.
    with writing(parse_database(sqlite_url)) as writer:
        writer.transact(
            [
                Statement(
                    "UPDATE dl_leases SET holder = 'elsewhere 1', token = 'x', "
                    f"expires_at = {writer.now} + 1000"
                )
            ]
        )
    assert not table.append(pa.table({"x": [2]}), mirror="async").published
    said = run("mirror", "rebuild", "t", "--database", sqlite_url).stdout
    assert "checkpoint of version 0; version 2 records" in said
    assert (place / "_delta_log" / f"{1:020d}.json").exists()
    assert rows_of(place, 0) == [1]
    assert rows_of(place) == [1, 2]


def test_writers_that_go_on_after_the_loss_are_no_obstacle(sqlite_url: str, tmp_path: Path) -> None:
    uri, place = f"deltasql://{sqlite_url}?table=t", tmp_path / "t"
    dl.write_deltalake(uri, pa.table({"x": [1]}), location=str(place))
    table = dl.connect_to_table(uri)
    table.append(pa.table({"x": [2]}))
    drained(sqlite_url)
    shutil.rmtree(place / "_delta_log")
    arguments = ("t", "--database", sqlite_url)
    assert "`dl mirror rebuild t` writes it anew" in error_of("mirror", "repair", *arguments)
    # A log that begins with version 2 is none.
    assert table.append(pa.table({"x": [3]})).version == 2
    assert "`dl mirror rebuild t` writes it anew" in error_of("mirror", "drain", *arguments)
    assert "`dl mirror rebuild t` writes it anew" in error_of("mirror", "repair", *arguments)
    name = place / "_delta_log" / f"{2:020d}.json"
    ours = name.read_bytes()
    name.write_bytes(ours.replace(b"WRITE", b"WROTE"))
    assert "isn't version 2 of t in the catalog" in error_of("mirror", "rebuild", *arguments)
    name.write_bytes(ours)
    assert "version 3 records" in run("mirror", "rebuild", *arguments).stdout
    assert rows_of(place) == rows_of(place, 2) == [1, 2, 3]
    assert table.append(pa.table({"x": [4]})).version == 4
    assert rows_of(place) == [1, 2, 3, 4]
    assert "nothing was missing" in run("mirror", "repair", *arguments).stdout
    run("diff", "--table-id", table.table_id, "--database", sqlite_url, "--log-dir", place)


def test_a_log_whose_last_commit_is_lost(sqlite_url: str, tmp_path: Path) -> None:
    uri, place = f"deltasql://{sqlite_url}?table=t", tmp_path / "t"
    dl.write_deltalake(uri, pa.table({"x": [1]}), location=str(place))
    dl.write_deltalake(uri, pa.table({"x": [2]}), mode="append")
    drained(sqlite_url)
    for left in (place / "_delta_log").glob(f"{1:020d}*"):
        left.unlink()
    (place / "_delta_log" / "_last_checkpoint").unlink(missing_ok=True)
    arguments = ("t", "--database", sqlite_url)
    assert "it ends at version 0, and 1 was in it" in error_of("mirror", "repair", *arguments)
    run("mirror", "rebuild", *arguments)
    assert rows_of(place) == [1, 2]
    assert rows_of(place, 0) == [1]
