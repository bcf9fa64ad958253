"""Tables dropped, renamed and moved, while others read them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest
import sqlalchemy as sa

import deltalakedb
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.commit_tables import commits, properties
from deltalakedb.catalog.dialects import dialect_of
from deltalakedb.catalog.dialects.writer import Statement
from deltalakedb.catalog.dialects.writers import writing
from deltalakedb.catalog.loads.swap import location_lease
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing import load as importing_load
from deltalakedb.importing.run import import_table
from deltalakedb.mirror import tend
from deltalakedb.uri import parse_database
from tests.cli.commands import dl, dl_lines, error_of, process
from tests.migrate.catalogs import content, engine, everything, left_over, table_row
from tests.table.opening import NAME, GrowingTable, add, first_actions, open_table


@pytest.fixture
def catalog(any_catalog_url: str) -> str:
    return any_catalog_url


def made(folder: Path, database: str, *, mode: str = "full-history") -> GrowingTable:
    table = GrowingTable(folder, database)
    table.commit(*first_actions(), add("a"))
    table.commit(add("b"), add("c", "2024-05-02"))
    table.commit({"txn": {"appId": "etl", "version": 7}})
    table.imported(mode=mode)
    return table


def raised(kind: DeltaLakeErrorKind, says: str) -> pytest.RaisesExc[DeltaLakeError]:
    return pytest.raises(DeltaLakeError, match=says, check=lambda e: e.kind is kind)


def log_of(table: GrowingTable) -> dict[str, tuple[bytes, int]]:
    return {
        str(p): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in sorted(table.folder.rglob("*"))
        if p.is_file()
    }


def test_a_dropped_table_is_gone_and_its_name_free(tmp_path: Path, catalog: str) -> None:
    table = made(tmp_path / "1", catalog)
    held = table.open()
    snapshot = held.snapshot()
    files, before = log_of(table), held.table_id
    dropped = deltalakedb.drop_table(NAME, database=catalog)
    assert (dropped.name, dropped.table_id) == (NAME, before)
    assert dropped.rows_removed
    assert log_of(table) == files
    assert left_over(catalog) == {}
    for ask in (held.refresh, held.history, snapshot.plan, table.open):
        with raised(DeltaLakeErrorKind.TABLE_NOT_FOUND, NAME):
            ask()
    # Another table may have the name, and is no newer version of the one that was dropped.
    other = made(tmp_path / "2", catalog)
    assert other.open().version == 2
    with raised(DeltaLakeErrorKind.TABLE_NOT_FOUND, NAME):
        held.snapshot()


def test_a_dropped_table_comes_back_as_it_was(tmp_path: Path, catalog: str) -> None:
    table = made(tmp_path, catalog)
    before = content(catalog, NAME)
    dropped = deltalakedb.drop_table(NAME, database=catalog)
    table.imported(table_id=dropped.table_id)
    assert content(catalog, NAME) == before
    assert table.open().table_id == dropped.table_id


def test_rows_that_somebody_reads_are_left_to_the_collection(
    tmp_path: Path, pg_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing_load, "HEAP_ROWS", -1)  # as a large table: one of its own
    made(tmp_path, pg_database)
    load = table_row(pg_database, NAME)["live_load"]
    with engine(pg_database).connect() as reader:
        reader.execute(sa.text(f"SELECT * FROM dl_files WHERE load_id = {load}")).fetchall()
        said = dl("drop", NAME, "--database", pg_database)
        assert "dl gc" in said.stderr
        assert left_over(pg_database)
    dl("gc", "--database", pg_database)
    assert left_over(pg_database) == {}


def test_a_table_that_is_being_imported_is_not_dropped(tmp_path: Path, catalog: str) -> None:
    table = made(tmp_path, catalog)
    before = everything(catalog)
    with Catalog(catalog) as other:
        lease = location_lease(other, str(table.folder))
        try:
            with raised(DeltaLakeErrorKind.CONCURRENCY_ERROR, "import"):
                deltalakedb.drop_table(NAME, database=catalog)
        finally:
            lease.release()
    assert everything(catalog) == before


def test_a_renamed_table_goes_on_for_whoever_has_it_open(tmp_path: Path, catalog: str) -> None:
    table = made(tmp_path, catalog)
    held = table.open()
    snapshot = held.snapshot(1)
    moved = deltalakedb.rename_table(NAME, "shop.sales.orders", database=catalog)
    assert (moved.name, moved.table_id) == ("shop.sales.orders", held.table_id)
    assert snapshot.plan().num_rows == 3
    table.commit(add("d"))
    table.imported()
    assert held.refresh().version == 3
    assert held.name == "shop.sales.orders"
    again = deltalakedb.connect_to_table(held.uri, cache=False)
    assert again.table_id == held.table_id
    with raised(DeltaLakeErrorKind.TABLE_NOT_FOUND, NAME):
        table.open()


def test_a_name_that_is_taken_stays_taken(tmp_path: Path, catalog: str) -> None:
    """However its dots are split into namespace and name: both are told by their full name."""
    made(tmp_path / "1", catalog)
    deltalakedb.rename_table(NAME, "shop.eu.sales", database=catalog)
    made(tmp_path / "2", catalog)
    folder = tmp_path / "eu.sales"
    shutil.copytree(tmp_path / "1" / NAME, folder)
    before = everything(catalog)
    with raised(DeltaLakeErrorKind.TABLE_EXISTS, "taken"):
        deltalakedb.rename_table(NAME, "shop.eu.sales", database=catalog)
    with raised(DeltaLakeErrorKind.TABLE_EXISTS, "--table-name"):
        import_table(str(folder), database=catalog, table_name=NAME)
    assert everything(catalog) == before
    import_table(str(folder), database=catalog)
    with raised(DeltaLakeErrorKind.TABLE_EXISTS, "taken"):
        deltalakedb.rename_table(NAME, "eu.sales", database=catalog)


@pytest.mark.parametrize("mode", ["fast", "full-history"])
def test_a_table_is_followed_to_its_new_place(tmp_path: Path, sqlite_url: str, mode: str) -> None:
    table = made(tmp_path / "here", sqlite_url, mode=mode)
    held = table.open()
    new = tmp_path / "there" / "orders"
    shutil.copytree(table.folder, new, copy_function=shutil.copy)  # with new times
    shutil.rmtree(table.folder)
    moved = deltalakedb.relocate_table(NAME, database=sqlite_url, table_location=str(new))
    assert (moved.location, moved.log_location) == (str(new), f"{new}/_delta_log")
    assert held.refresh().location == str(new)
    assert held.table_id == moved.table_id
    again = import_table(str(new), database=sqlite_url)
    assert (again.status, again.table_id) == ("unchanged", moved.table_id)


def test_a_log_that_moves_alone_leaves_the_data_where_it_is(
    tmp_path: Path, sqlite_url: str
) -> None:
    table = made(tmp_path / "here", sqlite_url)
    logs = tmp_path / "logs" / "_delta_log"
    shutil.copytree(table.folder / "_delta_log", logs)
    moved = deltalakedb.relocate_table(
        NAME, database=sqlite_url, log_dir=str(logs), table_location=str(table.folder)
    )
    assert (moved.location, moved.log_location) == (str(table.folder), str(logs))
    # From now on the two are apart, so that one moves without the other.
    moved = deltalakedb.relocate_table(NAME, database=sqlite_url, table_location="/data/sales")
    assert (moved.location, moved.log_location) == ("/data/sales", str(logs))
    shutil.copytree(logs, tmp_path / "more")
    moved = deltalakedb.relocate_table(NAME, database=sqlite_url, log_dir=str(tmp_path / "more"))
    assert (moved.location, moved.log_location) == ("/data/sales", str(tmp_path / "more"))


def test_another_log_is_not_followed(tmp_path: Path, sqlite_url: str) -> None:
    table = made(tmp_path / "here", sqlite_url)
    new = tmp_path / "there"

    def copied(*versions: int) -> Path:
        shutil.rmtree(new, ignore_errors=True)
        (new / "_delta_log").mkdir(parents=True)
        for version in versions:
            name = f"_delta_log/{version:020d}.json"
            shutil.copy2(table.folder / name, new / name)
        return new

    def refused(says: str, where: Path | str = new) -> None:
        before = everything(sqlite_url)
        with raised(DeltaLakeErrorKind.LOG_DISAGREES, says):
            deltalakedb.relocate_table(NAME, database=sqlite_url, log_dir=str(where))
        assert everything(sqlite_url) == before

    copied(0, 1)
    refused("commit 2 isn't there")
    copied(0, 2)
    refused("commit 1 isn't there")
    commit = copied(0, 1, 2) / "_delta_log" / f"{1:020d}.json"
    status = commit.stat()
    commit.write_bytes(commit.read_bytes().replace(b"/b.parquet", b"/z.parquet"))
    os.utime(commit, ns=(status.st_atime_ns, status.st_mtime_ns))  # as long, and as old
    refused("commit 1 is another one")
    copied(0, 1, 2)
    longer = made(tmp_path / "longer", f"sqlite:///{tmp_path}/other.sqlite")
    longer.commit(add("e"))
    moved = deltalakedb.relocate_table(NAME, database=sqlite_url, log_dir=str(longer.folder))
    assert moved.location == str(longer.folder)
    assert import_table(str(longer.folder), database=sqlite_url).status == "caught_up"


def test_a_log_that_tells_nothing_is_not_followed(tmp_path: Path, sqlite_url: str) -> None:
    """After log cleanup a checkpoint alone is left, which could be any table's."""
    from deltalake import DeltaTable

    table = made(tmp_path / "here", sqlite_url)
    new = tmp_path / "there"
    shutil.copytree(table.folder, new)
    DeltaTable(new).create_checkpoint()
    for commit in (new / "_delta_log").glob("*.json"):
        commit.unlink()
    with raised(DeltaLakeErrorKind.LOG_DISAGREES, "shares no commit"):
        deltalakedb.relocate_table(NAME, database=sqlite_url, table_location=str(new))


