"""A catalog that has lost versions: restored from a backup, or failed over with loss.

Nothing is ratified twice, whoever was at work meanwhile, and what the log has is taken from there.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import deltalake
import pytest

import deltalakedb as dl
from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.dialects.mysql.connection import connect
from deltalakedb.catalog.reading import queries
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.migrate.move import move_table
from deltalakedb.migrate.recover import repair_table
from deltalakedb.mirror import checkpoint, publish, tend
from deltalakedb.mirror.committer import LogRatifier
from deltalakedb.mirror.resolve import examine
from deltalakedb.table import behind
from deltalakedb.uri import parse_database
from tests.moving.test_move import append, rows, seen
from tests.moving.test_rollback import in_sql
from tests.servers.postgres import PostgresServer

T = TypeVar("T")
_ELSEWHERE = """
import sys, deltalakedb as dl
from tests.moving.test_move import rows
for value in sys.argv[2:]:
    dl.write_deltalake(f"deltasql://{sys.argv[1]}?table=t", rows(int(value)), mode="append")
"""


def elsewhere(database: str, *values: int) -> None:
    """Appends by another process, of which this one doesn't hear."""
    command = [sys.executable, "-c", _ELSEWHERE, database, *map(str, values)]
    subprocess.run(command, timeout=240, check=True)


def backup(database: str, to: Path) -> None:
    """A copy of a SQLite catalog as it is now."""
    file = database.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file)) as now, closing(sqlite3.connect(to)) as copy:
        now.backup(copy)


def restore(database: str, yesterday: Path) -> None:
    """That copy in the catalog's place."""
    file = Path(database.removeprefix("sqlite:///"))
    for rest in ("-wal", "-shm"):
        file.with_name(file.name + rest).unlink(missing_ok=True)
    yesterday.replace(file)


def refused(table: dl.Table, value: int) -> DeltaLakeError:
    """An append that has to fail, leaving nothing."""
    with pytest.raises(DeltaLakeError) as caught:
        table.append(rows(value))
    assert caught.value.outcome == "failed"
    return caught.value


def all_is_well(place: Path, database: str, expected: list[int]) -> None:
    """Both sides have it, and go on."""
    assert seen(place) == in_sql(database) == expected
    dl.write_deltalake(f"deltasql://{database}?table=t", rows(99), mode="append")
    assert seen(place) == in_sql(database) == [*expected, 99]
    assert dl.diff_table("t", database=database).parity


def test_a_log_that_was_cleaned_up_beyond_the_backup(tmp_path: Path, sqlite_url: str) -> None:
    """The next slot is free, and yet no place to put anything: the log is far ahead."""
    place, uri = tmp_path / "t", f"deltasql://{sqlite_url}?table=t"
    append(place, 1)
    move_table(str(place), database=sqlite_url)
    table = dl.connect_to_table(uri)
    table.append(rows(2))
    backup(sqlite_url, tmp_path / "yesterday")
    for value in (3, 4, 5):
        table.append(rows(value))
    row = table._head.row
    url = parse_database(sqlite_url)
    log = publish.log_of(row, None)
    tend.forget(url, row)
    assert checkpoint.checkpoint_now(url, row, log, 5) is not None
    for version in range(5):
        (place / "_delta_log" / publish.commit_name(version)).unlink()
    restore(sqlite_url, tmp_path / "yesterday")
    with Catalog(sqlite_url) as catalog:
        row = queries.find_table(catalog, "t")
    assert "dl mirror repair t" in examine(url, row, log)[-1]
    error = refused(table, 6)
    assert error.kind is DeltaLakeErrorKind.MIRROR_CONFLICT
    assert "dl mirror repair" in error.message
    done = repair_table("t", database=sqlite_url)
    assert (done.rebuilt, done.version) == (True, 5)
    assert done.adopted == (3, 5)
    all_is_well(place, sqlite_url, [1, 2, 3, 4, 5])
    again = repair_table("t", database=sqlite_url)
    assert (again.rebuilt, again.adopted) == (False, None)


