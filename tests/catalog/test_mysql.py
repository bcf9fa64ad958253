"""The MySQL dialect, on MariaDB and MySQL: what only these databases could get wrong."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pymysql
import pytest
import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.dialects.base import Dialect
from deltalakedb.catalog.dialects.mysql import dialect as mysql
from deltalakedb.catalog.dialects.mysql import loader as mysql_loader
from deltalakedb.catalog.dialects.mysql import text as mysql_text
from deltalakedb.catalog.reading import queries
from deltalakedb.catalog.records import load_files_name
from deltalakedb.catalog.tables import partitions
from deltalakedb.config import SqlConfig
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.importing import tasks
from deltalakedb.importing.run import import_table
from deltalakedb.log.paths import decode_path
from tests.catalog import mysql_loads as loads
from tests.servers.mariadb import PASSWORD, MariaDbServer
from tests.tables import compare, samples


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def server(request: pytest.FixtureRequest) -> MariaDbServer:
    found: MariaDbServer = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture
def database(server: MariaDbServer) -> Iterator[str]:
    """URL of a new, empty database."""
    name = server.create_database()
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture(scope="module")
def catalog(server: MariaDbServer) -> Iterator[Catalog]:
    """One for the tests that make loads of their own; no table is ever made live in it."""
    name = server.create_database()
    with Catalog(server.url(name), create=True) as found:
        yield found
    server.drop_database(name)


@pytest.fixture
def new_catalog(database: str) -> Iterator[Catalog]:
    with Catalog(database, create=True) as found:
        yield found


@pytest.fixture(params=["LOAD DATA", "INSERT"])
def loading_catalog(
    request: pytest.FixtureRequest,
    catalog: Catalog,
    server: MariaDbServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Catalog]:
    """A catalog on a server that takes LOAD DATA LOCAL INFILE, and on one that doesn't."""
    monkeypatch.setattr(mysql_loader, "_warned", set())
    if request.param == "LOAD DATA":
        yield catalog
        return
    server.sql("SET GLOBAL local_infile = OFF")
    try:
        with pytest.warns(RuntimeWarning, match="SET GLOBAL local_infile = ON") as warned:
            yield catalog
        assert len(warned) == 1
    finally:
        server.sql("SET GLOBAL local_infile = ON")


@pytest.mark.parametrize(
    "name",
    [
        "kernel-cdf-table-with-cdc-and-dvs",
        "dat-multi_partitioned_2",
        "rs-table-with-domain-metadata",
    ],
)
def test_sample_tables_are_as_expected_at_every_version(database: str, name: str) -> None:
    log = str(samples.path(name) / "_delta_log")
    result = import_table(log, database=database, mode="full-history")
    with Catalog(database) as catalog:
        table = queries.find_table(catalog, result.table_id)
        checked = 0
        for version in samples.versions(name):
            if version < result.known_since:
                continue
            state = queries.state_at(catalog, table, version)
            rows = [
                {
                    "path": decode_path(row["path"]),
                    "size": row["size"],
                    "dv": row["dv_id"],
                    "partition_values": json.loads(row["partition_values"]),
                    "num_records": row["num_records"],
                }
                for batch in queries.stream_files(catalog, table, version)
                for row in batch.to_pylist()
            ]
            got: dict[str, Any] = compare.facts_of_files(rows)
            assert queries.totals_at(catalog, table, version) == (
                got["num_files"],
                got["total_bytes"],
            )
            got |= {
                "protocol": state.protocol,
                "txns": state.txns,
                "domain_metadata": state.domains,
                "configuration": state.metadata["configuration"],
            }
            assert samples.differences(name, version, got) == []
            checked += 1
        assert checked


def test_new_commits_are_caught_up(database: str, tmp_path: Path) -> None:
    name = "golden-basic-with-inserts-updates"
    log = samples.copy(name, tmp_path) / "_delta_log"
    last = sorted(log.glob("*.json"))[-1]
    commit = last.read_bytes()
    last.unlink()
    first = import_table(str(log), database=database, mode="full-history")
    last.write_bytes(commit)
    second = import_table(str(log), database=database)
    assert (second.status, second.from_version) == ("caught_up", first.to_version + 1)
    facts = samples.expected(name)["versions"][str(second.to_version)]
    assert second.live_files == facts["num_files"]