def test_a_place_that_is_taken_is_refused(tmp_path: Path, sqlite_url: str) -> None:
    first = made(tmp_path / "1", sqlite_url)
    deltalakedb.rename_table(NAME, "first", database=sqlite_url)
    second = made(tmp_path / "2", sqlite_url)
    with raised(DeltaLakeErrorKind.TABLE_EXISTS, "the place of table first"):
        deltalakedb.relocate_table(NAME, database=sqlite_url, log_dir=str(first.folder))
    assert open_table(sqlite_url).location == str(second.folder)
    with raised(DeltaLakeErrorKind.INVALID_ARGUMENT, "nothing has moved"):
        deltalakedb.relocate_table(NAME, database=sqlite_url)


def test_the_commands_of_a_tables_life(tmp_path: Path, sqlite_url: str) -> None:
    table = made(tmp_path / "here", sqlite_url)
    there = tmp_path / "there"
    os.rename(table.folder, there)
    catalog = ("--database", sqlite_url)
    assert str(there) in dl("relocate", NAME, *catalog, "--log-dir", there).stdout
    assert "shop.orders" in dl("rename", NAME, "shop.orders", *catalog).stdout
    [row] = dl_lines("tables", *catalog)
    assert (row["name"], row["location"]) == ("shop.orders", str(there))
    done = process("drop", "shop.orders", *catalog)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{there}/_delta_log" in done.stdout
    assert dl_lines("tables", *catalog) == []
    assert "no table shop.orders" in error_of("drop", "shop.orders", *catalog)