def test_a_reader_is_told_of_a_catalog_of_yesterday(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads what the catalog has, and nothing is listed for it; writers are refused."""
    place, uri = tmp_path / "t", f"deltasql://{sqlite_url}?table=t"
    monkeypatch.setattr(behind, "_APART_SECONDS", 0.0)
    append(place, 1)
    move_table(str(place), database=sqlite_url)
    table = dl.connect_to_table(uri)
    table.append(rows(2))
    backup(sqlite_url, tmp_path / "yesterday")
    elsewhere(sqlite_url, 3)
    assert table.refresh().version == 3
    restore(sqlite_url, tmp_path / "yesterday")
    # This one has seen more.
    with pytest.warns(RuntimeWarning, match=r"version 2 in its catalog, and this process has .* 3"):
        assert table.snapshot().to_pyarrow_table().num_rows == 2
    # Another knows nothing; what has only just come into the log may be on its way to a replica.
    log = place / "_delta_log"
    monkeypatch.setattr(behind, "_told", {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr(behind, "LAG_SECONDS", 3_600.0)
        dl.connect_to_table(uri)
    monkeypatch.setattr(behind, "LAG_SECONDS", 10.0)
    os.utime(log / publish.commit_name(3), (1.0, 1.0))
    with pytest.warns(RuntimeWarning, match=r"its log has version 3.*dl mirror repair t"):
        dl.connect_to_table(uri)
    # After a cleanup the slot is free, and a checkpoint is ahead.
    monkeypatch.setattr(behind, "_told", {})
    for version in (2, 3):
        (log / publish.commit_name(version)).rename(tmp_path / str(version))
    (log / "_last_checkpoint").write_text('{"version": 3}')
    os.utime(log / "_last_checkpoint", (1.0, 1.0))
    with pytest.warns(RuntimeWarning, match="its log has version 3"):
        dl.connect_to_table(uri)
    for version in (2, 3):
        (tmp_path / str(version)).rename(log / publish.commit_name(version))
    (log / "_last_checkpoint").unlink()
    assert repair_table("t", database=sqlite_url).adopted == (3, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dl.connect_to_table(uri).version == 3


def test_a_dump_restored_in_place_under_running_writers(
    tmp_path: Path, pg_database: str, postgres_server: PostgresServer
) -> None:
    """The server and its connections live on, and still the catalog isn't the one from before."""
    place, uri = tmp_path / "t", f"deltasql://{pg_database}?table=t"
    append(place, 1)
    move_table(str(place), database=pg_database)
    table = dl.connect_to_table(uri)
    table.append(rows(2))
    dump = postgres_server.dump(pg_database)
    elsewhere(pg_database, 3, 4)
    postgres_server.restore(pg_database, dump)
    error = refused(table, 5)
    assert error.kind is DeltaLakeErrorKind.MIRROR_CONFLICT
    done = repair_table("t", database=pg_database)
    assert done.adopted == (3, 4)
    all_is_well(place, pg_database, [1, 2, 3, 4])


@pytest.mark.parametrize("is_far", [False, True])
def test_a_sqlite_copy_restored_in_place_under_running_writers(
    is_far: bool, tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `.restore` of SQLite's shell does it: into the file that others have open."""
    monkeypatch.setattr(LogRatifier, "is_far", lambda *_: is_far)

    def restore_in_place(yesterday: Path) -> None:
        file = sqlite_url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(file)) as now, closing(sqlite3.connect(yesterday)) as copy:
            copy.backup(now)

    def keep() -> Path:
        backup(sqlite_url, tmp_path / "yesterday")
        return tmp_path / "yesterday"

    set_back_under_writers(tmp_path / "t", sqlite_url, keep, restore_in_place)


@pytest.mark.system
@pytest.mark.parametrize("is_far", [False, True])
def test_a_dump_restored_in_place_into_mysql(
    is_far: bool, tmp_path: Path, any_mysql_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LogRatifier, "is_far", lambda *_: is_far)
    url = any_mysql_database
    set_back_under_writers(
        tmp_path / "t", url, lambda: mysql_dump(url), lambda dump: mysql_restore(url, dump)
    )


@pytest.mark.system
def test_rows_restored_into_the_tables_that_are_there(
    tmp_path: Path, any_mysql_database: str
) -> None:
    """Nothing of the database tells that, so it is the log that does."""
    url = any_mysql_database
    set_back_under_writers(
        tmp_path / "t",
        url,
        lambda: mysql_dump(url),
        lambda dump: mysql_restore(url, dump, anew=False),
    )


@pytest.fixture(params=["mysql_database", "mariadb_database"])
def any_mysql_database(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


def set_back_under_writers(
    place: Path, database: str, keep: Callable[[], T], restore: Callable[[T], None]
) -> None:
    """A process that goes on over a catalog that lost what others wrote gives no version twice."""
    append(place, 1)
    move_table(str(place), database=database)
    table = dl.connect_to_table(f"deltasql://{database}?table=t")
    table.append(rows(2))
    kept = keep()
    elsewhere(database, 3, 4)
    restore(kept)
    error = refused(table, 5)
    assert error.kind is DeltaLakeErrorKind.MIRROR_CONFLICT
    assert "dl mirror repair" in error.message
    # It doesn't know the files of what it lost, so it takes none away.
    with pytest.raises(DeltaLakeError, match="dl mirror repair t"):
        table.vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)
    assert repair_table("t", database=database).adopted == (3, 4)
    all_is_well(place, database, [1, 2, 3, 4])


MySqlDump = list[tuple[str, str, str, list[tuple[object, ...]]]]


def mysql_dump(database: str) -> MySqlDump:
    """Each table's name, definition, columns and rows."""
    found: MySqlDump = []
    with closing(connect(parse_database(database))) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW FULL TABLES WHERE table_type = 'BASE TABLE'")
        for name, _ in cursor.fetchall():
            cursor.execute(f"SHOW CREATE TABLE {name}")
            [(_, definition)] = cursor.fetchall()
            cursor.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND "
                "table_schema = DATABASE() AND extra NOT LIKE '%%GENERATED%%'",
                (name,),
            )
            columns = ", ".join(f"`{column}`" for (column,) in cursor.fetchall())
            cursor.execute(f"SELECT {columns} FROM {name}")
            found.append((name, definition, columns, list(cursor.fetchall())))
    return found


