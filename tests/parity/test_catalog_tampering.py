"""Every kind of change to the catalog's rows behind its back is found."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from deltalakedb.catalog.catalog import Catalog
from deltalakedb.catalog.reading.queries import find_table
from deltalakedb.catalog.records import load_files_name
from deltalakedb.importing.run import import_table
from deltalakedb.parity.run import diff_table
from tests.parity.logs import Log

FILES = {
    "row deleted": "DELETE FROM {files} WHERE path = 'c.parquet'",
    "row doubled": "INSERT INTO {files} SELECT * FROM {files} WHERE path = 'c.parquet'",
    "life ended": "UPDATE {files} SET removed_version = 3 WHERE path = 'c.parquet'",
    "life reopened": "UPDATE {files} SET removed_version = 99 WHERE path = 'gone.parquet'",
    "path": "UPDATE {files} SET path = 'other.parquet' WHERE path = 'c.parquet'",
    "size": "UPDATE {files} SET size = 1 WHERE path = 'c.parquet'",
    "statistics": "UPDATE {files} SET stats = NULL WHERE path = 'c.parquet'",
    "key": "UPDATE {files} SET path_key = 1 WHERE path = 'c.parquet'",
    "vector gone": "UPDATE {files} SET dv_id = NULL, dv = NULL WHERE path = 'v.parquet'",
    "vector's rows": "UPDATE {files} SET dv = replace(dv, '36', '37') WHERE path = 'v.parquet'",
    "partition": "UPDATE {files} SET partition_id = (SELECT partition_id FROM {files} "
    "WHERE path = 'b.parquet') WHERE path = 'c.parquet'",
    "partition's values": 'UPDATE dl_partitions SET partition_values = \'{{"day":"x"}}\' '
    "WHERE load_id = {load} AND partition_values <> '{{\"day\":null}}'",
    "partition's row": "DELETE FROM dl_partitions WHERE load_id = {load}",
}
STATE = {
    "schema": "UPDATE dl_metadata SET schema_string = replace(schema_string, 'long', 'date') "
    "WHERE load_id = {load}",
    "property": "UPDATE dl_metadata SET configuration = '{{}}' WHERE load_id = {load}",
    "metadata gone": "DELETE FROM dl_metadata WHERE load_id = {load}",
    "protocol": "UPDATE dl_protocols SET min_writer_version = 5 WHERE load_id = {load}",
    "protocol gone": "DELETE FROM dl_protocols WHERE load_id = {load}",
    "transaction": "UPDATE dl_txns SET version = 6 WHERE load_id = {load}",
    "domain": "DELETE FROM dl_domains WHERE load_id = {load}",
    "totals": "UPDATE dl_heads SET num_files = 4 WHERE live_load = {load}",
    "commit": "UPDATE dl_versions SET log_digest = 'x' WHERE load_id = {load} AND version = 2",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return Log.write(tmp_path_factory.mktemp("log") / "people")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One catalog for all: each test imports the log as a table of its own."""
    return str(tmp_path_factory.mktemp("catalog") / "catalog.sqlite")


def _imported(source: Log, database: str, kind: str) -> str:
    place = f"/nowhere/{kind.replace(' ', '-')}"
    return import_table(
        str(source.table), database=database, table_location=place, mode="full-history"
    ).table_id


def _tamper(database: str, table_id: str, sql: str) -> None:
    with Catalog(database) as catalog:
        load = find_table(catalog, table_id).live_load
        statement = sql.format(files=load_files_name(load), load=load)
        with catalog.write() as connection:
            assert connection.execute(sa.text(statement.replace(":", "\\:"))).rowcount > 0


@pytest.mark.parametrize("kind", FILES)
def test_rows_of_files(kind: str, source: Log, database: str) -> None:
    table = _imported(source, database, kind)
    _tamper(database, table, FILES[kind])
    report = diff_table(table, database=database)
    assert report.exit_code == 2
    assert report.file_drift > 0
    assert all(f.fields for f in report.files.different)
    assert not report.differences


@pytest.mark.parametrize("kind", STATE)
def test_rows_of_state(kind: str, source: Log, database: str) -> None:
    table = _imported(source, database, kind)
    _tamper(database, table, STATE[kind])
    report = diff_table(table, database=database)
    assert report.exit_code == 2
    assert report.file_drift == 0
    assert report.rewritten_commits == ((2,) if kind == "commit" else ())
    assert bool(report.differences) == (kind != "commit")
    assert report.protocol_drift == kind.startswith("protocol")


@pytest.mark.parametrize("any_catalog_url", ["postgresql", "mariadb", "mysql"], indirect=True)
def test_rows_on_servers(source: Log, any_catalog_url: str) -> None:
    """Their types are their own; so a bit of everything."""
    table = _imported(source, any_catalog_url, "many")
    assert diff_table(table, database=any_catalog_url).exit_code == 0
    for kind in ("size", "life reopened", "vector's rows"):
        _tamper(any_catalog_url, table, FILES[kind])
    for kind in ("property", "protocol", "transaction", "domain", "commit"):
        _tamper(any_catalog_url, table, STATE[kind])
    report = diff_table(table, database=any_catalog_url)
    assert [f.path for f in report.files.missing_in_log] == ["gone.parquet"]
    assert {f.path: f.fields for f in report.files.different} == {
        "c.parquet": {"size": (1, 100)},
        "v.parquet": {"deletion_vector": ([2, 37], [2, 36])},
    }
    kinds = {d.kind for d in report.differences}
    assert kinds == {"property", "protocol", "txn", "domain"}
    assert report.rewritten_commits == (2,)


def test_each_diff_is_recorded(source: Log, database: str) -> None:
    table = _imported(source, database, "recorded")
    diff_table(table, database=database)
    _tamper(database, table, FILES["size"])
    diff_table(table, database=database)
    with Catalog(database) as catalog:
        rows = catalog.reader.rows(
            "SELECT compared_version, parity, exit_code, file_drift FROM dl_parity_runs "
            "WHERE table_id = ? ORDER BY parity_key",
            (table,),
        )
    assert [tuple(map(int, row)) for row in rows] == [(3, 1, 0, 0), (3, 0, 2, 1)]


def test_a_catalog_that_may_only_be_read_can_be_compared(
    source: Log, pg_database: str, tmp_path: Path
) -> None:
    table = _imported(source, pg_database, "read-only")
    url = sa.make_url(pg_database)
    role = f"reader_{url.database}"
    with Catalog(pg_database) as catalog, catalog.write() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD 'only'")
        connection.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    reader = url.set(username=role, password="only").render_as_string(hide_password=False)
    try:
        assert diff_table(table, database=reader).exit_code == 0
    finally:
        with Catalog(pg_database) as catalog, catalog.write() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM dl_parity_runs").scalar() == 0
            connection.exec_driver_sql(f"DROP OWNED BY {role}")
            connection.exec_driver_sql(f"DROP ROLE {role}")