WORKING = ("Sales", "sales", "a.b.c", "it's", 'a"b\\', "50%", "über 1", "x?y&z=#", "-x", "x" * 255)
REFUSED = [
    "",
    ".",
    ".a",
    "a.",
    "a..b",
    " a",
    "a ",
    "a. b",
    "a\tb",
    "a\0b",
    "a\u200bb",
    "a\udcffb",
    "a/b",
    "x" * 256,
    "shop." + "x" * 256,
    str(uuid.uuid4()),
    uuid.uuid4().hex.upper(),
    f"shop.{uuid.uuid4()}",
    f"{{{uuid.uuid4()}}}",
]


def test_a_name_works_everywhere_or_is_refused(tmp_path: Path, catalog: str) -> None:
    table = made(tmp_path, catalog)
    table_id = table.open().table_id
    for name in WORKING:
        deltalakedb.rename_table(table_id, name, database=catalog)
        opened = open_table(catalog, table_id)
        assert (opened.name, opened.table_id) == (name, table_id)
        assert deltalakedb.connect_to_table(opened.uri, cache=False).table_id == table_id
        [listed] = dl_lines("tables", "--database", catalog)
        assert listed["name"] == name
        shown = dl("history", "--database", catalog, "--format", "json", "--", name)
        assert len(shown.stdout.splitlines()) == 3
        assert import_table(str(table.folder), database=catalog).table_name == name
        with dialect_of(parse_database(catalog)).engine().connect() as connection:
            query = sa.text("SELECT count(*) FROM dl_history WHERE table_name = :n")
            assert connection.scalar(query, {"n": name.rpartition(".")[2]}) == 3
    for name in REFUSED:
        with raised(DeltaLakeErrorKind.INVALID_ARGUMENT, "can't be the name"):
            deltalakedb.rename_table(table_id, name, database=catalog)
        with raised(DeltaLakeErrorKind.INVALID_ARGUMENT, "can't be the name"):
            import_table(str(table.folder), database=catalog, table_name=name, rebuild=True)
    with raised(DeltaLakeErrorKind.TABLE_NOT_FOUND, "no table"):
        open_table(catalog, "a\0b")
    assert "no table" in error_of("history", "a\udcffb", "--database", catalog)