def test_every_character_comes_back(loading_catalog: Catalog) -> None:
    run = loads.new_run(loading_catalog)
    texts = loads.TEXTS
    rows = loads.file_rows(run.run_key, texts, [*texts[1:], None])
    loads.put(loading_catalog, run, rows)
    found = loads.read(loading_catalog, run.run_key)
    order = sorted(range(len(texts)), key=lambda i: texts[i].encode())
    assert found.to_pylist() == rows.take(pa.array(order)).to_pylist()


def test_texts_are_equal_when_their_bytes_are(catalog: Catalog) -> None:
    run = loads.new_run(catalog)
    loads.put(catalog, run, loads.file_rows(run.run_key, loads.TEXTS, loads.TEXTS))
    table = load_files_name(run.run_key)
    with catalog.read() as connection:
        for text in loads.TEXTS:
            query = sa.text(f"SELECT path FROM {table} WHERE path = :path")
            assert connection.scalars(query, {"path": text}).all() == [text]


def test_long_values_come_back(loading_catalog: Catalog) -> None:
    run = loads.new_run(loading_catalog)
    stats = ["x" * 300, "é" * 40_000, "'\\" * 700_000, "s" * 9_000_000, None, "", "y" * 65_535]
    rows = loads.file_rows(run.run_key, [f"p{i}" for i in range(len(stats))], stats)
    loads.put(loading_catalog, run, rows)
    assert loads.read(loading_catalog, run.run_key).equals(rows)


def test_many_rows_come_back_in_batches(loading_catalog: Catalog) -> None:
    run = loads.new_run(loading_catalog)
    count = 20_000
    rows = loads.file_rows(run.run_key, [f"p{i:06}" for i in range(count)], ["s" * 400] * count)
    loads.put(loading_catalog, run, rows)
    found = loads.read(loading_catalog, run.run_key, batch_rows=3_000)
    assert found.column(0).num_chunks == 7
    assert found.combine_chunks().equals(rows)


def test_columns_without_a_value_keep_their_type(catalog: Catalog, sqlite_url: str) -> None:
    with Catalog(sqlite_url, create=True) as embedded:
        for each in (catalog, embedded):
            schema = pa.schema([("t", pa.string()), ("i", pa.int64()), ("b", pa.bool_())])
            sql = "SELECT NULL AS t, NULL AS i, NULL AS b UNION ALL SELECT 'x', 1, 1"
            batches = list(each.dialect.stream(sql, schema, batch_rows=1))
            assert [b.schema for b in batches] == [schema, schema]
            assert batches[1].to_pylist() == [{"t": "x", "i": 1, "b": True}]


def test_a_stream_that_is_left_ends_at_once(catalog: Catalog) -> None:
    run = loads.new_run(catalog)
    count = 2_000
    rows = loads.file_rows(run.run_key, ["p"] * count, ["s" * 2_000] * count)
    loads.put(catalog, run, rows)
    started = time.perf_counter()
    name = load_files_name(run.run_key)
    sql = f"SELECT a.stats FROM {name} a, {name} b, {name} c"
    stream = catalog.dialect.stream(sql, pa.schema([("stats", pa.string())]), batch_rows=10)
    assert next(stream).num_rows == 10
    stream.close()  # type: ignore[attr-defined]
    # All of its rows would be terabytes.
    assert time.perf_counter() - started < 120


def test_a_row_of_several_packets_comes_back(catalog: Catalog) -> None:
    run = loads.new_run(catalog)
    # 2^24 - 1 bytes fill a packet; a row of exactly so many ends in an empty one.
    lengths = [2**24 + 5, 2**24 - 1 - 4, 2**24 - 1 - 5]
    rows = loads.file_rows(run.run_key, ["a", "b", "c"], ["s" * n for n in lengths])
    loads.put(catalog, run, rows)
    schema = pa.schema([("stats", pa.string())])
    sql = f"SELECT stats FROM {load_files_name(run.run_key)} ORDER BY path"
    found = pa.Table.from_batches(catalog.dialect.stream(sql, schema), schema)
    assert [len(text) for text in found.column("stats").to_pylist()] == lengths