def mysql_restore(database: str, dump: MySqlDump, *, anew: bool = True) -> None:
    """As mysqldump's script does it; not `anew`: the rows alone, into the tables that are there."""
    with closing(connect(parse_database(database))) as connection, connection.cursor() as cursor:
        cursor.execute("SET foreign_key_checks = 0, sql_mode = 'NO_AUTO_VALUE_ON_ZERO'")
        for name, definition, columns, found in dump:
            cursor.execute(f"DROP TABLE {name}" if anew else f"DELETE FROM {name}")
            if anew:
                cursor.execute(definition)
            if found:
                marks = ", ".join(["%s"] * len(found[0]))
                cursor.executemany(f"INSERT INTO {name} ({columns}) VALUES ({marks})", found)
        connection.commit()


@pytest.mark.long
def test_a_failover_that_loses_commits(
    tmp_path: Path, private_postgres: Callable[..., PostgresServer]
) -> None:
    """The replica lacks what the primary acknowledged last; the log has it."""
    place = tmp_path / "t"
    server = private_postgres()
    database = server.url(server.create_database())
    append(place, 1)
    move_table(str(place), database=database)
    table = dl.connect_to_table(f"deltasql://{database}?table=t")
    table.append(rows(2))
    server.stop()
    replica = server.save_data()
    server.start()
    table.append(rows(3))
    elsewhere(database, 4)
    server.stop(immediate=True)
    server.load_data(replica)
    server.start()
    with pytest.raises(DeltaLakeError):
        dl.write_deltalake(f"deltasql://{database}?table=t", rows(5), mode="append")
    refused(table, 6)
    done = repair_table("t", database=database)
    assert done.adopted == (3, 4)
    all_is_well(place, database, [1, 2, 3, 4])


@pytest.mark.long
@pytest.mark.parametrize("at", ["before-freeze", "fence-put", "recorded"])
def test_a_database_that_goes_away_during_a_cutover(
    at: str, tmp_path: Path, private_postgres: Callable[..., PostgresServer]
) -> None:
    """Files' writers go on until the fence; behind it SQL's do, as soon as it is back."""
    place = tmp_path / "t"
    server = private_postgres(durable=True)
    database = server.url(server.create_database())
    append(place, 1)

    def on(point: str, facts: Mapping[str, object]) -> None:
        if point == at:
            server.stop(immediate=True)

    with pytest.raises(DeltaLakeError) as caught:
        move_table(str(place), database=database, on=on)
    assert caught.value.kind in (
        DeltaLakeErrorKind.DATABASE_ERROR,
        DeltaLakeErrorKind.TIMEOUT_ERROR,
    )
    fenced = at != "before-freeze"
    if fenced:
        with pytest.raises(deltalake.exceptions.DeltaError, match="sqlAuthority"):
            append(place, 2)
    else:
        append(place, 2)
    server.start()
    if fenced:
        dl.write_deltalake(f"deltasql://{database}?table=t", rows(2), mode="append")
    assert move_table(str(place), database=database).migration.state == "sql"
    all_is_well(place, database, [1, 2])
    log = "".join(p.read_text() for p in (place / "_delta_log").glob("*.json"))
    assert log.count('"txnId":"cutover-') == 1


def test_a_log_that_was_set_back(tmp_path: Path, sqlite_url: str) -> None:
    """What the catalog remembers of versions that are gone is in nobody's way."""
    place, uri = tmp_path / "t", f"deltasql://{sqlite_url}?table=t"
    append(place, 1)
    dl.import_table(str(place), database=sqlite_url)
    for value in (2, 3):
        dl.write_deltalake(uri, rows(value), mode="append")
    with Catalog(sqlite_url) as catalog:
        row = queries.find_table(catalog, "t")
    tend.tend_now(parse_database(sqlite_url), row, publish.log_of(row, None))
    for file in (place / "_delta_log").iterdir():
        if not file.name.startswith("0" * 20):
            file.unlink()
    dl.import_table(str(place), database=sqlite_url, rebuild=True)
    dl.write_deltalake(uri, rows(4), mode="append")
    assert seen(place) == in_sql(sqlite_url) == [1, 4]
    all_is_well(place, sqlite_url, [1, 4])