@pytest.mark.parametrize("folder", [".hidden", "tab\tbed"])
def test_a_folder_whose_name_no_table_can_have_is_told(
    tmp_path: Path, sqlite_url: str, folder: str
) -> None:
    table = GrowingTable(tmp_path, sqlite_url)
    table.commit(*first_actions())
    os.rename(table.folder, tmp_path / folder)
    with raised(DeltaLakeErrorKind.INVALID_ARGUMENT, "--table-name"):
        import_table(str(tmp_path / folder), database=sqlite_url)
    done = import_table(str(tmp_path / folder), database=sqlite_url, table_name="plain")
    assert done.table_name == "plain"


def waiting_to_be_published(tmp_path: Path, catalog: str) -> deltalakedb.Table:
    """A table whose version 1 the catalog has, and its log hasn't; nobody tends it."""
    data = pa.table({"x": [1]})
    uri = f"deltasql://{catalog}?table={NAME}"
    deltalakedb.write_deltalake(uri, data, location=str(tmp_path / NAME))
    table = deltalakedb.connect_to_table(uri)
    with pytest.MonkeyPatch.context() as patched:
        # Nor by the thread that goes its rounds since the first version.
        patched.setattr(tend, "note", lambda *args, **options: None)
        tend.forget(table._catalog.reader.url, table._head.row)
        table.append(data, mirror="async")
    return table


def test_a_table_whose_log_lacks_commits_stays(tmp_path: Path, catalog: str) -> None:
    waiting_to_be_published(tmp_path, catalog)
    slot = tmp_path / NAME / "_delta_log" / f"{1:020d}.json"
    assert not slot.exists()
    slot.write_text('{"commitInfo":{}}\n')
    before = said(catalog)
    for change in (
        lambda: deltalakedb.drop_table(NAME, database=catalog),
        lambda: deltalakedb.relocate_table(NAME, database=catalog, log_dir=str(tmp_path / NAME)),
    ):
        with raised(DeltaLakeErrorKind.MIRROR_CONFLICT, "isn't version 1 of"):
            change()
    assert said(catalog) == before
    # Nobody waits for the lease of those who failed.
    with writing(parse_database(catalog)) as writer:
        held = f"SELECT count(*) FROM dl_leases WHERE expires_at > {writer.now}"
        assert writer.select(Statement(held)) == [(0,)]
    # What it is called is no matter of the log.
    assert deltalakedb.rename_table(NAME, "other", database=catalog).name == "other"


def said(catalog: str) -> dict[str, list[Any]]:
    """What the catalog says of tables, but not what it found of others' files in their logs."""
    found = everything(catalog)
    return {name: rows for name, rows in found.items() if name not in ("dl_leases", "dl_mirror")}


def test_commits_that_wait_are_published_before_the_table_goes(
    tmp_path: Path, sqlite_url: str
) -> None:
    table = waiting_to_be_published(tmp_path, sqlite_url)
    deltalakedb.rename_table(NAME, "other", database=sqlite_url)
    table.refresh()
    assert (table.name, table.version) == ("other", 1)
    deltalakedb.drop_table("other", database=sqlite_url)
    assert deltalake.DeltaTable(tmp_path / NAME).version() == 1