def test_a_stream_whose_connection_is_killed_says_so(
    catalog: Catalog, server: MariaDbServer
) -> None:
    run = loads.new_run(catalog)
    rows = loads.file_rows(run.run_key, ["p"] * 2_000, ["s" * 2_000] * 2_000)
    loads.put(catalog, run, rows)
    sql = f"SELECT a.stats FROM {load_files_name(run.run_key)} a, {load_files_name(run.run_key)} b"
    stream = catalog.dialect.stream(sql, pa.schema([("stats", pa.string())]), batch_rows=10)
    next(stream)
    # The server may not have noticed yet that another test's stream is left.
    question = "SELECT id FROM information_schema.processlist WHERE info LIKE "
    [(ident,)] = server.sql(f"{question}'SELECT a.stats FROM {load_files_name(run.run_key)} %'")
    server.sql(f"KILL {ident}")
    with pytest.raises(DeltaLakeError) as caught, catalog.dialect.errors():
        list(stream)
    assert caught.value.kind is DeltaLakeErrorKind.DATABASE_ERROR


def test_a_value_too_long_is_refused_not_cut(loading_catalog: Catalog) -> None:
    run = loads.new_run(loading_catalog)
    txn = {"load_id": run.run_key, "added_version": 0, "removed_version": 1, "version": 1}
    rows = pa.Table.from_pylist([txn | {"app_id": "a" * 600}])
    with loading_catalog.dialect.errors(), loading_catalog.dialect.loader() as loader:
        loader.claim(run.run_key, 0)
        with (
            pytest.raises(DeltaLakeError, match="app_id") as caught,
            loading_catalog.dialect.errors(),
        ):
            loader.append("dl_txns", rows)
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_LOG