def test_nothing_of_a_dropped_table_is_left_to_the_next_one(
    tmp_path: Path, sqlite_url: str
) -> None:
    """SQLite gives the next table the same key."""
    table = made(tmp_path, sqlite_url)
    key = table_row(sqlite_url, NAME)["table_key"]
    with engine(sqlite_url).begin() as connection:
        connection.execute(properties.insert().values(table_key=key, name="p", value="1"))
        connection.execute(
            commits.insert().values(table_key=key, token="t", version=2, epoch=1, committed_at=0)
        )
    deltalakedb.drop_table(NAME, database=sqlite_url)
    records = {"dl_import_runs", "dl_parity_runs", "dl_catalog", "dl_schema_version"}
    kept = {name for name, rows in everything(sqlite_url).items() if rows}
    assert kept <= records
    table.imported()
    assert table_row(sqlite_url, NAME)["table_key"] == key


def test_a_purged_table_takes_its_files_along(tmp_path: Path, catalog: str) -> None:
    uri, place = f"deltasql://{catalog}?table=shop.t", tmp_path / "t"
    data = pa.table({"p": ["a", "b"], "x": [1, 2]})
    write = deltalakedb.write_deltalake
    write(uri, data, location=str(place), partition_by="p")
    write(f"{uri}2", data, location=str(tmp_path / "t2"))
    arguments = ("drop", "shop.t", "--database", catalog, "--purge")
    # Nobody is there to be asked.
    assert process(*arguments, stdin=subprocess.DEVNULL).returncode == 1
    # Another process tends the log: it is waited for.
    name = f"mirror/{deltalakedb.connect_to_table(uri).table_id}"
    with writing(parse_database(catalog)) as writer:
        row = f"'{name}', 'elsewhere 1', 'x', 0, {writer.now} + 600000"
        columns = "name, holder, token, acquired_at, expires_at"
        writer.transact(
            [
                Statement("DELETE FROM dl_leases WHERE name = ?", (name,)),
                Statement(f"INSERT INTO dl_leases ({columns}) VALUES ({row})"),
            ]
        )
    deltalakedb.connect_to_table(uri).append(data, mirror="async")
    listed = dl_lines("tables", "*.t", "--mirror", "--database", catalog)
    assert [(row["name"], row["mirror"]["marks"]) for row in listed] == [("shop.t", ["behind"])]
    began = time.monotonic()
    with writing(parse_database(catalog)) as writer:
        ends = f"UPDATE dl_leases SET expires_at = {writer.now} + 1500 WHERE name = ?"
        writer.transact([Statement(ends, (name,))])
    dropped = deltalakedb.drop_table("shop.t", database=catalog, purge=True)
    assert time.monotonic() - began > 1
    assert dropped.files_removed is not None
    assert dropped.files_removed >= 6
    assert not place.exists()
    assert [row["name"] for row in dl_lines("tables", "*t*", "--database", catalog)] == ["shop.t2"]
    # The place is free again, and nobody's files were hit.
    write(uri, data, location=str(place))
    assert deltalake.DeltaTable(str(place)).version() == 0
    assert deltalake.DeltaTable(str(tmp_path / "t2")).to_pyarrow_table().num_rows == 2


def test_what_is_not_the_tables_alone_is_not_purged(tmp_path: Path, sqlite_url: str) -> None:
    table = made(tmp_path / "1", sqlite_url)
    files = log_of(table)
    with raised(DeltaLakeErrorKind.INVALID_ARGUMENT, "authority log"):
        deltalakedb.drop_table(NAME, database=sqlite_url, purge=True)
    shutil.copytree(table.folder / "_delta_log", table.folder / "inner" / "_delta_log")
    purge = {"database": sqlite_url, "purge": True, "writers_stopped": True}
    with raised(DeltaLakeErrorKind.INVALID_ARGUMENT, "another log"):
        deltalakedb.drop_table(NAME, **purge)
    shutil.rmtree(table.folder / "inner")
    assert log_of(table) == files
    deltalakedb.drop_table(NAME, **purge)
    assert not table.folder.exists()