def test_the_server_gets_no_file_of_ours(catalog: Catalog, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("1\tx\n")
    run = loads.new_run(catalog)
    connection = loads.mysql_of(catalog).connect(local_infile=True)
    with pytest.raises(pymysql.OperationalError, match="asked for a file"):
        connection.query(
            f"LOAD DATA LOCAL INFILE '{secret}' INTO TABLE {load_files_name(run.run_key)}"
        )
    assert not connection.open


def test_a_connection_killed_while_it_loads_loads_once(
    catalog: Catalog, server: MariaDbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = loads.new_run(catalog)
    rows = loads.file_rows(run.run_key, [f"p{i}" for i in range(5_000)], ["s" * 3_000] * 5_000)
    lines = mysql_text.lines
    killed: list[int] = []

    def lines_with_an_accident(table: pa.Table) -> Iterator[memoryview]:
        for number, data in enumerate(lines(table)):
            yield data
            if number == 0 and not killed:
                question = "SELECT id FROM information_schema.processlist WHERE info LIKE "
                name = load_files_name(run.run_key)
                [(ident,)] = server.sql(f"{question}'LOAD DATA%{name}%'")
                server.sql(f"KILL {ident}")
                killed.append(ident)

    monkeypatch.setattr(mysql_text, "lines", lines_with_an_accident)
    loaded = tasks.Loaded(0, rows.num_rows, 0, 0, pa.table({}), pa.table({}), ())
    prepared = tasks.Prepared({load_files_name(run.run_key): rows}, loaded)
    database = catalog.reader.url.secret
    tasks.put_part(database, run.run_key, prepared)
    assert killed
    assert loads.read(catalog, run.run_key).num_rows == rows.num_rows
    tasks.put_part(database, run.run_key, prepared)
    assert loads.read(catalog, run.run_key).num_rows == rows.num_rows


def test_two_loaders_of_one_part_take_turns(catalog: Catalog) -> None:
    run = loads.new_run(catalog, parts=2)
    rows = loads.file_rows(run.run_key, ["p"], ["s"])
    with catalog.dialect.loader() as first, catalog.dialect.loader() as other:
        assert first.claim(run.run_key, 0)
        assert other.claim(run.run_key, 1), "another part doesn't wait"
        first.append(load_files_name(run.run_key), rows)
        outcome: list[bool] = []
        second = threading.Thread(target=lambda: outcome.append(loads.put(catalog, run, rows)))
        second.start()
        time.sleep(0.3)
        assert second.is_alive()
        first.commit(run.run_key, 0, 1)
        second.join()
    assert outcome == [False]
    assert loads.read(catalog, run.run_key).num_rows == 1


def _paths(catalog: Catalog, view: str) -> list[str]:
    with catalog.read() as connection:
        return sorted(connection.scalars(sa.text(f"SELECT path FROM {view}")))


def _add_partition(catalog: Catalog, load_id: int) -> None:
    with catalog.write() as connection:
        connection.execute(
            partitions.insert().values(
                load_id=load_id,
                partition_id=-(2**63),
                partition_values="{}",
                num_files=1,
                total_bytes=0,
            )
        )


def test_views_show_a_load_when_it_is_live_and_only_then(new_catalog: Catalog) -> None:
    assert _paths(new_catalog, "dl_files") == _paths(new_catalog, "dl_live_files") == []
    old, new = loads.new_run(new_catalog), loads.new_run(new_catalog)
    for run, path in ((old, "old"), (new, "new")):
        loads.put(new_catalog, run, loads.file_rows(run.run_key, [path], ["s"]))
        _add_partition(new_catalog, run.run_key)
    assert _paths(new_catalog, "dl_files") == []
    loads.finish(new_catalog, old, "t1")
    assert _paths(new_catalog, "dl_files") == _paths(new_catalog, "dl_live_files") == ["old"]
    new_catalog.dialect.prepare_attach(new.run_key)
    assert _paths(new_catalog, "dl_files") == _paths(new_catalog, "dl_live_files") == ["old"]
    loads.finish(new_catalog, new, "t1")
    assert _paths(new_catalog, "dl_files") == _paths(new_catalog, "dl_live_files") == ["new"]
    new_catalog.dialect.drop_load(new_catalog.engine, old.run_key)
    assert _paths(new_catalog, "dl_files") == _paths(new_catalog, "dl_live_files") == ["new"]
    with new_catalog.read() as connection:
        assert new_catalog.dialect.load_ids(connection) == [new.run_key]


def test_views_hold_many_tables(new_catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    from deltalakedb.catalog.dialects.mysql import views as mysql_views

    monkeypatch.setattr(mysql_views, "_WIDTH", 2)
    runs = [loads.new_run(new_catalog) for _ in range(6)]
    for number, run in enumerate(runs):
        loads.put(new_catalog, run, loads.file_rows(run.run_key, [f"p{number}"], ["s"]))
        _add_partition(new_catalog, run.run_key)
        loads.finish(new_catalog, run, f"t{number}")
    paths = [f"p{i}" for i in range(6)]
    assert _paths(new_catalog, "dl_files") == _paths(new_catalog, "dl_live_files") == paths
    with new_catalog.read() as connection:
        views = sa.inspect(connection).get_view_names()
    assert sum(v.startswith("dl_files_layer") for v in views) == 6, "older layers are gone"


def test_a_reader_that_keeps_its_transaction_is_waited_for(
    new_catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = loads.new_run(new_catalog)
    loads.put(new_catalog, run, loads.file_rows(run.run_key, ["p"], ["s"]))
    reader = loads.mysql_of(new_catalog).connect()
    reader.query("SELECT count(*) FROM dl_files")
    monkeypatch.setattr(mysql, "_VIEWS_PATIENCE_SECONDS", 0.0)
    with pytest.raises(DeltaLakeError, match="transaction open") as caught:
        new_catalog.dialect.prepare_attach(run.run_key)
    assert caught.value.kind is DeltaLakeErrorKind.DATABASE_LOCKED
    monkeypatch.setattr(mysql, "_VIEWS_PATIENCE_SECONDS", 60.0)
    threading.Timer(0.5, reader.rollback).start()
    loads.finish(new_catalog, run, "t1")
    assert _paths(new_catalog, "dl_files") == ["p"]
    reader.close()


def test_a_load_that_is_read_is_left_to_the_next_clean_up(new_catalog: Catalog) -> None:
    run = loads.new_run(new_catalog)
    reader = loads.mysql_of(new_catalog).connect()
    reader.query(f"SELECT count(*) FROM {load_files_name(run.run_key)}")
    with pytest.raises(DeltaLakeError) as caught, new_catalog.dialect.errors():
        new_catalog.dialect.drop_load(new_catalog.engine, run.run_key)
    assert caught.value.kind is DeltaLakeErrorKind.TIMEOUT_ERROR
    reader.close()
    new_catalog.dialect.drop_load(new_catalog.engine, run.run_key)
    with new_catalog.read() as connection:
        assert new_catalog.dialect.load_ids(connection) == []


def _kind_of(url: str) -> DeltaLakeErrorKind:
    with pytest.raises(DeltaLakeError) as caught:
        Catalog(url)
    assert PASSWORD not in str(caught.value)
    assert "wrong-pass" not in str(caught.value)
    return caught.value.kind


def test_connections_that_fail_say_why(server: MariaDbServer, database: str) -> None:
    name = database.rpartition("/")[2]
    wrong = server.url(name, password="wrong-pass")
    assert _kind_of(wrong) is DeltaLakeErrorKind.AUTHENTICATION_ERROR
    assert _kind_of(server.url("nowhere")) is DeltaLakeErrorKind.NOT_FOUND
    closed = database.replace(str(server.port), "1")
    assert _kind_of(closed) is DeltaLakeErrorKind.DATABASE_ERROR
    assert _kind_of(database) is DeltaLakeErrorKind.NOT_FOUND


@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
def test_both_names_of_the_database_work(database: str, scheme: str) -> None:
    url = scheme + database.removeprefix("mysql")
    with Catalog(SqlConfig(url, pool_size=2, pool_recycle=60), create=True) as catalog:
        assert queries.all_tables(catalog) == []
        with catalog.read() as connection:
            collations = connection.exec_driver_sql(
                "SELECT DISTINCT collation_name FROM information_schema.columns WHERE "
                "table_schema = DATABASE() AND table_name = 'dl_txns' "
                "AND collation_name IS NOT NULL"
            )
            version = str(connection.exec_driver_sql("SELECT version()").scalar())
            by_bytes = "utf8mb4_nopad_bin" if "MariaDB" in version else "utf8mb4_0900_bin"
            assert collations.scalars().all() == [by_bytes]


def test_a_deadlock_can_be_tried_again(catalog: Catalog) -> None:
    runs = [loads.new_run(catalog) for _ in range(2)]
    sessions = [loads.mysql_of(catalog).connect() for _ in runs]
    update = "UPDATE dl_import_runs SET workers = 2 WHERE run_key = {}"
    for session, run in zip(sessions, runs, strict=True):
        session.query(update.format(run.run_key))
    crossing = threading.Thread(
        target=lambda: _ignoring(lambda: sessions[0].query(update.format(runs[1].run_key)))
    )
    crossing.start()
    time.sleep(0.2)
    kinds = _error_kind(catalog.dialect, lambda: sessions[1].query(update.format(runs[0].run_key)))
    sessions[1].rollback()
    crossing.join()
    for session in sessions:
        session.close()
    # The server chooses whom it rolls back; both know it by the same number.
    assert kinds in (DeltaLakeErrorKind.DATABASE_ERROR, None)


def _ignoring(act: Callable[[], Any]) -> None:
    try:
        act()
    except pymysql.MySQLError:
        return


def _error_kind(dialect: Dialect, act: Callable[[], Any]) -> DeltaLakeErrorKind | None:
    try:
        with dialect.errors():
            act()
    except DeltaLakeError as error:
        return error.kind
    return None


def test_a_catalog_whose_creation_died_is_created_anew(
    database: str, server: MariaDbServer
) -> None:
    name = database.rpartition("/")[2]
    Catalog(database, create=True).close()
    server.sql("DELETE FROM dl_schema_version", database=name)
    server.sql("DROP TABLE dl_versions", database=name)
    with Catalog(database, create=True) as catalog:
        assert queries.all_tables(catalog) == []
        assert _paths(catalog, "dl_live_files") == []


def test_a_catalog_that_lost_its_version_is_not_overwritten(
    new_catalog: Catalog, database: str, server: MariaDbServer
) -> None:
    run = loads.new_run(new_catalog)
    loads.put(new_catalog, run, loads.file_rows(run.run_key, ["p"], ["s"]))
    loads.finish(new_catalog, run, "t1")
    name = database.rpartition("/")[2]
    server.sql("DELETE FROM dl_schema_version", database=name)
    with pytest.raises(DeltaLakeError, match="restore the database"):
        Catalog(database, create=True)
    assert [t.name for t in queries.all_tables(new_catalog)] == ["t1"]


def test_rows_that_are_there_are_left_alone(catalog: Catalog) -> None:
    values = {
        "load_id": 1,
        "partition_id": 2,
        "partition_values": "{}",
        "num_files": 3,
        "total_bytes": 4,
    }
    insert = catalog.dialect.insert_ignoring(partitions)
    with catalog.write() as connection:
        connection.execute(insert, [values])
        connection.execute(insert, [values | {"num_files": 9}, values | {"partition_id": 5}])
    with catalog.read() as connection:
        found = connection.execute(
            sa.select(partitions.c.partition_id, partitions.c.num_files).order_by("partition_id")
        )
        assert [tuple(r) for r in found] == [(2, 3), (5, 3)]
